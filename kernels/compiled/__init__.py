"""Compiled kernels that a program holds."""
