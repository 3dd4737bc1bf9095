"""Reads tiles from a kernel's tree: loads and stores of two dimensions, with the matrix that they are a part of.

``base + rows[:, None] * stride + columns[None, :]`` under ``(rows[:, None] < M) & (columns[None, :] < N)`` is a tile of
a matrix with M rows and N columns.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from kernels.editing.rewriting.code import Code, blocks_in, is_block, is_of_language
from kernels.editing.rewriting.scalars import DEEPEST, Scalars, without_widening

AXES = {":, None": 0, "None, :": 1}
"""How a subscript makes a dimension of an index."""


class NoTile(Exception):
    """The access is no tile, or the tree does not show that it is one."""


@dataclass(frozen=True)
class Axis:
    """One dimension of a tile."""

    offset: ast.expr
    """Where the tile begins."""
    size: ast.expr
    """Elements of the tile."""
    stride: ast.expr
    """Elements from one index to the next."""
    length: ast.expr
    """Indices from here on are masked."""


@dataclass(frozen=True)
class Tile:
    """What a load or store accesses."""

    pointer: str
    """The argument that it is a part of."""
    begin: list[ast.expr]
    """The sum of these: elements before the matrix."""
    axes: tuple[Axis, Axis]


Indices = tuple[ast.expr, ast.expr]
"""Offset and size of ``offset + tl.arange(0, size)``."""


class TileReader:
    """Reads tiles of one kernel."""

    def __init__(self, code: Code, scalars: Scalars) -> None:
        self._scalars = scalars
        self._blocks = blocks_in(code.tree)

    def tile(self, address: ast.expr, mask: ast.expr | None) -> Tile:
        """The tile at `address`. Raises NoTile."""
        pointers: list[str] = []
        begin: list[ast.expr] = []
        places: dict[int, tuple[Indices, ast.expr]] = {}
        for term in self._terms(address):
            axis = self._along_axis(term)
            if axis is not None and axis[0] not in places:
                places[axis[0]] = self._indices(axis[1]), axis[2]
            elif isinstance(term, ast.Name) and self._scalars.is_pointer(term):
                pointers.append(term.id)
            elif axis is None and not is_block(term, self._blocks):
                begin.append(term)
            else:
                raise NoTile
        if len(pointers) != 1 or len(places) != 2:
            raise NoTile
        lengths = self._lengths(mask)
        rows, columns = (self._axis(*places[axis], lengths.get(axis)) for axis in (0, 1))
        return Tile(pointers[0], begin, (rows, columns))

    def pointer(self, address: ast.expr) -> str:
        """The argument that an address is computed from; empty if it is not exactly one."""
        found = [t.id for t in self._terms(address) if isinstance(t, ast.Name) and self._scalars.is_pointer(t)]
        return found[0] if len(found) == 1 else ""

    def _axis(self, indices: Indices, stride: ast.expr, masked: tuple[Indices, ast.expr] | None) -> Axis:
        offset, size = indices
        if masked is None:
            if not _is_zero(offset):
                raise NoTile  # nothing says how long the dimension is
            return Axis(offset, size, stride, size)
        if [ast.dump(n) for n in masked[0]] != [ast.dump(n) for n in indices]:
            raise NoTile
        return Axis(offset, size, stride, masked[1])

    def _terms(self, node: ast.expr, depth: int = 0) -> Iterator[ast.expr]:
        """What `node` is the sum of. Names of blocks and of pointers are followed, names of numbers are not."""
        node = without_widening(node)
        found = self._scalars.meaning(node) if depth < DEEPEST else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            yield from self._terms(node.left, depth)
            yield from self._terms(node.right, depth)
        elif found is not None and self._subscript(node) is not None:
            yield node  # one dimension, with its offset
        elif found is not None and (is_block(node, self._blocks) or self._has_pointer(found)):
            yield from self._terms(found, depth + 1)
        else:
            yield node

    def _has_pointer(self, node: ast.expr) -> bool:
        """Whether a sum has a pointer in it."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._has_pointer(node.left) or self._has_pointer(node.right)
        found = self._scalars.meaning(node)
        return self._scalars.is_pointer(node) or (found is not None and self._has_pointer(found))

    def _along_axis(self, term: ast.expr) -> tuple[int, ast.expr, ast.expr] | None:
        """Axis, index and stride of ``index[:, None] * stride``."""
        found: tuple[int, ast.expr] | None = None
        stride: ast.expr | None = None
        for factor in _factors(term):
            axis = self._subscript(factor)
            if axis is not None and found is None:
                found = axis
            elif not is_block(factor, self._blocks):
                stride = factor if stride is None else ast.BinOp(stride, ast.Mult(), factor)
            else:
                return None
        return None if found is None else (*found, stride or ast.Constant(1))

    def _subscript(self, node: ast.expr) -> tuple[int, ast.expr] | None:
        """Axis and value of ``value[:, None]`` or ``value[None, :]``, or of a sum of one of these and of numbers."""
        node = without_widening(node)
        for _ in range(DEEPEST):
            if (found := self._scalars.meaning(node)) is None:
                break
            node = without_widening(found)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = [self._subscript(side) for side in (node.left, node.right)]
            for axis, other in zip(sides, (node.right, node.left), strict=True):
                if axis is not None and not is_block(other, self._blocks) and not self._has_pointer(other):
                    return axis[0], ast.BinOp(other, ast.Add(), axis[1])
            return None
        if not isinstance(node, ast.Subscript):
            return None
        place = AXES.get(ast.unparse(node.slice).strip("()"))
        return None if place is None else (place, node.value)

    def _indices(self, index: ast.expr) -> Indices:
        """Raises NoTile if `index` is no range with an offset."""
        sizes: list[ast.expr] = []
        rest: list[ast.expr] = []
        for term in self._terms(index):
            if isinstance(term, ast.Call) and is_of_language(term, "arange"):
                if len(term.args) != 2 or not _is_zero(term.args[0]):
                    raise NoTile
                sizes.append(term.args[1])
            elif is_block(term, self._blocks):
                raise NoTile
            else:
                rest.append(term)
        if len(sizes) != 1:
            raise NoTile
        return total(rest), sizes[0]

    def _lengths(self, mask: ast.expr | None) -> dict[int, tuple[Indices, ast.expr]]:
        """Of each masked axis: the indices, and what they stay below. Raises NoTile if the mask is anything else."""
        found: dict[int, tuple[Indices, ast.expr]] = {}
        for part in self._conjuncts(mask):
            turned = self._subscript(part)  # (rows < M)[:, None]
            compared = part if turned is None else self._scalars.meaning(turned[1]) or turned[1]
            match compared:
                case ast.Compare(left=left, ops=[ast.Lt()], comparators=[length]):
                    place = self._subscript(left) if turned is None else (turned[0], left)
                case _:
                    raise NoTile
            if place is None or place[0] in found:
                raise NoTile
            found[place[0]] = self._indices(place[1]), length
        return found

    def _conjuncts(self, mask: ast.expr | None, depth: int = 0) -> Iterator[ast.expr]:
        found = self._scalars.meaning(mask) if mask is not None and depth < DEEPEST else None
        if isinstance(mask, ast.BinOp) and isinstance(mask.op, ast.BitAnd):
            yield from self._conjuncts(mask.left, depth)
            yield from self._conjuncts(mask.right, depth)
        elif found is not None:
            yield from self._conjuncts(found, depth + 1)
        elif mask is not None:
            yield mask


def total(terms: list[ast.expr]) -> ast.expr:
    """The sum of `terms`."""
    found: ast.expr = terms[0] if terms else ast.Constant(0)
    for term in terms[1:]:
        found = ast.BinOp(found, ast.Add(), term)
    return found


def _factors(node: ast.expr) -> Iterator[ast.expr]:
    node = without_widening(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield from _factors(node.left)
        yield from _factors(node.right)
    else:
        yield node


def _is_zero(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0
