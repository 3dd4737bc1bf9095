"""Matrix work of ``grouped_matmul``'s persistent families, counted. It needs no GPU and says nothing of time.

    python -m tests.bench.grouped_work OUT.json

For each entry of ``tests.bench.bench_grouped_families``, with tiles of 128 x 256 on the 132 SMs of an H200: the rows
that are multiplied over the rows that the groups have, and the work of the busiest program, in tiles. A kernel whose
programs all multiply at one speed takes as long as that program. ``ideal`` is the work of the groups' rows, divided
evenly among the SMs.
"""

import json
from pathlib import Path
from typing import Any

import click

from evals.bench.suite import Entry
from kernels.grouped import equal_shares
from kernels.grouped.config import Family, GroupedConfig, GroupedProblem, group_sizes, planned_rows, programs
from kernels.hardware import hardware_named
from tests.bench.bench_grouped_families import ENTRIES

SHARED: dict[str, int] = {"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64, "GROUP_M": 8, "num_warps": 8, "num_stages": 4}


def work(problem: GroupedProblem, family: Family, sms: int) -> list[float]:
    """Matrix work of each program of a family, in whole tiles."""
    config = GroupedConfig(**SHARED, family=family, CONSUMERS=2, EPILOGUE_SUBTILE=4)
    height = planned_rows(config)
    units = sum(-(-size // height) for size in group_sizes(problem)) * -(-problem.N // config.BLOCK_N)
    n = programs(problem, config, sms)
    done = [0.0] * n
    parts = config.BLOCK_M // height
    whole = equal_shares.whole_shares.fn(units, n, parts)
    for index in range(equal_shares.all_shares.fn(units, whole, parts)):
        done[index % n] += equal_shares.share.fn(index, units, whole, parts)[1] / parts
    return done


def counted(entry: Entry, sms: int) -> dict[str, Any]:
    problem: Any = entry.case.load()[1]
    columns = -(-problem.N // SHARED["BLOCK_N"])
    needed = problem.M / 128 * columns
    row: dict[str, Any] = {"entry": entry.name, "problem": problem.label(), "groups": problem.E, "align": problem.align}
    row["ideal"] = round(needed / sms, 3)
    for family in ("warp_specialized", "trimmed"):
        done = work(problem, family, sms)
        row[family] = {"rows": round(sum(done) / needed, 4), "busiest": max(done), "programs": len(done)}
    return row | {"ratio": round(row["warp_specialized"]["busiest"] / row["trimmed"]["busiest"], 4)}


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def main(out: Path) -> None:
    rows = [counted(entry, hardware_named("H200").sms) for entry in ENTRIES if entry.case.options.get("dtype") != "fp8"]
    lines = ",\n".join(json.dumps(row) for row in rows)
    out.write_text(f'{{"command": "python -m tests.bench.grouped_work OUT.json", "rows": [\n{lines}\n]}}\n')
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
