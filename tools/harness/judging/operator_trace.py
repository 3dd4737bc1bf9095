"""Which of PyTorch's operators a call runs, and which Triton kernels it launches: by these a candidate that runs the
reference again is told from one that computes in its own way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Operator = list[Any]
"""[name, [dtype and shape of each tensor argument]]"""
WORDS = """
    alias arange as_strided clone contiguous copy detach empty empty_like empty_strided expand fill full full_like
    item lift_fresh local_scalar_dense new_empty new_empty_strided new_full new_ones new_zeros ones ones_like permute
    resolve_conj resolve_neg scalar_tensor select slice split squeeze t to_copy transpose unbind unsafe_view
    unsqueeze view zero zeros zeros_like reshape unsafe_split split_with_sizes set is_same_size sym_size
    sym_stride
"""
TRIVIAL = frozenset(WORDS.split())
"""Views, copies and allocations: they compute nothing."""


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records what is computed inside the block. Taken before any candidate's file is imported."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch imports its compiler (two seconds) to keep a mode's own code from being compiled. Nothing here is."""
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[Operator] = []
        self.paused = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition("::")[2].partition(".")[0].strip("_")
        if name not in TRIVIAL and not self.paused:
            flat = torch.utils._pytree.tree_leaves((args, kwargs or {}))
            self.seen.append([name, [f"{x.dtype}{list(x.shape)}" for x in flat if isinstance(x, torch.Tensor)]])
        return func(*args, **(kwargs or {}))


def operators_of(call: Callable[[], object]) -> list[Operator]:
    """The operators that `call` runs."""
    with Operators() as mode:
        call()
    seen: list[Operator] = mode.seen
    return seen


class Launches:
    """Names of the Triton kernels that are launched, compiled ones and interpreted ones. Begun before any candidate's
    file is imported."""

    def __init__(self) -> None:
        import triton
        from triton.runtime.interpreter import InterpretedFunction

        self.names: list[str] = []
        self.mode: Operators | None = None
        """What the interpreter does inside a launch is not the candidate's use of PyTorch."""
        interpreted: Any = InterpretedFunction
        run = interpreted.run

        def watched(kernel: Any, *args: Any, **kwargs: Any) -> Any:
            self.names.append(kernel.fn.__name__)
            with self._pause():
                return run(kernel, *args, **kwargs)

        interpreted.run = watched
        triton.knobs.runtime.launch_enter_hook.add(lambda metadata: self.names.append(metadata.get()["name"]))

    @contextmanager
    def _pause(self) -> Iterator[None]:
        mode = self.mode
        if mode is None or mode.paused:
            yield
            return
        mode.paused = True
        try:
            yield
        finally:
            mode.paused = False

    def trace(self, call: Callable[[], object]) -> tuple[list[Operator], list[str]]:
        """Operators and kernels of one `call`."""
        self.names = []
        with Operators() as self.mode:
            mode = self.mode
            try:
                call()
            finally:
                self.mode = None
        return mode.seen, list(dict.fromkeys(self.names))
