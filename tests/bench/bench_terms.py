"""Which term of the planner's cost models is how far off: ``python -m tests.bench.bench_terms [NAME…] [--configs 3]``.

Of every landscape (without a NAME: those of :data:`LANDSCAPES`) the fastest config and others along the recorded order
are compiled, and their machine code is counted (docs/EVIDENCE.md). Beside each term of the cost model stands what the
code says of the same unit, and beside the model's time the recorded one. No GPU is needed."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from kernels.hardware import hardware_named
from tests.bench.planner_spaces import PLAIN, Space, load
from tools.evidence.explain_config import CannotExplain, explain_config
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.landscapes.named import folder
from tools.planner.cost.lookup import model_of

LANDSCAPES = (
    "fused_matmul-4096x4096x4096-fp16-h200",
    "fused_matmul-1024x1024x1024-fp16-h200",
    "fused_matmul-64x8192x8192-bf16-h200",
    "attention-4x32x4096x128-fp16-h200",
    "rms_norm-32768x4096-fp16-h200",
)
SMALL = 0.05
"""Terms below this share of the recorded time on both sides do not matter."""


@dataclass
class Row:
    """One term of one config."""

    landscape: str
    config: dict[str, Any]
    term: str
    model_ms: float
    code_ms: float
    recorded_ms: float

    @property
    def ratio(self) -> float:
        return self.model_ms / self.code_ms if self.code_ms else math.inf


def picked(space: Space, count: int) -> list[Any]:
    """The fastest config and others, evenly over the faster half of the order of recorded times."""
    order = sorted(space.times, key=lambda c: space.times[c])
    places = [round(n * (len(order) // 2) / max(1, count - 1)) for n in range(count)]
    return [order[min(place, len(order) - 1)] for place in dict.fromkeys(places)]


def rows_of(name: str, count: int, pool: LocalCompilePool) -> Iterator[Row]:
    space = load(folder() / f"{name}.json.gz", PLAIN)
    task = space.task
    for config in picked(space, count):
        try:
            found = explain_config(task.spec, task.problem, config, task.hardware, pool)
        except CannotExplain as e:
            click.echo(f"{name}: {e}", err=True)
            continue
        model = model_of(task.problem, [config])
        assert model is not None, f"{name} has no cost model"
        said = model(task.problem.dtype, task.hardware, {0: found.main.compiled})
        assert said is not None
        recorded = space.times[config]
        values = config.model_dump(mode="json")
        counted: dict[str, float] = defaultdict(float)
        for launch in found.launches:
            for unit, ms in launch.verdict.model.units.items():
                counted[unit] += ms
        for term, times in said.terms.items():
            if max(times[0], counted[term]) > SMALL * recorded:
                yield Row(name, values, term, float(times[0]), counted[term], recorded)
        yield Row(name, values, "time", float(said.ms[0]), found.ms, recorded)


def table(rows: list[Row]) -> Iterator[str]:
    """One line a landscape and term: ranges over its configs."""
    yield "| landscape | term | model ms | code ms | model / code |"
    yield "|---|---|--:|--:|--:|"
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.landscape, row.term].append(row)
    for (name, term), group in groups.items():
        model, code = span(r.model_ms for r in group), span(r.code_ms for r in group)
        yield f"| {name} | {term} | {model} | {code} | {span(r.ratio for r in group)} |"
    times = [row for row in rows if row.term == "time"]
    yield ""
    yield "| landscape | configs | model / recorded | code / recorded |"
    yield "|---|--:|--:|--:|"
    for name in dict.fromkeys(row.landscape for row in times):
        mine = [row for row in times if row.landscape == name]
        by_model = span(r.model_ms / r.recorded_ms for r in mine)
        yield f"| {name} | {len(mine)} | {by_model} | {span(r.code_ms / r.recorded_ms for r in mine)} |"


def span(numbers: Any) -> str:
    """The range of some numbers in three digits."""
    found = [float(f"{x:.3g}") for x in numbers]
    low, high = min(found), max(found)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--configs", default=3, show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write every row here.")
def main(names: tuple[str, ...], configs: int, out: Path | None) -> None:
    pool = LocalCompilePool(hardware_named("H200"))
    rows: list[Row] = []
    try:
        for name in names or LANDSCAPES:
            for row in rows_of(name, configs, pool):
                rows.append(row)
                click.echo(f"{name} {row.term}: model {row.model_ms:.4g} ms, code {row.code_ms:.4g} ms", err=True)
    finally:
        pool.close()
    if out is not None:
        out.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    click.echo("\n".join(table(rows)))


if __name__ == "__main__":
    main()
