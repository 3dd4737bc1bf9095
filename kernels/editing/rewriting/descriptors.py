"""Rewrite of addresses: tiles are named by their place in a matrix, and not by a pointer and a mask for each element.

Triton had block pointers for this, and has had tensor descriptors alone since 3.9. The GPU's copy engine (from Hopper
on) computes the addresses and the bounds of a descriptor's tile. It takes matrices whose rows lie one behind the other,
and begin at multiples of 16 bytes.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from kernels.editing.rewriting.code import Code, blocks_in, calls, expression, is_block, statements
from kernels.editing.rewriting.matrix_tiles import Axis, NoTile, Tile, TileReader, total
from kernels.editing.rewriting.memory import root_of, roots_in
from kernels.editing.rewriting.scalars import Scalars, Unknown

ALIGNMENT = 16
"""Bytes: of a matrix, its rows and a tile's first element. Source: CUDA driver API, cuTensorMapEncodeTiled."""
LONGEST = 2**31 - 1
"""Of a dimension: Triton passes it in 32 bits."""


@dataclass(frozen=True)
class Access:
    """A load or store that becomes one of a descriptor."""

    call: ast.Call
    descriptor: str
    """The text that makes it."""
    offsets: str
    turned: bool
    """Whether the matrix is the transposed one of the tile, because its columns lie one behind the other."""


def block_descriptors(code: Code) -> bool:
    """Loads and stores of tiles of a matrix go through a descriptor of the matrix."""
    scalars = Scalars(code)
    reader = TileReader(code, scalars)
    found: list[Access] = []
    roots = roots_in(code)
    stored = {_pointer_of(c, reader, roots) for c in calls(code.tree, "store")}
    loaded = {_pointer_of(c, reader, roots) for c in calls(code.tree, "load")}
    # The copy engine does not wait for a program's other accesses: what is read and written is left alone, and what
    # an unknown address is of may be anything.
    if "" in stored or any(_accesses_otherwise(n) for n in ast.walk(code.tree)):
        return False
    alone = loaded ^ stored if "" not in loaded else loaded - stored
    for call in calls(code.tree, "load", "store"):
        try:
            access = _access(code, scalars, reader, call)
        except (NoTile, Unknown):
            continue
        if _pointer_of(call, reader, roots) in alone:
            found.append(access)
    names: dict[str, str] = {}
    for access in found:
        name = names.setdefault(access.descriptor, f"tiles_{len(names)}")
        if not code.free(name):
            return False
    for access in found:
        _replace(access, names[access.descriptor])
    code.tree.body[:0] = [s for text, name in names.items() for s in statements(f"{name} = {text}")]
    return bool(found)


def _access(code: Code, scalars: Scalars, reader: TileReader, call: ast.Call) -> Access:
    """Raises NoTile or Unknown."""
    is_load = ast.unparse(call.func) == "tl.load"
    given = dict(
        zip(("pointer", "mask", "other") if is_load else ("pointer", "value", "mask"), call.args, strict=False)
    )
    given |= {k.arg: k.value for k in call.keywords if k.arg is not None}
    if set(given) - {"pointer", "mask", "other", "value"} or not _is_padding(given.get("other")):
        raise NoTile
    if not is_load and not is_block(given["value"], blocks_in(code.tree)):
        raise NoTile  # a number, which would have to become a tile first
    tile = reader.tile(given["pointer"], given.get("mask"))
    strides = [scalars.number(axis.stride) for axis in tile.axes]
    turned = strides[1] != 1
    if turned:
        strides.reverse()
    axes = tile.axes[::-1] if turned else tile.axes
    size = code.owner.element_bytes.get(tile.pointer)
    far, near = strides
    if near != 1 or far is None or far <= 0 or size is None or far * size % ALIGNMENT:
        raise NoTile
    if not all(_is_aligned(scalars, term, size) for term in tile.begin) or not _fits(code, scalars, axes, size):
        raise NoTile
    offsets = [
        f"({ast.unparse(a.offset)}).to(tl.int32)" if scalars.is_wide(a.offset) else ast.unparse(a.offset) for a in axes
    ]
    return Access(call, _descriptor(scalars, tile, axes), f"[{', '.join(offsets)}]", turned)


def _fits(code: Code, scalars: Scalars, axes: tuple[Axis, Axis], size: int) -> bool:
    """Whether the tile lies in the matrix as the copy engine needs it."""
    last = axes[1]
    span = code.span(ast.unparse(last.size)) if isinstance(last.size, ast.Name) else None
    wide = span is not None and span[0] * size >= ALIGNMENT
    aligned = isinstance(last.size, ast.Name) and scalars.is_multiple(last.offset, last.size.id)
    lengths = [scalars.number(a.length) for a in axes]
    inside = all(scalars.is_not_negative(a.offset) for a in axes)
    return wide and aligned and inside and all(n is None or n <= LONGEST for n in lengths)


def _is_aligned(scalars: Scalars, term: ast.expr, size: int) -> bool:
    """Whether so many elements of `size` bytes are a multiple of ALIGNMENT."""
    value = scalars.number(term)
    if value is not None:
        return value * size % ALIGNMENT == 0
    found = scalars.meaning(term)
    if found is not None:
        return _is_aligned(scalars, found, size)
    if isinstance(term, ast.BinOp) and isinstance(term.op, ast.Mult):
        return _is_aligned(scalars, term.left, size) or _is_aligned(scalars, term.right, size)
    return False


def _descriptor(scalars: Scalars, tile: Tile, axes: tuple[Axis, Axis]) -> str:
    """The text that makes the descriptor where the kernel begins. Raises Unknown if that is too early."""
    begin = scalars.at_the_beginning(total(tile.begin))
    base = ast.Name(tile.pointer, ast.Load()) if not tile.begin else ast.BinOp(ast.Name(tile.pointer), ast.Add(), begin)
    shape, strides, block = (
        ", ".join(ast.unparse(scalars.at_the_beginning(getattr(a, part))) for a in axes)
        for part in ("length", "stride", "size")
    )
    return (
        f"tl.make_tensor_descriptor({ast.unparse(base)}, shape=[{shape}], strides=[{strides}], block_shape=[{block}])"
    )


def _replace(access: Access, name: str) -> None:
    """Change the call in place."""
    call = access.call
    is_load = ast.unparse(call.func) == "tl.load"
    if is_load:
        new = f"{name}.load({access.offsets})"
    else:
        value = call.args[1] if len(call.args) > 1 else next(k.value for k in call.keywords if k.arg == "value")
        text = ast.unparse(value)
        new = f"{name}.store({access.offsets}, {f'tl.trans({text})' if access.turned else text})"
    made = expression(f"tl.trans({new})" if is_load and access.turned else new)
    assert isinstance(made, ast.Call)
    call.func, call.args, call.keywords = made.func, made.args, made.keywords


def _pointer_of(call: ast.Call, reader: TileReader, roots: Mapping[str, str]) -> str:
    """The argument through which a call goes; empty if it is not known."""
    given = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "pointer"), None)
    return "" if given is None else reader.pointer(given) or root_of(given, roots)


def _is_padding(other: ast.expr | None) -> bool:
    """Whether masked elements are 0, as a descriptor's are, or anything."""
    return other is None or (isinstance(other, ast.Constant) and other.value == 0)


def _accesses_otherwise(node: ast.AST) -> bool:
    """Whether `node` is an atomic access, or one through a method of a pointer or a descriptor."""
    if not isinstance(node, ast.Attribute):
        return False
    return node.attr.startswith("atomic_") or (node.attr in ("load", "store") and ast.unparse(node.value) != "tl")
