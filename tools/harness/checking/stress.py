"""Inputs that nobody chose: a finalist must be right on them too.

1. Each kind of input is made of a nominal draw by a change of its floating tensors. Integers (indices, offsets,
   lengths, tables) stay as they were drawn. A tensor that is nowhere negative stays so.
2. A kind counts if the reference gives no NaN for it and the first baseline, what a user would write in the same
   precision, is right by the same bound. If not, the kind is left out, and the result names it.
3. The launch must then be right as well. Infinity and the dtype's largest number count as equal.
4. Before all this, a launch that does nothing must be rejected.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import torch

from kernels.launches.bound import Bound, copied, storage_bytes
from kernels.launches.domain import FIRST, KINDS
from kernels.launches.expected import Results, bounds, expected, named
from kernels.launches.leaves import tensors_in
from kernels.spec import KernelSpec
from tools.harness.checking.verify import judge_against

Change = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
MOST_S = 8.0
"""Seconds after which no further kind is begun."""
HIDDEN = 1 << 62


def _mixed(x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    powers = torch.randint(-7, 8, x.shape, generator=g, device=x.device)
    return x * torch.pow(2.0, powers)


def _with(number: float) -> Change:
    """`number` in one place of fifty."""
    return lambda x, g: torch.where(torch.rand(x.shape, generator=g, device=x.device) < 0.02, number, x)


CHANGES: dict[str, Change] = {
    "large": lambda x, g: x * 256,
    "mixed magnitudes": _mixed,
    "shifted": lambda x, g: x + 16,
    "tiny": lambda x, g: x * 2.0**-10,
    "denormal": lambda x, g: x * 2.0**-18,
    "negative": lambda x, g: -x.abs(),
    "ties": lambda x, g: x.round(),
    "sorted": lambda x, g: x.sort().values,
    "infinite": _with(torch.inf),
    "minus infinite": _with(-torch.inf),
}
"""By kind, what it makes of the values of one tensor, in float32 (float64 for float64)."""
SLACK = 4.0
"""A spec derives its bound for nominal inputs. On others PyTorch must keep it, and the launch four times it: what is
unsafe misses it by far."""


def changed(inputs: Any, change: Change, generator: torch.Generator, only: str | None = None) -> Any:
    """Change the floating storages of `inputs` in place, or that of the tensor at the path `only`."""
    seen: set[int] = set()
    for path, t in tensors_in(inputs).items():
        key = t.untyped_storage()._cdata
        if key in seen or not t.is_floating_point() or t.element_size() < 2 or only not in (None, path):
            continue
        seen.add(key)
        flat = storage_bytes(t).view(t.dtype)
        wide = flat.to(torch.promote_types(t.dtype, torch.float32))
        made = change(wide, generator)
        flat.copy_(made.abs() if bool((wide >= 0).all()) else made)
    return inputs


def _other(x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    return torch.randn(x.shape, generator=g, device=x.device).to(x.dtype) + 0.5


def stress(
    spec: KernelSpec[Any, Any],
    problem: Any,
    config: Any,
    launch: Callable[[Any, Any], None],
    device: str,
    done: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Run `config` on every kind of input. `launch(inputs, out)` starts it, `done` waits for it.

    The answer holds ``status``, ``reason``, ``tried`` and ``left_out`` (kind to reason). What the launch raises is
    raised."""
    generator = torch.Generator(device)
    tried: list[str] = []
    left_out: dict[str, str] = dict.fromkeys(spec.domain, "outside the kernel's declared domain")
    began = time.monotonic()
    paths = [p for p, t in tensors_in(spec.inputs(problem, None, "meta")).items() if t.is_floating_point()]
    kinds: list[tuple[str, Change, str | None]] = [(kind, CHANGES[kind], None) for kind in KINDS]
    alone: list[tuple[str, Change, str | None]] = [(f"input {p} alone", _other, p) for p in paths]
    jobs = [*kinds[:FIRST], *alone, *kinds[FIRST:]]
    nothing = _nothing_passes(spec, problem, config, generator, device)
    if nothing:
        return {"status": "correctness", "reason": nothing, "tried": [], "left_out": {}}
    for kind, change, only in jobs:
        if kind in left_out:
            continue
        if time.monotonic() - began > MOST_S:
            left_out[kind] = f"no time left after {MOST_S:g} s"
            continue
        drawn = spec.inputs(problem, generator.manual_seed(secrets.randbelow(HIDDEN)), device)
        inputs = changed(copied(drawn), change, generator, only)
        bound = Bound(spec.effects(problem), spec.arrange(problem, config, inputs), spec.output(problem, device))
        references = expected(spec, problem, inputs, list(bound.results))
        why_not = _unfit(spec, problem, inputs, bound.results, references)
        if why_not:
            left_out[kind] = why_not
            continue
        bound.poison(bool(secrets.randbits(1)), generator)
        launch(bound.inputs, bound.out)
        done()
        loose = {name: SLACK * b for name, b in bounds(spec, problem, bound.results).items()}
        why, error, accepted = judge_against(spec, problem, bound.results, references, saturating=True, accepted=loose)
        if why:
            reason = f"on {kind} inputs: {why}" if only is None else f"with other values of {kind}: {why}"
            found = {"error": error if error < float("inf") else None, "bound": accepted}
            return {"status": "correctness", "reason": reason, "tried": tried, "left_out": left_out, **found}
        tried.append(kind)
    return {"status": "correct", "reason": "", "tried": tried, "left_out": left_out}


def _unfit(spec: KernelSpec[Any, Any], problem: Any, inputs: Any, results: Results, references: Results) -> str:
    """Why these inputs say nothing about a launch; empty if they do."""
    unwritten = spec.effects(problem).unwritten
    if any(bool(torch.isnan(r).any()) for n, r in references.items() if n not in unwritten):
        return "the reference gives NaN"
    first = spec.baselines(problem)[0]
    if first.missing(problem) is not None or not first.equivalent:
        return "no PyTorch equivalent runs here"
    given = copied(inputs)
    found = named(list(results), first.prepare(problem, given)())
    why, _, _ = judge_against(spec, problem, found, references, saturating=True)
    return f"PyTorch's own result is not right ({why})" if why else ""


def _nothing_passes(
    spec: KernelSpec[Any, Any], problem: Any, config: Any, generator: torch.Generator, device: str
) -> str:
    """That a launch which writes nothing would be accepted; empty if it would not."""
    inputs = spec.inputs(problem, generator.manual_seed(secrets.randbelow(HIDDEN)), device)
    bound = Bound(spec.effects(problem), spec.arrange(problem, config, inputs), spec.output(problem, device))
    bound.poison(False, generator)
    accepted = bounds(spec, problem, bound.results)
    references = expected(spec, problem, inputs, list(bound.results))
    for name, result in bound.results.items():
        one, reference = {name: result}, {name: references[name]}
        if not judge_against(spec, problem, one, reference, accepted=accepted)[0]:
            which = "its output" if len(bound.results) == 1 else f"the result {name}"
            return f"the check is blind: it accepts {which} if nothing is launched"
    return ""
