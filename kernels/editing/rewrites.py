"""Rewrites of device code that need no model: each changes one habit of the source, if a named limit says that it may
pay.

A rewrite works on the syntax tree of the kernel and gives source that goes through the fence like any other. Whether it
is right and faster is for the proof to say. The changes themselves are in :mod:`kernels.editing.rewriting`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field

from kernels.editing.owner_function import OwnerFunction
from kernels.editing.rewriting import arithmetic, caches, descriptors, loops, programs
from kernels.editing.rewriting.code import Code, copied
from kernels.editing.variants import Variant

Change = Callable[[Code], bool]
"""Changes the code, and returns whether it found anything to change."""
MULTIPROCESSORS = 132
"""Where nothing is known of the GPU."""
MEMORY, ARITHMETIC = ("DRAM", "L2 port", "latency"), ("special functions", "fp32 pipe", "issue slots")


@dataclass(frozen=True)
class Rewrite:
    """One rewrite."""

    name: str
    reason: str
    """In words, as a model would give it."""
    limits: tuple[str, ...]
    """The limits, by the names of ``explain_kernel``, that it may move."""
    change: Change


@dataclass(frozen=True)
class Rewritten:
    """What a rewrite makes of a kernel."""

    source: str
    meta: dict[str, tuple[int | str, ...]] = field(default_factory=dict)
    """All new constants, with those of the variant that was rewritten."""
    grid: str = ""
    elements: str = ""
    """The constant that is the number of elements of a block, by which the number of warps is chosen."""


def rewritten(
    owner: OwnerFunction, rewrite: Rewrite, parent: Variant | None = None, multiprocessors: int = MULTIPROCESSORS
) -> Rewritten | None:
    """The owner's kernel, or the variant `parent` of it, with `rewrite`; ``None`` if there is nothing to change."""
    if owner.bindings.get("tl") != {"module": "triton.language"}:
        return None
    if parent is None:
        code = Code(owner, copied(owner.tree), {}, "", multiprocessors)
    else:
        *helpers, kernel = [n for n in ast.parse(parent.edit.source).body if isinstance(n, ast.FunctionDef)]
        grid = parent.grid.text if parent.grid else ""
        code = Code(owner, kernel, dict(parent.edit.meta), grid, multiprocessors, helpers=helpers)
    if not rewrite.change(code):
        return None
    code.tree.decorator_list = []
    texts = [ast.unparse(ast.fix_missing_locations(f)) for f in (*code.helpers, code.tree)]
    return Rewritten("\n\n\n".join(texts), code.meta, code.grid, code.elements)


REWRITES = (
    Rewrite(
        "split rows",
        "one program computes a whole row element by element: parts of it are smaller blocks of more programs",
        (*MEMORY, *ARITHMETIC, "spills", "imbalance", "tail wave"),
        programs.split_rows,
    ),
    Rewrite(
        "smaller blocks",
        "its blocks leave few registers and few programs at once: smaller ones hide more of each other's waiting",
        (*MEMORY, *ARITHMETIC, "spills", "imbalance", "tail wave"),
        loops.smaller_blocks,
    ),
    Rewrite(
        "pipelined loops",
        "its loops wait for loads: with several stages the next turn's loads are under way",
        ("latency", "DRAM", "L2 port"),
        loops.with_option("num_stages", "PIPELINE", (2, 3, 4)),
    ),
    Rewrite(
        "unrolled loops",
        "turns of a loop that are joined have more loads under way and fewer instructions of control",
        ("latency", "DRAM", "issue slots", "integer pipe"),
        loops.with_option("loop_unroll_factor", "UNROLL", (2, 4)),
    ),
    Rewrite(
        "split loops",
        "one program goes through a long row alone: several share it, and the last wave is fuller",
        ("latency", "DRAM", "tail wave", "imbalance"),
        programs.split_loops,
    ),
    Rewrite(
        "one reduction",
        "each turn reduces a block to a number and waits for all threads: blocks are added, and reduced once",
        ("latency", "DRAM", "issue slots", "shared-memory port"),
        loops.reduced_once,
    ),
    Rewrite(
        "one pass",
        "two loops go over the same memory, and the second needs no result of the first: one pass loads it once",
        (*MEMORY, "issue slots"),
        loops.merged_loops,
    ),
    Rewrite(
        "second pass backwards",
        "a second pass over the same memory starts where the first one ended, which still lies in the cache",
        MEMORY,
        caches.second_pass_backwards,
    ),
    Rewrite(
        "streaming",
        "what is read once or only written need not stay in the caches",
        ("DRAM", "L2 port"),
        caches.streaming,
    ),
    Rewrite(
        "persistent",
        "each program computes one row and waits for its loads: as many as run at once load the next row ahead",
        ("latency", "DRAM", "tail wave", "launch overhead"),
        programs.persistent,
    ),
    Rewrite(
        "several rows",
        "programs are short, and much of each is its start: one computes several rows",
        ("latency", "DRAM", "launch overhead"),
        programs.several_rows,
    ),
    Rewrite(
        "wider blocks",
        "each thread loads little at once: wider blocks have more bytes under way",
        MEMORY,
        programs.wider_blocks,
    ),
    Rewrite(
        "swizzled order",
        "programs that run at once share few tiles: in groups they read from the cache what others have read",
        (*MEMORY, "tensor cores", "serialised matrix instructions"),
        programs.swizzled,
    ),
    Rewrite(
        "block descriptors",
        "each element of a tile has an address and a mask of its own: a descriptor of the matrix computes both once",
        ("L2 port", "issue slots", "integer pipe", "latency"),
        descriptors.block_descriptors,
    ),
    Rewrite(
        "base two",
        "exp and log are computed to base two: their factors join with others",
        ARITHMETIC,
        arithmetic.base_two,
    ),
    Rewrite(
        "exponential tanh",
        "tanh is one power of two and one division, without a branch",
        ARITHMETIC,
        arithmetic.exponential_tanh,
    ),
    Rewrite(
        "single divisions",
        "a block is divided by a number in each turn: one division before the loop and products do the same",
        ARITHMETIC,
        arithmetic.single_divisions,
    ),
    Rewrite(
        "reciprocal roots",
        "one special function does the work of a root and a division",
        ARITHMETIC,
        arithmetic.reciprocal_roots,
    ),
)
BY_NAME = {rewrite.name: rewrite for rewrite in REWRITES}
