"""Triton kernels as specs: source, config, space, reference, roofline facts and PyTorch baselines, one file each."""
