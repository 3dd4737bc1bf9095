"""A device worker for baselines that torch.compile compiles, which makes their imports while the driver makes its own:
they take seconds, and Inductor's pool of compilers takes as long again before it compiles anything."""

from contextlib import suppress

from tools.harness.measuring.worker import worker as worker
from tools.harness.process.gpu_lock import can_release_while_compiling

can_release_while_compiling()  # asks for each of the compiler's parts, which imports them
with suppress(ImportError, AttributeError):  # another PyTorch's pool, which then starts with the first compilation
    from torch._inductor.async_compile import AsyncCompile

    AsyncCompile.wakeup()
