"""What the interpreter child does: capture launches, make a table of them, apply it, launch again.

A process of its own, because TRITON_INTERPRET counts only if it is set before a kernel's module is imported. The
kernels write their constants where a test can see them."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import threading
from pathlib import Path

import torch
import triton
import triton.language as tl

from kernels.capture.begin import recording
from kernels.capture.reading.captured_launches import read_capture
from kernels.tuned.applying.applied_table import AppliedTable
from kernels.tuned.applying.apply_hooks import ApplyHooks
from kernels.tuned.key import key_of_captured
from kernels.tuned.tuned_environment import interpreted_environment
from kernels.tuned.tuned_table import Decision, TunedFunction, TunedRow, TunedTable

HOOKED: list[int] = []
"""What the config's hook saw."""


def hook(named):
    HOOKED.append(named["BLOCK"])


@triton.autotune(
    [triton.Config({"BLOCK": b}, num_warps=w, pre_hook=hook) for b in (64, 256) for w in (2, 4)],
    key=["n"],
    reset_to_zero=["count"],
)
@triton.heuristics({"EVEN": lambda a: a["n"] % a["BLOCK"] == 0})
@triton.jit
def tuned(x, count, n, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + at, BLOCK + 1000 * EVEN, mask=at < n)
    tl.atomic_add(count, 1)


@triton.jit
def in_place(x, n, seed, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + at, tl.load(x + at, mask=at < n) + BLOCK, mask=at < n)


def launch_tuned(n=512):
    x, count = torch.zeros(n), torch.full((1,), 77)
    tuned[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, count, n)
    return [x.unique().tolist(), count.item()]


def launch_in_place(n=512, seed=7, how="follows"):
    x = torch.zeros(n)
    grid = {
        "follows": lambda meta: (triton.cdiv(meta["n"], meta["BLOCK"]),),
        "by position": lambda meta: (triton.cdiv(meta["n"], meta["BLOCK"]),),
        "closed over": lambda meta: (triton.cdiv(n, 32),),
        "numbers": (triton.cdiv(n, 32),),
    }[how]
    if how == "by position":
        in_place[grid](x, n, seed, 32)
    else:
        in_place[grid](x, n, seed, BLOCK=32)
    return x.unique().tolist()


def rows_of(*launches, block=128, status="proven", change=None, environment=None):
    """Rows for what the launches launch, and their evidence."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "run.capture")
        with recording(path, "no"):
            for launch in launches:
                launch()
        capture = read_capture(path)
    rows = []
    for launch in capture.launches:
        f = launch.function
        decision = Decision({"BLOCK": block}, {"num_warps": 8})
        row = TunedRow(
            TunedFunction(f["module"], f["qualname"], f["identity"]),
            environment or interpreted_environment(),
            key_of_captured(launch, capture.functions()),
            status,
            decision,
        )
        rows.append(change(row) if change else row)
    return rows


class Applied:
    """A table of `rows` in use, and what it printed."""

    def __init__(self, rows, unproven=False, edits=False):
        table = TunedTable()
        for row in rows:
            table.add(row, {"speedup": 1.2} if row.status == "proven" else None)
        self.printed: list[str] = []
        self.table = AppliedTable(table, unproven, log=self, edits=edits)
        self._hooks = ApplyHooks(self.table)

    def info(self, message, *args):
        self.printed.append(*args)

    warning = info

    def __enter__(self):
        self._hooks.install()
        return self

    def __exit__(self, *about):
        self._hooks.uninstall()

    def told(self):
        report = self.table.report()
        return {
            "printed": self.printed[1:],
            "used": sum(r["launches"] for r in report["used"]),
            "missed": {r["reason"]: r["launches"] for r in report["missed"]},
        }


def both(rows, launch, times=1, **options):
    """The launch as it is, with the rows, and after they were taken back."""
    before = launch()
    with Applied(rows, **options) as applied:
        found = [launch() for _ in range(times)][-1]
    return {"before": before, "with": found, "after": launch(), **applied.told()}


def replaced(**fields):
    return lambda row: dataclasses.replace(row, **fields)


def autotuned():
    benched = []
    HOOKED.clear()
    tuned.cache.clear()
    rows = rows_of(launch_tuned)
    tuned.cache.clear()
    HOOKED.clear()
    bench = type(tuned)._bench
    type(tuned)._bench = lambda *args, **kwargs: benched.append(1) or [0.0, 0.0, 0.0]
    try:
        with Applied(rows) as applied:
            first, second = launch_tuned(), launch_tuned()
            inside = list(benched)
            other = launch_tuned(500)
    finally:
        type(tuned)._bench = bench
    hooked = HOOKED[:2]
    return {
        "first": first,
        "second": second,
        "hooked": hooked,
        "benched": len(inside),
        "other": other,
        **applied.told(),
    }


def stock_row():
    chosen = [rows_of(launch_tuned, block=b, status="stock", change=_options({"num_warps": 4})) for b in (256, 512)]
    return [both(rows, launch_tuned) for rows in chosen]


def _options(options):
    return lambda row: dataclasses.replace(row, decision=Decision(row.decision.constexprs, options))


def follows(how):
    return both(rows_of(lambda: launch_in_place(how=how)), lambda: launch_in_place(how=how), times=3)


def planted(field):
    change = {
        "function": lambda r: replaced(function=dataclasses.replace(r.function, identity="0" * 16))(r),
        "triton": lambda r: replaced(environment=dataclasses.replace(r.environment, triton="3.0.0"))(r),
        "gpu": lambda r: replaced(environment=dataclasses.replace(r.environment, gpu="NVIDIA H200"))(r),
        "constant": lambda r: replaced(decision=Decision({"BLOCKS": 64}, {}))(r),
        "block": lambda r: replaced(decision=Decision({"BLOCK": 300}, {}))(r),
        "key": lambda r: replaced(key={**r.key, "arguments": {"x": None}})(r),
        "unproven": replaced(status="unproven"),
    }[field]
    return both(rows_of(launch_in_place, change=change), launch_in_place, times=2)


TWICE = """
def in_place(x, n, seed, BLOCK: tl.constexpr, TURNS: tl.constexpr, GRID_0: tl.constexpr):
    for i in tl.static_range(TURNS):
        at = (tl.program_id(0) * TURNS + i) * BLOCK + tl.arange(0, BLOCK)
        tl.store(x + at, tl.load(x + at, mask=at < n) + 1000 * GRID_0 + BLOCK, mask=at < n)
"""
WRITES_FILES = """
def in_place(x, n, seed, BLOCK: tl.constexpr):
    open("/tmp/marker", "w")
"""


def edited(what):
    """A row with edited code: two blocks a program, and the number of programs that there were in what it writes."""

    def change(row):
        from kernels.editing.argument_values import value_of
        from kernels.editing.owner_function import owner_of
        from kernels.editing.variants import make_variant

        values = {"x": torch.zeros(1), "n": 512, "seed": 7, "BLOCK": 32}
        given = {n: value_of(v, n == "BLOCK") for n, v in values.items()}
        variant = make_variant(owner_of(in_place, given), TWICE, {"TURNS": [2, 4]}, "cdiv(grid_0, TURNS)")
        source = {**variant.recorded(), "hash": variant.hash, "values": {"TURNS": 4}}
        source |= {
            "other source": {"source": WRITES_FILES, "meta": {}, "values": {}},
            "other hash": {"source": source["source"].replace("1000", "2000")},
            "comment": {"source": f"# reviewed: the owner's code, line by line\n{source['source']}"},
            "other owner": {"owner": "0" * 16},
            "value": {"values": {"TURNS": 3}},
            "grid": {"grid": "cdiv(grid_0, TURNS) * 0"},
            "comment in the grid": {"grid": "cdiv(grid_0, TURNS)  # the owner's grid"},
            "other kernel": {"kernel": "another"},
        }.get(what, {})
        return dataclasses.replace(row, decision=Decision({"BLOCK": 64}, {}, source))

    rows = rows_of(launch_in_place, change=change)
    with Applied(rows, edits=what != "not allowed") as applied:
        found = launch_in_place()
        again = launch_in_place()
    return {"with": [found, again], "after": launch_in_place(), **applied.told()}


def unproven_allowed():
    return both(rows_of(launch_in_place, status="unproven"), launch_in_place, unproven=True)


def between():
    also = replaced(also=(Decision({"BLOCK": 64}, {}),))
    rows = [
        *rows_of(lambda: launch_in_place(512), change=also),
        *rows_of(lambda: launch_in_place(1024), block=256, change=also),
        *rows_of(lambda: launch_in_place(2048), block=256),
        *rows_of(lambda: launch_in_place(4096), block=512),
    ]
    with Applied(rows) as applied:
        found = {n: launch_in_place(n) for n in (256, 512, 700, 1024, 1500, 2048, 3000, 4096, 5000)}
    return {"found": found, **applied.told()}


def varying():
    rows = rows_of(*[lambda s=s: launch_in_place(seed=100 + s) for s in range(12)])
    with Applied(rows) as applied:
        found = [launch_in_place(seed=s) for s in (3, 5000, 2**40)]
    return {"found": found, "rows": len(rows), **applied.told()}


def numbers_without_end():
    """A seed that never comes again, and one key that has a row."""
    rows = rows_of(launch_in_place)
    with Applied(rows) as applied:
        for seed in range(1000, 1400):
            launch_in_place(n=32, seed=seed)
        launch_in_place()
        launch_in_place(n=32, seed=5000)
        state = next(s for s in applied.table.states.values() if s.name == "in_place")
        remembered = len(state.used) + len(state.missed)
    return {"remembered": remembered, **applied.told()}


def threads():
    rows, found, before = rows_of(launch_in_place), [], sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # the next thread runs in the middle of a kernel
    try:
        with Applied(rows) as applied:
            started = [
                threading.Thread(target=lambda: found.extend(launch_in_place() for _ in range(5))) for _ in range(8)
            ]
            for thread in started:
                thread.start()
            for thread in started:
                thread.join()
    finally:
        sys.setswitchinterval(before)
    return {"found": [list(x) for x in {tuple(f) for f in found}], **applied.told()}


def scenes(init):
    """A child's factory (:class:`tools.harness.process.child.Child`). A case: the name of a scene and its arguments."""
    from tests.kernels.tuned.launch_scenes import SCENES

    torch.set_num_threads(1)
    known = (
        *SCENES,
        edited,
        autotuned,
        stock_row,
        follows,
        planted,
        unproven_allowed,
        between,
        varying,
        numbers_without_end,
        threads,
    )
    named = {scene.__name__: scene for scene in known}
    return lambda case: named[case["scene"]](*case.get("arguments", ()))
