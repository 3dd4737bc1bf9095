"""Do verdicts repeat, and does somebody else's clock agree?  ``python -m tests.bench.bench_verdict FOLDER`` on a GPU.

1. The main job, four times, each from fresh caches: the ratio to torch.compile of all runs must lie within 1.5 %, and
   every run's interval must hold their median.
2. Verdicts of rms_norm, swiglu, softmax, a skinny product and attention, each beside an independent loop: two events
   around every launch, a cold L2, 60 samples of config and baselines in turn.
3. Repeatability of the sustained regime: readings of one config over some time, with clocks, temperature and power.

Prints a table last and writes ``verdicts.json`` into FOLDER, after each run as well. What does not fit into
``--seconds`` is left out or ended, and named.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import click

from tests.bench.cold_launch import FLUSH_BYTES, cold_ms
from tools.harness.compiling.cache import worker_environment

MAIN = ("main", ["maximise fused TFLOPS"])
OTHERS = (
    ("rms_norm", ["--kernel", "rms_norm"]),
    ("swiglu", ["--kernel", "swiglu"]),
    ("softmax", ["--kernel", "softmax"]),
    ("64x8192x8192", ["--kernel", "fused_matmul", "--shape", "64x8192x8192", "--dtype", "bf16"]),
    ("attention", ["--kernel", "attention"]),
)
SAMPLES = 60
SPREAD, AGREEMENT = 0.015, 0.01
"""What is asked for: of the main job's ratios, and of the independent loop's against the verdict's."""
RUN_S, LOOP_S = 150.0, 90.0
"""A run or a loop that takes longer is ended and named."""
LEAST_S, LEAST_LOOP_S = 40.0, 15.0
"""Neither is begun with less time left."""


def environment(caches: Path) -> dict[str, str]:
    """Every cache and all data below `caches`."""
    own = {"XDG_CACHE_HOME": caches / "cache", "XDG_DATA_HOME": caches / "data"}
    return {**os.environ, **{name: str(path) for name, path in own.items()}}


def run(name: str, words: list[str], caches: Path, evaluations: int | None, seconds: float) -> dict[str, Any]:
    """One run of the agent in a process of its own; what it printed, its wall time, or why there is none."""
    command = [sys.executable, "-m", "agent", *words, "--device", "cuda:0", "--json", "--quiet", "--memory"]
    command += [str(caches / "memory.db"), *(["--max-evals", str(evaluations)] if evaluations else [])]
    began = time.monotonic()
    try:
        done = subprocess.run(command, env=environment(caches), capture_output=True, text=True, timeout=seconds)
        outcome = json.loads(done.stdout)
        problem = problem_of(outcome["trace"])
    except subprocess.TimeoutExpired:
        return {"name": name, "failed": f"not finished after {seconds:.0f} s"}
    except (ValueError, KeyError, OSError):
        return {"name": name, "failed": done.stderr.strip()[-300:] or f"exit code {done.returncode}"}
    wall = round(time.monotonic() - began, 1)
    return {"name": name, "wall_s": wall, "exit": done.returncode, "outcome": outcome, "problem": problem}


def loop(about: dict[str, Any], caches: Path, seconds: float) -> dict[str, Any]:
    """:func:`independent` in a process of its own, with the caches of the run."""
    command = [sys.executable, "-m", "tests.bench.bench_verdict", "--loop", json.dumps(about), str(caches)]
    env = environment(caches) | worker_environment(caches / "cache" / "triton-autokernel" / "triton")
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=seconds)
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found
    except subprocess.TimeoutExpired:
        return {"failed": f"not finished after {seconds:.0f} s"}
    except (ValueError, IndexError):
        return {"failed": done.stderr.strip()[-300:] or f"exit code {done.returncode}"}


def independent(kernel: str, problem: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Baseline's time over the config's by a loop of its own: it shares the kernels' definitions with the harness, and
    no line of its timing."""
    import torch

    from kernels.hardware import hardware_for
    from kernels.registry import get

    spec = get(kernel)
    asked = spec.problem_type.model_validate(problem)
    chosen = spec.config_type.model_validate(config)
    hardware = hardware_for(torch.cuda.get_device_name(0))
    assert hardware is not None
    inputs = spec.inputs(asked, torch.Generator("cuda").manual_seed(7), "cuda")
    out = spec.output(asked, "cuda")
    calls: dict[str, Any] = {"config": lambda: spec.launch(asked, chosen, inputs, out, hardware)}
    for baseline in spec.baselines(asked):
        if not baseline.equivalent or baseline.missing(asked):
            continue
        ways = {baseline.name: baseline.prepare}
        ways |= {f"{baseline.name} {name}": way for name, way in baseline.choices(asked).items()}
        for name, way in ways.items():
            try:
                calls[name] = way(asked, inputs)
            except Exception as e:  # noqa: BLE001 -- a choice that this PyTorch does not have
                print(f"{name}: {e}", file=sys.stderr)
    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    for call in calls.values():
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(SAMPLES):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            times[name].append(cold_ms(calls[name], flush))
    middle = {name: median(values) for name, values in times.items()}
    ratios = {name: median(t / o for t, o in zip(times[name], times["config"], strict=True)) for name in times}
    return {"ms": middle, "ratios": {name: ratio for name, ratio in ratios.items() if name != "config"}}


def compare(row: dict[str, Any], caches: Path, seconds: float) -> dict[str, Any]:
    """The verdict's ratio over the baseline that decided, by the run and by the independent loop."""
    outcome = row.get("outcome") or {}
    best, against = outcome.get("best"), outcome.get("against")
    if not best or not against:
        return row
    kernel, problem = outcome["objective"]["kernel"], row["problem"]
    found = loop({"kernel": kernel, "problem": problem, "config": best["config"]}, caches, seconds)
    said = next(b["speedup"] for b in outcome["baselines"] if b["name"] == against)
    ways = [ratio for name, ratio in found.get("ratios", {}).items() if name.split(" ")[0] == against]
    if ways:
        found |= {"ratio": min(ways), "verdict": said, "apart": min(ways) / said - 1}
    return row | {"loop": found}


def problem_of(trace: str) -> dict[str, Any]:
    """The problem's fields, from the header of a run's trace."""
    with Path(trace).open() as lines:
        found: dict[str, Any] = json.loads(next(lines))["body"]["setting"]["problem"]
    return found


def sustained(seconds: float, kernel: str, problem: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Readings of the sustained regime, one after another for `seconds`, with the card's state around each."""
    from kernels.registry import get
    from tools.harness.devices.live import LiveDevice

    spec = get(kernel)
    live = LiveDevice.open("cuda:0", spec, spec.problem_type.model_validate(problem))
    chosen, readings, began = spec.config_type.model_validate(config), [], time.monotonic()
    try:
        while time.monotonic() - began < seconds:
            [m] = live.measure([chosen], "sustained", 1)
            card = m.telemetry.model_dump() if m.telemetry else {}
            readings.append({"ms": m.ms, "status": m.status, "at": round(time.monotonic() - began, 1), **card})
    finally:
        live.close()
    times = sorted(r["ms"] for r in readings if r["ms"])
    low, high = (times[round((len(times) - 1) * q)] for q in (0.05, 0.95)) if times else (0.0, 0.0)
    return {"readings": readings, "spread": (high - low) / median(times) if times else None}


def table(rows: list[dict[str, Any]], steady: dict[str, Any] | None) -> list[str]:
    """What was found, a line each."""
    lines = ["run            verdict   against   ratio [interval]        compiled [interval]  wall s  loop   apart"]
    for row in rows:
        outcome = row.get("outcome")
        if outcome is None:
            lines.append(f"{row['name']:14} FAILED    {row['failed'][-100:]}")
            continue
        named = {b["name"]: b for b in outcome["baselines"]}
        decided, compiled = named.get(outcome["against"]), named.get("compiled")
        beside = row.get("loop", {})
        apart = f"{beside['apart']:+.2%}" if "apart" in beside else beside.get("failed", "")[-60:]
        choice = f" {compiled['choice']}" if compiled and compiled.get("choice") else ""
        lines.append(
            f"{row['name']:14} {outcome['verdict']!s:9} {outcome['against']!s:9} {ratio_in(decided)}  "
            f"{ratio_in(compiled)}{choice}  {row['wall_s']:6}  {beside.get('ratio', 0):.3f}  {apart}"
        )
    found = [c for row in rows if row["name"].startswith("main") and (c := named_compiled(row))]
    if len(found) > 1:
        ratios = [c["speedup"] for c in found]
        middle = median(ratios)
        spread, held = max(ratios) / min(ratios) - 1, sum(c["ci"][0] <= middle <= c["ci"][1] for c in found)
        verdict = "holds" if spread <= SPREAD and held == len(found) else "DOES NOT HOLD"
        lines.append(f"main: {len(found)} ratios spread {spread:.2%}, {held} intervals hold the median: {verdict}")
    apart = [abs(row["loop"]["apart"]) for row in rows if "apart" in row.get("loop", {})]
    if apart:
        lines.append(f"independent loop: at most {max(apart):.2%} apart (asked for: {AGREEMENT:.0%})")
    if steady and steady["spread"] is not None:
        last = steady["readings"][-1]
        card = (
            f"{last.get('sm_mhz')} MHz, {last.get('power_w')} W, {last.get('temperature_c')} C, {last.get('throttle')}"
        )
        lines.append(f"sustained: {len(steady['readings'])} readings, p95 - p5 {steady['spread']:.2%}; last at {card}")
    return lines


def ratio_in(row: dict[str, Any] | None) -> str:
    if row is None or row["speedup"] is None:
        return "-" + " " * 19
    return f"{row['speedup']:.3f} [{row['ci'][0]:.3f}, {row['ci'][1]:.3f}]"


def named_compiled(row: dict[str, Any]) -> dict[str, Any] | None:
    rows = (row.get("outcome") or {}).get("baselines", ())
    return next((b for b in rows if b["name"] == "compiled" and b["speedup"] is not None), None)


def write(folder: Path, rows: list[dict[str, Any]], steadiness: dict[str, Any] | None) -> None:
    (folder / "verdicts.json").write_text(json.dumps({"rows": rows, "sustained": steadiness}, indent=1))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--loop", "about", hidden=True, help="One independent loop, as JSON; FOLDER is not used.")
@click.option("--runs", default=4, show_default=True, help="Main jobs.")
@click.option("--only", multiple=True, help="Of the other problems, those of this name; repeat it for more.")
@click.option("--evaluations", default=12, show_default=True, help="Of each other problem.")
@click.option("--seconds", default=470.0, show_default=True, help="Wall time of all of it.")
@click.option("--steady", default=45.0, show_default=True, help="Seconds of sustained readings.")
def main(
    folder: Path, about: str | None, runs: int, only: tuple[str, ...], evaluations: int, seconds: float, steady: float
) -> None:
    if about is not None:
        asked = json.loads(about)
        print(json.dumps(independent(asked["kernel"], asked["problem"], asked["config"])))
        return
    folder.mkdir(parents=True, exist_ok=True)
    began, rows = time.monotonic(), list[dict[str, Any]]()
    caches = Path(tempfile.mkdtemp(prefix="autokernel-verdict-"))
    jobs: list[tuple[str, list[str], Path, int | None]]
    jobs = [(f"{MAIN[0]} {i + 1}", MAIN[1], caches / str(i), None) for i in range(runs)]
    jobs += [(name, words, caches / "others", evaluations) for name, words in OTHERS if name in only or not only]
    steadiness: dict[str, Any] | None = None
    end = began + seconds
    for name, words, own, most in jobs:
        left = end - time.monotonic()
        if left < LEAST_S:
            rows.append({"name": name, "failed": f"left out: {left:.0f} s were left"})
            continue
        own.mkdir(exist_ok=True)
        row = run(name, words, own, most, min(RUN_S, left))
        left = end - time.monotonic()
        if "outcome" in row and (most is not None or name.endswith(" 1")) and left > LEAST_LOOP_S:
            row = compare(row, own, min(LOOP_S, left))
        rows.append(row)
        write(folder, rows, None)
        print(f"{time.monotonic() - began:5.0f} s  {name}: {row.get('failed') or row['outcome']['why']}", flush=True)
    first = next((row for row in rows if (row.get("outcome") or {}).get("best")), None)
    left = end - time.monotonic()
    if first is not None and left > 20:
        problem, config = first["problem"], first["outcome"]["best"]["config"]
        try:
            steadiness = sustained(min(steady, left - 15), first["outcome"]["objective"]["kernel"], problem, config)
        except Exception as e:  # noqa: BLE001 -- the verdicts stand without it
            print(f"sustained: {type(e).__name__}: {e}"[:300], flush=True)
    lines = table(rows, steadiness)
    write(folder, rows, steadiness)
    (folder / "table.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
