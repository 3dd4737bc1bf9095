"""Family ``trimmed`` of ``grouped_matmul`` beside the families before it, on one H200 or H100 within a minute.

    python -m tests.bench.bench_grouped_families OUT.json [--budget SECONDS] [--only ENTRY,…]

For each entry the widest configs of each family are screened. Then the fastest ``trimmed`` config is proven in
alternation with the fastest other config, the loop over ``torch.mm`` and ``torch._grouped_mm``, in the burst regime. A
ratio is the other's time divided by that of ``trimmed``. OUT.json has every config that was screened, failures with
their reason; it is written after each entry.

That it is right there: ``python -m pytest -m gpu -k trimmed tests/kernels/grouped`` (40 s).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import torch

from evals.bench.output import print_progress
from evals.bench.suite import Case, Entry, Judged
from evals.bench.suite_run import Opened, SuiteRun
from evals.bench.sweep import Row, describe_case, rates, sort_by_time
from kernels.hardware import Hardware
from kernels.spec import Config, KernelSpec, Problem
from tests.bench.recorded_run import RecordedRun, print_screened, run_within
from tools.harness.devices.live import LiveDevice
from tools.harness.results import Measurement

NEW = "trimmed"
AGAINST = ("loop", "grouped")
MOST_CONFIGS = 4
"""Of a family."""
LAST_ENTRY_S = 14.0
"""What an entry takes on an H200, by the estimates of ``evals.bench.suite_run``."""


def entry(name: str, shape: tuple[int, ...], **options: Any) -> Entry:
    return Entry(name, Case("grouped_matmul", shape, options), ("burst",), {"burst": AGAINST})


ENTRIES = (
    entry("mixtral-up", (8192, 14336, 4096, 8)),
    entry("deepseek-up", (24576, 2816, 2048, 64), align=1),
    entry("mixtral-fp8", (8192, 14336, 4096, 8), dtype="fp8", scales="row"),
    entry("deepseek-skewed", (24576, 2048, 1408, 64), align=64, routing="skewed"),
    entry("mixtral-decode", (128, 14336, 4096, 8), align=1),
)
"""Those of ``tests.bench.bench_moe_and_backward`` in which groups end within a tile, the last round is short, or fp8 is
multiplied."""


def configs_to_screen(spec: KernelSpec[Any, Any], problem: Problem, hardware: Hardware) -> list[Config]:
    """The first MOST_CONFIGS configs of each persistent family: promising ones, then candidates."""
    found: dict[str, list[Config]] = {}
    config: Any
    for config in (*spec.promising(problem, hardware), *spec.candidates(problem, hardware)):
        of_family = found.setdefault(config.family, [])
        legal = spec.constraint(problem, config, hardware) is None
        if legal and len(of_family) < MOST_CONFIGS and config not in of_family:
            of_family.append(config)
    return [config for family in (NEW, "warp_specialized", "persistent_tma") for config in found.get(family, [])]


def fastest(measurements: Sequence[Measurement]) -> tuple[Measurement | None, Measurement | None]:
    """The fastest ``trimmed`` measurement and the fastest other one; None if there is none."""
    ordered = sort_by_time([m for m in measurements if m.status == "correct"])
    new = next((m for m in ordered if m.config["family"] == NEW), None)
    return new, next((m for m in ordered if m.config["family"] != NEW), None)


class FamilySuite(SuiteRun):
    """A suite that proves the fastest ``trimmed`` config beside the fastest other one."""

    def _configs(self, live: LiveDevice) -> list[Config]:
        return configs_to_screen(live.spec, live.problem, live.hardware)

    def _judge(self, entry: Entry, judged: Judged, opened: Opened) -> Row:
        live = opened.live
        assert judged == "burst"  # as all ENTRIES
        row = describe_case(live, judged) | {"entry": entry.name, "judged": judged, "targets": [], "baselines": []}
        opened.finalists(self.progress)
        new, old = fastest(opened.screened)
        if new is None or old is None:
            reasons = [m.reason for m in opened.screened if m.reason]
            lacking = NEW if new is None else "other"
            return row | {"status": "failed", "reason": f"no {lacking} config was right: {reasons[:3]}"}
        config, beside = (live.spec.config_type.model_validate(m.config) for m in (new, old))
        proof = live.prove(config, judged, self.seconds, "ms", beside, list(AGAINST))
        row |= {"status": proof.status, "reason": proof.reason, "config": proof.config, "beside": old.config}
        if proof.ms is None:
            return row
        compared = [c.model_dump(mode="json", exclude_none=True) for c in proof.comparisons]
        return row | rates(live, proof.ms) | {"ci_ms": proof.ci_ms, "how": proof.how, "baselines": compared}


class FamilyRun(RecordedRun, FamilySuite):
    """The same, with every screened config in its row."""


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--budget", default=60.0, show_default=True, help="Seconds for everything.")
@click.option("--seconds", default=1.0, show_default=True, help="Seconds of a proof's readings.")
@click.option("--only", default="", help="Names of entries, separated by commas.")
def main(out: Path, budget: float, seconds: float, only: str) -> None:
    chosen = only.split(",") if only else [e.name for e in ENTRIES]
    if unknown := sorted(set(chosen) - {e.name for e in ENTRIES}):
        raise click.UsageError(f"no entry {', '.join(unknown)}; there are {', '.join(e.name for e in ENTRIES)}")
    if not torch.cuda.is_available():
        raise click.UsageError("PyTorch finds no GPU here, and this measures on one")
    rows: list[Row] = []

    def keep(found: list[Row]) -> None:
        rows[:] = found
        out.write_text(json.dumps({"command": "python -m tests.bench.bench_grouped_families", "rows": rows}, indent=1))

    run = FamilyRun("cuda:0", 0, seconds, None, print_progress)
    run_within(run, tuple(e for e in ENTRIES if e.name in chosen), budget - LAST_ENTRY_S, keep)
    print_screened(rows, 3)
    for row in rows:
        ratios = [f"{b['name']} {b['speedup']:.3f}" for b in row["baselines"] if b.get("speedup")]
        click.echo(f"{row['entry']}: {row['status']} {row.get('ms', '–')} ms, {', '.join(ratios)}")


if __name__ == "__main__":
    main()
