"""What is kept of the values of a tensor, and checksums of its memory.

Of floats their distribution is kept, by a sample; of few floats (scales, epsilons) all. Of integers and booleans
range, order, uniqueness and what indexing needs are kept, not the values: those may be token ids or other people's
data. What indexing needs are marks too: a kernel compares with -100 or -1 and does not index by it, so that -99, which
lies in the range as well, would be an index in front of the memory. Nothing here copies a tensor: a sample is gathered,
and a checksum works on chunks.
"""

from __future__ import annotations

import base64
import math
import sys
import zlib
from typing import Any

Json = dict[str, Any]

SAMPLE = 1 << 16
"""Elements that a distribution is estimated from: quantiles at 1 % and 99 % then stand on 650 of them."""
FEW = 64
"""Floats that are kept whole."""
ORDERED = 1 << 22
"""Elements up to which the order of integers is looked at; more are sampled."""
WHOLE_BYTES = 16 << 20
"""Of one tensor, kept by ``--values``."""
CHUNK_BYTES = 16 << 20
"""Of memory that a checksum works on at a time; it needs three times as much."""
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
MARKS = 8
"""Distinct negative numbers, and greatest numbers of 32 and 64 bits, that are taken for marks. More negative ones are a
range like any other: a kernel cannot compare with each."""
GREATEST = (2**31 - 1, 2**32 - 1, 2**63 - 1)
ADDRESS = 1 << 32
"""Integers above this, all multiples of 16, are taken for addresses. PyTorch's memory lies above 4 GiB on 64-bit."""


def summarise(tensor: Any, whole: bool) -> Json:
    """What is kept of the tensor's values. With `whole`, the values too if they fit in WHOLE_BYTES."""
    torch = sys.modules["torch"]
    with torch.no_grad():
        t = tensor.detach()
        if t.numel() == 0:
            return {"elements": 0}
        found: Json = {}  # nothing is kept of complex numbers: Triton has no such type
        if not t.dtype.is_complex:
            found = _floats(torch, t) if t.dtype.is_floating_point else _integers(torch, t)
        if whole and t.numel() * t.element_size() <= WHOLE_BYTES:
            raw = t.contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
            found["whole"] = base64.b64encode(zlib.compress(raw, 1)).decode()
        return {"elements": t.numel(), **found}


def _sample(torch: Any, t: Any) -> Any:
    """At most SAMPLE elements of `t`, spread evenly, as a flat tensor on the CPU."""
    count = t.numel()
    if count <= SAMPLE:
        return t.reshape(-1).cpu()
    flat = torch.linspace(0, count - 1, SAMPLE, dtype=torch.float64, device=t.device).round().to(torch.int64)
    return t[torch.unravel_index(flat, t.shape)].cpu()


def _floats(torch: Any, t: Any) -> Json:
    sample = _sample(torch, t).to(torch.float64)
    finite = sample[torch.isfinite(sample)]
    found: Json = {
        "kind": "float",
        "nan": float(torch.isnan(sample).double().mean()),
        "inf": float(torch.isinf(sample).double().mean()),
        "minus_inf": float(torch.isneginf(sample).double().mean()),
        "zero": float((sample == 0).double().mean()),
    }
    if finite.numel():
        q = torch.quantile(finite, torch.tensor(QUANTILES, dtype=torch.float64))
        found["quantiles"] = [_short(x) for x in q.tolist()]
        found["mean"] = _short(float(finite.mean()))
        found["std"] = _short(float(finite.std(unbiased=False)))
    if t.numel() <= FEW:
        found["all"] = [repr(x) for x in sample.tolist()]
    return found


def _integers(torch: Any, t: Any) -> Json:
    if t.dtype == torch.bool:
        return {"kind": "bool", "true": float(_sample(torch, t).double().mean())}
    ordered = t.dim() == 1 and t.numel() <= ORDERED
    seen = (t.cpu() if ordered else _sample(torch, t)).to(torch.int64)
    low, high = _range(torch, t)
    ordered = ordered and seen.numel() > 1
    steps = seen[1:] - seen[:-1] if ordered and high - low < 2**63 else None
    if t.element_size() == 8 and _are_addresses(seen):
        return {"kind": "addresses", "distinct": int(seen.unique().numel())}
    return {
        "kind": "int",
        "min": low,
        "max": high,
        "distinct": int(seen.unique().numel()),
        "of": seen.numel(),
        "rises": bool((seen[1:] >= seen[:-1]).all()) if ordered else None,
        "steps": [int(steps.min()), int(steps.max())] if steps is not None else None,
        **_marks(torch, seen, low, high),
    }


def _are_addresses(seen: Any) -> bool:
    """Whether these are addresses, among which 0 and -1 stand for none."""
    others = seen[(seen != 0) & (seen != -1)]
    return others.numel() > 0 and int(others.min()) > ADDRESS and not bool((others % 16).any())


def _marks(torch: Any, seen: Any, low: int, high: int) -> Json:
    """``marks``: pairs of a mark and how often it was `seen`, and ``others``: least and greatest of the other numbers,
    None if there are none. Empty if there are no marks. `low` and `high` are those of all elements."""
    if low >= 0 and high not in GREATEST:
        return {}
    greatest = torch.isin(seen, torch.tensor(GREATEST, device=seen.device))
    found: dict[int, int] = {}
    for marked, least in ((seen < 0) | greatest, 0), (greatest, low):  # negative numbers are marks if they are few
        numbers, times = seen[marked].unique(return_counts=True)
        found = dict(zip(numbers.tolist(), times.tolist(), strict=True))
        for end in (low, high):  # which a sample may have missed
            if end < least or end in GREATEST:
                found.setdefault(end, 1)
        if len(found) <= MARKS:
            break
    if not found:
        return {}
    ends = [x for x in (low, high) if least <= x not in GREATEST]
    ends += [int(x) for x in torch.aminmax(seen[~marked])] if bool((~marked).any()) else []
    others = [min(ends), max(ends)] if ends else None
    return {"marks": [list(pair) for pair in sorted(found.items())], "others": others}


def _range(torch: Any, t: Any) -> tuple[int, int]:
    """Of all elements: an index outside a sample's range would be made too small, one inside never too large."""
    if t.dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        low, high = torch.aminmax(t)
        return int(low), int(high)
    seen = _sample(torch, t).to(torch.int64)
    return int(seen.min()), int(seen.max())


def _short(x: float) -> float:
    """Six digits are more than a sample supports."""
    return float(f"{x:.6g}") if math.isfinite(x) else x


def extent(tensor: Any) -> tuple[int, int]:
    """First byte of the tensor and the first behind it, counted from the start of its storage."""
    size = tensor.element_size()
    first = int(tensor.storage_offset()) * size
    if tensor.numel() == 0:
        return first, first
    last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return first, first + (last + 1) * size


def checksum(tensor: Any, first: int = 0, last: int | None = None) -> int:
    """Of the bytes from `first` to `last` of the storage that the tensor lies in, on its device. Position counts."""
    torch = sys.modules["torch"]
    with torch.no_grad():
        storage = tensor.untyped_storage()
        raw = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)[first:last]
        total = 0
        for start in range(0, raw.numel(), CHUNK_BYTES):
            chunk = raw[start : start + CHUNK_BYTES]
            words = chunk.numel() // 4 * 4 if chunk.data_ptr() % 4 == 0 else 0
            for part in (chunk[:words].view(torch.int32), chunk[words:]):
                if part.numel():
                    weights = torch.arange(1, 2 * part.numel(), 2, device=part.device)
                    total = (total * 31 + int((part.to(torch.int64) * weights).sum())) & (2**64 - 1)
        return total


Sums = dict[tuple[int, int, int | None], int]
"""(start of the storage, first byte, byte behind the last) → checksum; None for the end of the storage."""


def memory_sums(tensors: list[tuple[str, Any]]) -> Sums:
    """Checksums of every tensor's extent and of every storage, each once."""
    found: Sums = {}
    for _, t in tensors:
        start = t.untyped_storage().data_ptr()
        for first, last in ((0, None), extent(t)):
            if (start, first, last) not in found:
                whole = (first, last) == (0, t.untyped_storage().nbytes()) and (start, 0, None) in found
                found[start, first, last] = found[start, 0, None] if whole else checksum(t, first, last)
    return found


def changed_tensors(tensors: list[tuple[str, Any]], before: Sums) -> list[str]:
    """Paths of tensors whose extent changed. If a storage changed outside the extents of all its tensors, all of them
    are named: a kernel may be given the start of a tensor and write behind it."""
    after = memory_sums(tensors)
    changed, found = {key for key, total in before.items() if after.get(key) != total}, []
    for path, t in tensors:
        start = t.untyped_storage().data_ptr()
        mine = (start, *extent(t)) in changed
        any_extent = any(k[0] == start and k[2] is not None for k in changed)
        if mine or ((start, 0, None) in changed and not any_extent):
            found.append(path)
    return found
