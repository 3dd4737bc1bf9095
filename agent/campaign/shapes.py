"""The matrix products of a PyTorch module, by running it on tensors without contents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


Key = tuple[int, int, int, str, str, bool, int]
"""The fields of a shape but its count."""


@dataclass(frozen=True)
class MatmulShape:
    """C (M, N) = A (M, K) @ B (K, N) + bias, `batch` of them at once, `count` times in a forward pass."""

    M: int
    N: int
    K: int
    dtype: str
    """``fp16`` or ``bf16``; PyTorch's name of any other."""
    b_layout: str
    """``col`` where B is the transpose of a contiguous tensor, as in a linear layer."""
    bias: bool
    batch: int
    count: int

    @property
    def tunable(self) -> bool:
        """Whether ``fused_matmul`` computes it."""
        return self.batch == 1 and self.dtype in ("fp16", "bf16") and min(self.M, self.N, self.K) > 0


def matmul_shapes(module: torch.nn.Module, example_inputs: Sequence[Any]) -> list[MatmulShape]:
    """The products of one call ``module(*example_inputs)``, most work first.

    Nothing is computed and no memory is taken for activations: the call runs on fake tensors, or on meta tensors where
    the module's parameters are. Attention that runs as one fused operator has no products to list."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_map

    aten = torch.ops.aten
    operands = {
        aten.mm.default: (0, 1, None),
        aten.addmm.default: (1, 2, 0),
        aten.bmm.default: (0, 1, None),
        aten.baddbmm.default: (1, 2, 0),
    }
    seen: Counter[Key] = Counter()

    class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in operands:
                a, b, bias = operands[func]
                seen[_shape(args[a], args[b], None if bias is None else args[bias])] += 1
            return func(*args, **(kwargs or {}))

    def on_meta(x: Any) -> Any:
        return x.to("meta") if isinstance(x, torch.Tensor) else x

    def run(*inputs: Any) -> None:
        # In eval mode an encoder layer would run as one operator of PyTorch's, its products unseen.
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.no_grad(), Recorder():  # type: ignore[no-untyped-call]
                module(*inputs)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)

    if any(p.is_meta for p in module.parameters()):
        run(*tree_map(on_meta, tuple(example_inputs)))
    else:
        with FakeTensorMode(allow_non_fake_inputs=True) as fake:
            run(*(fake.from_tensor(x) if isinstance(x, torch.Tensor) else x for x in example_inputs))
    found = [MatmulShape(*key, n) for key, n in seen.items()]
    return sorted(found, key=lambda s: (-s.batch * s.M * s.N * s.K * s.count, s.M, s.N, s.K))


def _shape(a: torch.Tensor, b: torch.Tensor, added: torch.Tensor | None) -> Key:
    import torch

    names = {torch.float16: "fp16", torch.bfloat16: "bf16"}
    (m, k), n = a.shape[-2:], b.shape[-1]
    layout = "col" if b.stride(-2) == 1 and b.stride(-1) != 1 else "row"
    dtype = names.get(a.dtype, str(a.dtype).removeprefix("torch."))
    batch = a.shape[0] if a.dim() == 3 else 1
    return m, n, k, dtype, layout, added is not None and added.dim() == 1, batch


def write_campaign(path: Path, name: str, shapes: Sequence[MatmulShape], device: str = "auto") -> None:
    """A campaign over those of `shapes` that can be tuned; the others are named in comments."""
    lines = [f"name = {json.dumps(name)}", f"device = {json.dumps(device)}", ""]
    for shape in shapes:
        label = f"{shape.M}x{shape.N}x{shape.K}"
        if not shape.tunable:
            lines += [f"# not tuned: {shape.count} x {label}, batch {shape.batch}, {shape.dtype}", ""]
            continue
        options = {"activation": "none", "b_layout": shape.b_layout} | ({"bias": True} if shape.bias else {})
        said = ", ".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
        lines += [
            "[[problem]]",
            'kernel = "fused_matmul"',
            f'shape = "{label}"',
            f'dtype = "{shape.dtype}"',
            f"options = {{ {said} }}",
            f"count = {shape.count}",
            "",
        ]
    path.write_text("\n".join(lines))
