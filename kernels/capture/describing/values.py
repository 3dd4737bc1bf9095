"""What is kept of the values of a tensor, and checksums of its memory.

Of floats their distribution is kept, by a sample; of few floats (scales, epsilons) all. Of integers and booleans
range, order, uniqueness and what indexing needs are kept, not the values: those may be token ids or other people's
data. Of a mask, of minus infinity, of two floats, or boolean, the pattern is kept. No tensor of floats is copied: a
sample is gathered, and a checksum works on chunks.
"""

from __future__ import annotations

import base64
import math
import sys
import zlib
from typing import Any

from ..structure.integer_structure import describe_integers
from ..structure.mask_pattern import MOST_ELEMENTS, find_pattern

Json = dict[str, Any]

SAMPLE = 1 << 16
"""Elements that a distribution is estimated from: quantiles at 1 % and 99 % then stand on 650 of them."""
FEW = 64
"""Floats that are kept whole."""
ORDERED, ORDERED_TABLE = 1 << 22, 1 << 20
"""Elements up to which the order of integers is looked at, on the CPU, in one dimension and in several; more are
sampled."""
WHOLE_BYTES = 16 << 20
"""Of one tensor, kept by ``--values``."""
CHUNK_BYTES = 16 << 20
"""Of memory that a checksum works on at a time; it needs three times as much."""
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


def summarise(tensor: Any, whole: bool) -> Json:
    """What is kept of the tensor's values. With `whole`, the values too if they fit in WHOLE_BYTES."""
    torch = sys.modules["torch"]
    with torch.no_grad():
        t = tensor.detach()
        if t.numel() == 0:
            return {"elements": 0}
        found: Json = {}  # nothing is kept of complex numbers: Triton has no such type
        if not t.dtype.is_complex:
            kept = places(t)
            found = _floats(torch, kept) if t.dtype.is_floating_point else _integers(torch, kept)
        if whole and t.numel() * t.element_size() <= WHOLE_BYTES:
            raw = t.contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
            found["whole"] = base64.b64encode(zlib.compress(raw, 1)).decode()
        return {"elements": t.numel(), **found}


def places(tensor: Any) -> Any:
    """Each place in memory once, where the tensor is expanded, without dimensions of one element."""
    once = tuple(slice(0, 1) if step == 0 else slice(None) for step in tensor.stride())
    return tensor[once].squeeze() if tensor.numel() else tensor


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
    return found | _mask(torch, t, sample)


def _mask(torch: Any, t: Any, sample: Any) -> Json:
    """``mask`` of a tensor that holds minus infinity, or two numbers: its ``low`` value, how often it stands there, and
    ``where``; ``high`` is the other number, NaN if there are several."""
    low, high = float("-inf"), float("nan")
    if not bool(torch.isneginf(sample).any()):
        numbers = sample.unique()
        if numbers.numel() != 2 or bool(numbers.isnan().any()):
            return {}
        low, high = numbers.tolist()
    found: Json = {"low": repr(low), "high": repr(high), "share": float((sample == low).double().mean())}
    if t.element_size() > 1 and t.numel() <= MOST_ELEMENTS:  # PyTorch compares no floats of eight bits
        pattern = find_pattern(t == low)
        found |= {"where": pattern} if pattern is not None else {}
    return {"mask": found}


def _integers(torch: Any, t: Any) -> Json:
    if t.dtype == torch.bool:
        pattern = find_pattern(t)
        where = {"where": pattern} if pattern is not None else {}
        return {"kind": "bool", "true": float(_sample(torch, t).double().mean()), **where}
    whole = t.numel() <= (ORDERED if t.dim() < 2 else ORDERED_TABLE)
    seen = (t.reshape(-1) if t.dim() == 0 else t).cpu() if whole else _sample(torch, t)
    return describe_integers(seen.to(torch.int64), *_range(torch, t), t.element_size() == 8, whole)


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
