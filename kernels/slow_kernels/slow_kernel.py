"""What a slow kernel says of itself, beside what every kernel says."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from kernels.defaults import prepare_eager
from kernels.spec import Baseline, KernelSpec


@dataclass(frozen=True)
class Form:
    """Another form of a kernel's device code, as ``edit_kernel`` takes it."""

    function: Any
    """A Triton function with the kernel's arguments, and new constants behind."""
    reason: str
    meta: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """The new constants with their values, the first of them the default."""
    grid: str = ""
    """Empty: the owner's."""

    def source_for(self, name: str) -> str:
        """The function's source under the kernel's name, without decorators."""
        text = textwrap.dedent(inspect.getsource(self.function.fn))
        (tree,) = ast.parse(text).body
        assert isinstance(tree, ast.FunctionDef)
        tree.name, tree.decorator_list = name, []
        return ast.unparse(tree) + "\n"

    def arguments_for(self, name: str) -> dict[str, Any]:
        """The arguments of ``edit_kernel`` that send this form of the kernel `name`."""
        meta = [{"name": n, "values": list(values)} for n, values in self.meta.items()]
        return {"source": self.source_for(name), "reason": self.reason, "meta_parameters": meta, "grid": self.grid}


class SlowKernel(KernelSpec[Any, Any]):
    """A kernel with a habit. A task has a `known` better form; a trap has none, and a `tempting` form that is wrong.
    The name, which a model is told, says what is computed."""

    habit: ClassVar[str]
    """What makes it slow, or what the trap is, in one sentence."""
    function: ClassVar[Any]
    """Its Triton function."""
    known: ClassVar[Form | None] = None
    tempting: ClassVar[Form | None] = None
    elsewhere: ClassVar[tuple[int, ...]]
    """Another shape, on which what is claimed must hold too."""
    small: ClassVar[tuple[int, ...]]
    """The shape that the interpreter checks, with ragged edges where the kernel takes them."""

    def baselines(self, problem: Any) -> list[Baseline[Any]]:
        """PyTorch's own operations alone. What an edit has to beat is the kernel as its owner wrote it, tuned."""
        return [Baseline("unfused", f"eager {self.name}", partial(prepare_eager, self))]

    def reduced(self, problem: Any, config: Any) -> Any:
        """The small shape."""
        return problem.model_copy(update=dict(zip(problem.dims, self.small, strict=True)))
