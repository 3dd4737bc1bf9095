"""The commands of ``python -m kernels``. The functions here drive the harness, and import it only when they run,
because the kernels do not depend on it."""
