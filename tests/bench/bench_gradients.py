"""Gradients of the norms, and the fused linear layer with its loss, on one GPU against every baseline.

    python -m tests.bench.bench_gradients FOLDER [--budget SECONDS] [--configs N] [--only ENTRY,…]
                                           [--without BASELINE]

Each entry is searched for a moment (what the kernel's owner calls promising, the planner's choices, a spread of the
space); its best config is checked on stress inputs and proven against the baselines in alternation, as ``python -m
kernels bench`` does it. Then the peak of memory of ``fused_linear_cross_entropy`` and of its baselines is taken, in a
process of its own.

FOLDER/gradients.json holds all rows, with every config that was screened, and the peaks. It is whole after each row.
The table comes last."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evals.bench import targets
from evals.bench.output import Row, print_progress, print_table, store
from evals.bench.suite import BOTH, LOSS, Entry, norm_backward
from kernels.spec import Config
from tests.bench.recorded_run import RecordedRun, print_screened, run_within
from tools.harness.devices.live import LiveDevice

if TYPE_CHECKING:
    pass

PEAKS_S = 35.0
"""Seconds that are kept for the peaks of memory."""
RATIO_OF_PEAKS = 0.35
"""The largest peak, of eager PyTorch's, that the project aims at."""
OURS = LOSS.case.kernel


ENTRIES = (
    norm_backward("rms-norm-backward", "rms_norm_backward", 16384, BOTH),
    norm_backward("layer-norm-backward", "layer_norm_backward", 16384, BOTH),
    LOSS,
    norm_backward("rms-norm-backward-4096", "rms_norm_backward", 4096),
    norm_backward("layer-norm-backward-4096", "layer_norm_backward", 4096),
)
"""Sizes of Llama 3 8B. The loss is opened with the first entries and measured after them: torch.compile needs minutes
for its products, with each backend that can be forced."""


def without(entry: Entry, baseline: str | None) -> Entry:
    """`entry` with `baseline` and its target left out."""
    against = {judged: tuple(n for n in names if n != baseline) for judged, names in entry.against.items()}
    return replace(entry, against=against, targets=tuple(t for t in entry.targets if t.against != baseline))


class PromisingRun(RecordedRun):
    """Screens what the kernel's owner calls promising, too."""

    def _configs(self, live: LiveDevice) -> list[Config]:
        owners = live.spec.promising(live.problem, live.hardware)
        return list(dict.fromkeys([*owners, *super()._configs(live)]))


def peaks(config: dict[str, Any] | None, missing: str | None = None) -> None:
    """Prints a line of JSON for the kernel and for each baseline: peak bytes above the inputs, and ms, of one call on
    the loss's problem.

    The outputs count, as they are allocated within the call; for the kernel they are made here, before its launch."""
    import torch

    from kernels.hardware import hardware_for

    spec, problem = LOSS.case.load()
    inputs = spec.inputs(problem, torch.Generator("cuda").manual_seed(0), "cuda")
    hardware: Any = hardware_for(torch.cuda.get_device_name())
    chosen = spec.config_type.model_validate(config) if config else spec.default_config(problem, hardware)

    def ours() -> torch.Tensor:
        out = spec.output(problem, "cuda")
        spec.launch(problem, chosen, inputs, out, hardware)
        return out

    size = sum(t.numel() * t.element_size() for t in inputs if t is not None)
    print(json.dumps({"inputs": size, "config": chosen.model_dump(mode="json")}), flush=True)
    calls: dict[str, Callable[[], Callable[[], object]]] = {OURS: lambda: ours}
    # The slowest to prepare comes last.
    baselines = sorted(spec.baselines(problem), key=lambda b: b.name == "compiled")
    calls |= {b.name: partial(b.prepare, problem, inputs) for b in baselines}
    reasons = {b.name: b.missing(problem) for b in baselines} | {missing: "left out"}
    for name, prepare in calls.items():
        found: dict[str, Any] = {"reason": reasons.get(name)}
        if not found["reason"]:
            try:
                found = _peak(prepare())
            except Exception as e:  # noqa: BLE001 -- it is part of the answer
                found = {"reason": f"{type(e).__name__}: {e}"}
        print(json.dumps({name: found}), flush=True)


def _peak(call: Callable[[], object]) -> dict[str, Any]:
    import torch

    for _ in range(2):
        call()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    started.record()
    kept = call()
    ended.record()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - before
    del kept
    return {"bytes": peak, "ms_once": started.elapsed_time(ended)}


def peaks_apart(config: dict[str, Any] | None, missing: str | None, seconds: float) -> dict[str, Any]:
    """What :func:`peaks` prints, in a process of its own, up to the first trouble or the end of the time."""
    code = f"from tests.bench.bench_gradients import peaks; peaks({config!r}, {missing!r})"
    trouble: dict[str, Any] = {}
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=max(1.0, seconds), check=False)
        said = done.stdout
        if done.returncode != 0:
            trouble = {"reason": done.stderr.decode()[-2000:]}
    except subprocess.TimeoutExpired as e:
        said, trouble = e.stdout or b"", {"reason": f"not all were taken within {seconds:.0f} s"}
    found: dict[str, Any] = {}
    for line in said.decode().splitlines():
        if line.startswith("{"):
            found |= json.loads(line)
    sizes = [found.get(name, {}).get("bytes") for name in (OURS, "unfused")]
    if all(sizes):
        found["ratio"] = sizes[0] / sizes[1]
    return found | trouble


def print_peaks(found: dict[str, Any]) -> None:
    rows = [
        {"way": name, "peak GB": f"{value['bytes'] / 1e9:.3f}", "ms once": f"{value['ms_once']:.2f}"}
        if "bytes" in value
        else {"way": name, "peak GB": "-", "ms once": value["reason"][:200]}
        for name, value in found.items()
        if isinstance(value, dict) and name != "config"
    ]
    print_table(rows, ("way", "peak GB", "ms once"))
    if "ratio" in found:
        verdict = "met" if found["ratio"] <= RATIO_OF_PEAKS else "missed"
        click.echo(f"peak over eager's: {found['ratio']:.3f} (at most {RATIO_OF_PEAKS}: {verdict})")
    if "reason" in found:
        click.echo(f"peaks of memory: {found['reason']}")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--budget", default=195.0, show_default=True, help="Seconds for everything.")
@click.option("--configs", default=20, show_default=True, help="Configs that are screened for an entry.")
@click.option("--seconds", default=1.5, show_default=True, help="Seconds of a proof's readings.")
@click.option("--only", default="", help="Names of entries, separated by commas.")
@click.option("--without", "missing", help="A baseline of the loss not to time: compiled needs minutes of the GPU.")
def main(folder: Path, budget: float, configs: int, seconds: float, only: str, missing: str | None) -> None:
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    named = only.split(",") if only else [e.name for e in ENTRIES]
    wanted = tuple(without(e, missing) if e is LOSS else e for e in ENTRIES if e.name in named)
    rows, memory = list[Row](), dict[str, Any]()
    out = folder / "gradients.json"
    print_progress(f"{len(wanted)} entries in at most {budget:.0f} s; torch.compile prepares the first ones")

    def keep(found: list[Row]) -> None:
        rows[:] = found
        store(out, {"rows": rows, "peaks": memory})

    run = PromisingRun("cuda:0", configs, seconds, None, print_progress)
    run_within(run, wanted, budget - PEAKS_S, keep)
    config = next((r["config"] for r in rows if r["entry"] == LOSS.name and r["status"] == "correct"), None)
    memory.update(peaks_apart(config, missing, budget - (time.monotonic() - began)))
    store(out, {"rows": rows, "peaks": memory})
    print_screened(rows, 3)
    print_peaks(memory)
    columns = ("entry", "regime", "ms", "rate", "mJ", "against", "ratio", "target", "verdict")
    print_table(targets.lines(rows, [], None), columns)
    click.echo(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
