"""``grouped_matmul`` and ``attention_backward`` on one GPU against every baseline, in under four minutes.

    python -m tests.bench.bench_moe_and_backward FOLDER [--budget SECONDS] [--configs N] [--only ENTRY,…]

Each entry is searched for a moment (what the kernel's owner calls promising, the planner's choices, a spread of the
space), then its best config is proven against the baselines in alternation, as ``python -m kernels bench`` does it.
FOLDER/moe-and-backward.json holds all rows, with every config that was screened; it is whole after each row. What the
GPU's tests of both kernels say comes after that, if time is left, and the table last.
"""

import subprocess
import sys
import time
from pathlib import Path

import click

from evals.bench import targets
from evals.bench.output import Row, print_progress, print_table, store
from evals.bench.suite import BOTH, attention_backward, grouped
from tests.bench.recorded_run import RecordedRun, print_screened, run_within

CHECK_S = 45.0
"""Seconds that are kept for the GPU's tests."""
TESTS = ("tests/kernels/grouped", "tests/kernels/attention_backward")


ENTRIES = (
    attention_backward("backward-causal", BOTH, causal=True),
    grouped("mixtral-up", (8192, 14336, 4096, 8), BOTH),
    grouped("deepseek-up", (24576, 2816, 2048, 64), align=1),
    attention_backward("backward-gqa", causal=True, GROUP=4, dtype="bf16"),
    grouped("mixtral-fp8", (8192, 14336, 4096, 8), dtype="fp8", scales="row"),
    grouped("mixtral-down", (8192, 4096, 14336, 8), align=1),
    grouped("deepseek-skewed", (24576, 2048, 1408, 64), align=128, routing="skewed"),
    grouped("mixtral-decode", (128, 14336, 4096, 8), align=1),
    attention_backward("backward-whole", causal=False, dtype="bf16"),
    grouped("mixtral-fp16", (8192, 14336, 4096, 8), dtype="fp16"),
)
"""4,096 tokens, of which each goes to two of 8 experts (Mixtral) or to six of 64 (DeepSeek-V2-Lite); 64 tokens in
``decode``."""


def check(seconds: float, chosen: str) -> list[str]:
    """What the GPU's tests of the two kernels say: their last line, and every failure's."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-k", chosen, *TESTS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(1.0, seconds), check=False)
    except subprocess.TimeoutExpired:
        return [f"the tests did not end within {seconds:.0f} s"]
    said = done.stdout.splitlines()
    return [line for line in said if line.startswith(("FAILED", "ERROR", "E  "))][:20] + said[-1:]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--budget", default=210.0, show_default=True, help="Seconds for everything.")
@click.option("--configs", default=20, show_default=True, help="Configs that are screened for an entry.")
@click.option("--seconds", default=1.0, show_default=True, help="Seconds of a proof's readings.")
@click.option("--only", default="", help="Names of entries, separated by commas.")
@click.option("--tests", default="", help="Only the GPU's tests that this expression selects, as for pytest -k.")
def main(folder: Path, budget: float, configs: int, seconds: float, only: str, tests: str) -> None:
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = tuple(e for e in ENTRIES if not only or e.name in only.split(","))
    rows, checked = list[Row](), list[str]()
    out = folder / "moe-and-backward.json"

    def keep(found: list[Row]) -> None:
        rows[:] = found
        store(out, {"rows": rows, "checked": checked})

    run = RecordedRun("cuda:0", configs, seconds, None, print_progress)
    run_within(run, wanted, budget - CHECK_S, keep)
    checked += check(budget - (time.monotonic() - began), tests)
    store(out, {"rows": rows, "checked": checked})
    print_screened(rows, 4)
    click.echo("\n".join(checked))
    print_table(
        targets.lines(rows, [], None), ("entry", "regime", "ms", "rate", "against", "ratio", "target", "verdict")
    )


if __name__ == "__main__":
    main()
