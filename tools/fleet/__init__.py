"""Many GPUs, on one host or on several, behind the same device protocol: Ray actors, one GPU each.

Nothing heavy is imported here, and Ray only once a fleet is opened: it is an extra (``triton-autokernel[ray]``).
"""
