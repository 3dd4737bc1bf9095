"""What the whole numbers of one tensor of a launch have to do with those of another.

A program's offsets, lengths and tables belong together: drawn apart, a sequence would be longer than its place, and a
length would reach the padding of its row of pages. Three relations are kept, each beside what is kept of the tensor:

- ``same_as``: another tensor holds the same numbers (``cu_seqlens`` of queries and of keys), ``after`` none or one of
  its own (the ends of sequences);
- ``differences_of``: lengths, of the tensor that holds their starts, with the ``last`` length if that ends without it;
- ``rows_of``: a table of which a row has as many numbers as a length needs, ``per`` of them a number, and -1 behind.
"""

from __future__ import annotations

import sys
from typing import Any

Json = dict[str, Any]

MOST_NUMBERS = 1 << 18
"""Of a tensor that is compared with others."""


def relate(values: dict[str, Json], tensors: dict[str, Any]) -> None:
    """Add to `values` of tensors, by path, what they have to do with each other. `tensors` holds their numbers."""
    torch = sys.modules["torch"]
    numbers = {
        path: tensor.cpu().to(torch.int64)
        for path, tensor in tensors.items()
        if values.get(path, {}).get("kind") == "int" and 1 < tensor.numel() <= MOST_NUMBERS
    }
    for path, own in numbers.items():
        for other, theirs in numbers.items():
            if other == path or _leads_to(values, other, path):
                continue
            if (relation := _relation(values[path], own, other, theirs)) is not None:
                values[path] |= relation
                break


def _relation(known: Json, own: Any, other: str, theirs: Any) -> Json | None:
    torch = sys.modules["torch"]
    if own.shape == theirs.shape and torch.equal(own, theirs):
        return {"same_as": {"path": other, "after": 0}}
    if theirs.dim() != 1:
        return None
    if own.dim() == 1 and theirs.numel() > 2:
        for after in (0, 1):
            if len(theirs) - len(own) == 1 and torch.equal(theirs[after : after + len(own)], own):
                return {"same_as": {"path": other, "after": after}}
        steps = theirs[1:] - theirs[:-1]
        if bool((steps >= 0).all()) and torch.equal(steps, own[: len(steps)]) and len(theirs) - len(own) in (0, 1):
            last = {"last": int(own[-1])} if len(own) == len(theirs) else {}
            return {"differences_of": {"path": other, **last}}
    if own.dim() == 2 and len(own) == len(theirs) and [mark for mark, _ in known.get("marks", ())] == [-1]:
        filled = (own != -1).sum(1)
        ragged = torch.equal(own != -1, torch.arange(own.shape[1]) < filled[:, None])
        if ragged and bool((theirs >= 0).all()) and bool((filled[theirs > 0] > 0).all()) and bool((theirs > 0).any()):
            per = (theirs[theirs > 0] + filled[theirs > 0] - 1) // filled[theirs > 0]
            return {"rows_of": {"path": other, "per": int(per.max())}}
    return None


def _leads_to(values: dict[str, Json], path: str, wanted: str) -> bool:
    """Whether `path` is made of `wanted`, which then cannot be made of it."""
    while (source := source_of(values[path])) is not None:
        if source == wanted:
            return True
        path = source
    return False


def source_of(known: Json) -> str | None:
    """The path of the tensor that this one is made of."""
    relation = known.get("same_as") or known.get("differences_of") or known.get("rows_of")
    return None if relation is None else str(relation["path"])
