"""Triton kernels as specs. A spec has the source, config, space, reference, operation counts and PyTorch baselines."""
