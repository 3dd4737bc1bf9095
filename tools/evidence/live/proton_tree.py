"""Reads the trees that Triton's Proton writes (hatchet JSON: frames with metrics and children)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
SCOPE = "autokernel launch"
"""The scope of the launches that count; what runs beside them (the flush of L2) is outside."""
MOST_FRAMES = 20


def frames(tree: Any) -> Iterator[tuple[str, Json, bool]]:
    """Name and metrics of every frame, and whether it lies within :data:`SCOPE`. A file without that scope counts
    whole."""
    roots = [
        node for node in (tree if isinstance(tree, list) else [tree]) if isinstance(node, dict) and "frame" in node
    ]
    whole = not any(_name(n) == SCOPE for root in roots for n in _all(root))

    def visit(node: Json, inside: bool) -> Iterator[tuple[str, Json, bool]]:
        inside = inside or _name(node) == SCOPE
        yield _name(node), node.get("metrics", {}), inside
        for child in node.get("children", []):
            yield from visit(child, inside)

    for root in roots:
        yield from visit(root, whole)


def _name(node: Json) -> str:
    return str(node.get("frame", {}).get("name", ""))


def _all(node: Json) -> Iterator[Json]:
    yield node
    for child in node.get("children", []):
        yield from _all(child)


def read_tree(tree: Any) -> Json:
    """``kernels`` maps a kernel's name to its total ns and its number of launches, ``samples`` a stall reason to its
    number of samples, ``frames`` the name of a frame to its samples (the :data:`MOST_FRAMES` that have most),
    ``cycles`` a scope of ``triton.profiler.language`` to its clocks, normalised by the units that ran it."""
    kernels: dict[str, list[float]] = {}
    samples: Counter[str] = Counter()
    sampled: Counter[str] = Counter()
    cycles: dict[str, float] = {}
    for name, metrics, inside in frames(tree):
        if metrics.get("time (ns)") and inside:
            known = kernels.setdefault(name, [0.0, 0])
            known[0] += float(metrics["time (ns)"])
            known[1] += float(metrics.get("count", 1))
        for metric, value in metrics.items():
            if metric.startswith("stalled_") and value:
                samples[metric.removeprefix("stalled_")] += int(value)
        if metrics.get("num_samples"):
            sampled[name.rpartition("/")[2]] += int(metrics["num_samples"])  # file.py:12@kernel, without its folders
        if metrics.get("normalized_cycles"):
            cycles[name] = cycles.get(name, 0.0) + float(metrics["normalized_cycles"])
    return {
        "kernels": kernels,
        "samples": dict(samples),
        "frames": dict(sampled.most_common(MOST_FRAMES)),
        "cycles": cycles,
    }
