"""How far results of a captured launch are off its float64 reference, and that reference in files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.harness.checking.float64.promoted_reference import Reference

Exact = Mapping[int, tuple[Any, Any]]
"""Storage → (elements, their float64 values), as in ``Reference.stored``."""
INFINITE = 1e30
"""JSON has no infinity."""


def errors_against(
    launch: Any, results: Mapping[str, Any], exact: Exact, known: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Scale-relative error of each result, a tensor by its path, at the elements that the reference holds, and of those
    at the elements of its memory that are `known` of it, if not all are."""
    return {path: difference(*pair) for path, pair in beside_float64(launch, results, exact, known).items()}


def beside_float64(
    launch: Any, results: Mapping[str, Any], exact: Exact, known: Mapping[str, Any] | None = None
) -> dict[str, tuple[Any, Any]]:
    """Result, a tensor by its path → its elements that the reference holds, and the reference, in float64 on the CPU.
    Where the reference is beyond the result's dtype, infinity is right, and nothing is compared. `known`: as in
    :func:`errors_against`."""
    import torch

    from kernels.capture.reading.rebuilt_arguments import described_tensors
    from kernels.capture.reading.storage_elements import elements_of

    described = dict(described_tensors(launch))
    found = {}
    for path, t in results.items():
        if described[path]["storage"] not in exact:
            continue
        at, values = (torch.from_numpy(a) for a in exact[described[path]["storage"]])
        if known is not None:
            ours = torch.isin(at + t.storage_offset() - described[path]["offset"], known[path])
            at, values = at[ours], values[ours]
        if not len(at):
            continue
        flat = elements_of(t, described[path], int(at.max()) + 1)
        there = flat[at.to(t.device)].cpu().double()
        most = torch.finfo(t.dtype).max if t.is_floating_point() else float("inf")
        held = torch.isfinite(values) & (values.abs() <= most)
        if bool(held.any()):
            found[path] = there[held], values[held]
    return found


def share_beyond(out: Any, reference: Any, bound: float) -> float:
    """The share of elements that are further than `bound`, relative to the largest, from a finite reference."""
    from tools.harness.checking.verify import CHUNK

    flat, exact = out.reshape(-1), reference.reshape(-1)
    starts = range(0, flat.numel(), CHUNK)  # temporaries of whole results might not fit into a GPU
    most = bound * (max(float(exact[i : i + CHUNK].double().abs().max()) for i in starts) or 1.0)
    near = sum(
        int(((flat[i:j].double() - exact[i:j].double()).abs() <= most).sum()) for i in starts for j in [i + CHUNK]
    )
    return 1.0 - near / int(flat.numel())


def difference(out: Any, reference: Any) -> float:
    """max|out - ref| / max|ref| where the reference is finite; INFINITE if `out` is not finite there."""
    import torch

    a, b = out.double().reshape(-1), reference.double().reshape(-1)
    finite = torch.isfinite(b)
    if not bool(finite.any()):
        return 0.0
    worst, scale = float((a[finite] - b[finite]).abs().max()), float(b[finite].abs().max())
    return min(worst / (scale or 1.0), INFINITE) if worst == worst else INFINITE


def written_reference(reference: Reference, path: str) -> dict[str, Any]:
    """`reference` in JSON for another process; its numbers lie in a new file at `path`."""
    import numpy as np

    arrays: Any = {f"at{s}": at for s, (at, _) in reference.stored.items()}
    arrays |= {f"values{s}": values for s, (_, values) in reference.stored.items()}
    np.savez(path, **arrays)
    about = {"reason": reference.reason, "programs": reference.programs, "of": reference.of}
    return {**about, "exact": path, "storages": list(reference.stored)}


def read_reference(written: Mapping[str, Any]) -> Reference:
    """What :func:`written_reference` has written."""
    import numpy as np

    with np.load(written["exact"]) as found:
        stored = {s: (found[f"at{s}"], found[f"values{s}"]) for s in written["storages"]}
    return Reference(written["reason"], written["programs"], written["of"], stored)
