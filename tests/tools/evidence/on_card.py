"""All planted kernels and some real ones on this machine's GPU:

    python -m tests.tools.evidence.on_card FOLDER [--seconds 190]

1. Says what profilers there are: ncu, cupti-python, versions.
2. Compiles and explains every kernel from its code; the code is kept in FOLDER/kept.tar.gz.
3. Runs each under Proton: times, program counter, source lines.
4. Runs all of them once under ncu, in one process.

Writes ``evidence.json`` into FOLDER after every kernel: all that is needed to name the limits again without a card. A
part that fails is said in the table, and the next begins."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import tarfile
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.tools.evidence.exam import KERNELS
from tests.tools.evidence.gpu_name import gpu_name
from tests.tools.evidence.planted_others import OTHERS
from tools.evidence.answer import achieved
from tools.evidence.explain_config import CannotExplain, explain_config, explain_kept
from tools.evidence.live.nsight import NoNcu, count, find_ncu, match
from tools.evidence.live.profiled_card import Card
from tools.evidence.live_explanation import unit_shares
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.measuring.telemetry import gpus_present
from tools.harness.process.identity import describe

REAL = (("fused_matmul", (1024, 1024, 1024)), ("attention", None), ("rms_norm", None))
"""Built-in kernels, each with the default config."""


@dataclass
class Case:
    name: str
    spec: Any
    problem: Any
    config: Any
    planted: bool | None = None
    """``None``: a real kernel."""
    found: Any = None

    @property
    def row(self) -> dict[str, Any]:
        limit = getattr(self.spec, "limit", None)
        return {
            "kernel": self.name,
            "planted": self.planted,
            "limit": limit,
            "config": self.config.model_dump(mode="json"),
        }


def cases(hardware) -> list[Case]:
    from kernels.registry import get

    found = []
    for kind in (*KERNELS, *OTHERS):
        spec = kind()
        for ill in (True, False) if kind in KERNELS else (True,):
            found.append(Case(spec.name, spec, spec.default_problem(), spec.config_type(planted=ill), ill))
    for name, shape in REAL:
        spec = get(name)
        problem = spec.parse_problem(shape, {})
        found.append(Case(name, spec, problem, spec.default_config(problem, hardware)))
    return found


def profilers() -> dict[str, str]:
    """What there is, and the error's text if it does not work."""
    found = {name: importlib.metadata.version(name) for name in ("torch", "triton")}
    try:
        found["cupti-python"] = importlib.metadata.version("cupti-python")
    except importlib.metadata.PackageNotFoundError:
        found["cupti-python"] = "not installed"
    try:
        ncu = find_ncu()
        done = subprocess.run([ncu, "--version"], capture_output=True, text=True, timeout=20)
        found["ncu"] = f"{ncu}: {' '.join((done.stdout + done.stderr).split())[-200:]}"
    except (NoNcu, OSError, subprocess.SubprocessError) as e:
        found["ncu"] = str(e)
    smi = "--query-gpu=name,driver_version,clocks.max.sm,power.limit"
    if shutil.which("nvidia-smi"):
        done = subprocess.run(["nvidia-smi", smi, "--format=csv,noheader"], capture_output=True, text=True)
        found["nvidia-smi"] = done.stdout.strip()
    for path in ("/proc/driver/nvidia/params",):
        text = Path(path).read_text() if Path(path).exists() else ""
        found["counters"] = next((line for line in text.splitlines() if "RmProfilingAdminOnly" in line), "not told")
    return found


class Visit:
    """One visit to a card."""

    def __init__(self, folder: Path, seconds: float) -> None:
        from kernels.hardware import hardware_for

        self.folder, self.seconds, self.began = folder, seconds, time.monotonic()
        self.name = gpu_name()
        hardware = hardware_for(self.name)
        if hardware is None:
            raise SystemExit(f"there are no facts about {self.name}")
        self.hardware = hardware
        self.cases = cases(hardware)
        self.rows = [case.row for case in self.cases]
        self.about: dict[str, Any] = {"gpu": self.name}
        self.kept = Path(tempfile.mkdtemp(prefix="evidence-"))

    @property
    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.began)

    def write(self) -> None:
        text = json.dumps({**self.about, "rows": self.rows}, indent=1)
        (self.folder / "evidence.json").write_text(text)

    def part(self, name: str, work) -> None:
        """Do a part; what it raises is kept, and the next part begins."""
        started = time.monotonic()
        try:
            work()
        except Exception as e:  # noqa: BLE001 -- one part must not cost the visit
            self.about.setdefault("failed", {})[name] = traceback.format_exc()
            print(f"{name} failed: {type(e).__name__}: {e}", flush=True)
        self.about.setdefault("seconds", {})[name] = round(time.monotonic() - started, 2)
        print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)
        self.write()

    def explain(self) -> None:
        pool = LocalCompilePool(self.hardware)

        def one(place: int) -> None:
            case, row = self.cases[place], self.rows[place]
            started = time.monotonic()
            try:
                where = self.kept / f"{place}-{case.name}"
                case.found = explain_config(case.spec, case.problem, case.config, self.hardware, pool, folder=where)
                verdict = case.found.main.verdict
                row |= {"code": verdict.limit.name, "code_next": verdict.next.name, "estimated_ms": case.found.ms}
                row |= {"units": verdict.model.units, "tail": verdict.model.tail}
                row |= {"imbalance": verdict.model.imbalance, "code_notes": list(case.found.main.notes)}
                row["launches"] = [e.launch.name for e in case.found.launches]
            except CannotExplain as e:
                row["error"] = str(e)
            row["code_seconds"] = round(time.monotonic() - started, 2)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(one, range(len(self.cases))))
        pool.close()
        # Explained again with its code at hand: what a config costs beyond its compilation.
        for case, row in zip(self.cases, self.rows, strict=True):
            if case.found is not None:
                started = time.monotonic()
                explain_kept(case.found.folder)
                row["kept_seconds"] = round(time.monotonic() - started, 2)
        with tarfile.open(self.folder / "kept.tar.gz", "w:gz") as archive:
            archive.add(self.kept, "kept")

    def run(self) -> None:
        with Card() as card:
            for case, row in zip(self.cases, self.rows, strict=True):
                if case.found is None:
                    continue
                if self.left < 45:
                    row["error"] = "no time left for Proton"
                    continue
                started = time.monotonic()
                seen = card.see(case.spec, case.problem, case.config, sampled=case.planted is not False)
                row["live_seconds"] = round(time.monotonic() - started, 2)
                row["card"] = asdict(seen)
                if seen.ms is not None:
                    judged = explain_kept(case.found.folder, card=seen)
                    verdict = judged.main.verdict
                    row |= {"live": verdict.limit.name, "live_next": verdict.next.name, "shares": verdict.shares}
                    row |= {"unexplained": verdict.unexplained, "achieved": achieved(judged, seen.ms)}
                self.write()

    def count(self) -> None:
        places = [i for i, case in enumerate(self.cases) if case.found is not None]
        jobs = [
            {**describe(c.spec, c.problem), "config": c.config.model_dump(mode="json")}
            for c in (self.cases[i] for i in places)
        ]
        with Card() as card:
            counted = count(jobs, 0, card.lock, card.environment, max(20.0, self.left - 10))
        (self.folder / "ncu.json").write_text(json.dumps([asdict(c) for c in counted]))
        mine = match(counted, [[e.launch.name for e in self.cases[i].found.launches] for i in places])
        for i, found in zip(places, mine, strict=True):
            row, case = self.rows[i], self.cases[i]
            row["ncu"] = [asdict(c) for c in found]
            if found:
                shares = {e.launch.name: unit_shares(c) for e, c in zip(case.found.launches, found, strict=False)}
                row["ncu_shares"] = shares
                from tools.evidence.live.profiled_card import Seen

                kept = {k: v for k, v in row.get("card", {}).items() if k != "counters"}
                seen = Seen(**kept) if kept else None
                if seen is not None and seen.ms is not None:
                    judged = explain_kept(case.found.folder, card=seen, counters=shares)
                    row["with_ncu"] = judged.main.verdict.limit.name

    def table(self) -> None:
        print(
            f"{'kernel':20}{'':4}{'code':22}{'card':22}{'with ncu':22}{'est ms':>9}{'ms':>9}{'live s':>7}  most samples"
        )
        for row in self.rows:
            seen = row.get("card") or {}
            samples = seen.get("samples") or {}
            top = max(samples, key=lambda k: samples[k]) if samples else ""
            lines = len([f for f in (seen.get("frames") or {}) if ":" in f])
            which = {True: "ill", False: "ok", None: "real"}[row["planted"]]
            named = "".join(f"{row.get(by, '-'):22}" for by in ("code", "live", "with_ncu"))
            print(
                f"{row['kernel']:20}{which:4}{named}"
                f"{row.get('estimated_ms') or 0:9.4f}{seen.get('ms') or 0:9.4f}{row.get('live_seconds') or 0:7.2f}  "
                f"{top} {lines} lines {row.get('error', '')[:50]}"
            )
        for name, group in (("planted", KERNELS), ("others", OTHERS)):
            names = {k.name for k in group}
            ill = [r for r in self.rows if r["kernel"] in names and r["planted"]]
            right = ", ".join(
                f"{which} {sum(r.get(which) == r['limit'] for r in ill)}" for which in ("code", "live", "with_ncu")
            )
            print(f"{name}: right of {len(ill)}: {right}")
        alike = [r["kernel"] for r in self.rows if r["planted"] is False and r.get("live") == r["limit"]]
        print(f"healthy twins that have the planted limit: {', '.join(alike) or 'none'}")
        notes = {n for r in self.rows for n in (r.get("card") or {}).get("notes", ())}
        print(*sorted(notes)[:8], sep="\n")
        print(json.dumps({k: v for k, v in self.about.items() if k != "failed"}, indent=1))
        print(f"{self.name}, {time.monotonic() - self.began:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=190.0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if not gpus_present():
        raise SystemExit("this machine has no GPU")
    visit = Visit(given.folder, given.seconds)
    visit.part("profilers", lambda: visit.about.update(profilers()))
    visit.part("code", visit.explain)
    visit.part("Proton", visit.run)
    visit.part("ncu", visit.count)
    visit.table()


if __name__ == "__main__":
    main()
