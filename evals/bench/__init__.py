"""What ``python -m kernels`` does. The functions here drive the harness, which kernels themselves know nothing of: they
import it when they run."""
