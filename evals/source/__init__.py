"""Tasks in which device code has to be edited: slow kernels with a known better form, and traps."""
