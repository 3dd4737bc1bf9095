"""The name of this machine's first GPU, asked without a context in this process."""

import subprocess
import sys


def gpu_name() -> str:
    code = "import torch; print(torch.cuda.get_device_name(0))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
