"""All planted kernels on this machine's GPU: ``python -m tests.tools.evidence.on_card FOLDER [--seconds 220]``.

Explains each from its code, then times it by Proton and samples its program counter. Writes ``evidence.json`` into
FOLDER as it goes, and prints a table last."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.tools.evidence.exam import KERNELS
from tools.evidence.answer import shares
from tools.evidence.explain_config import CannotExplain, explain_config, explain_kept
from tools.evidence.live.profiled_card import Card
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.measuring.telemetry import gpus_present


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=220.0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if not gpus_present():
        raise SystemExit("this machine has no GPU")
    from kernels.hardware import hardware_for
    from tests.tools.evidence.gpu_name import gpu_name

    began = time.monotonic()
    name = gpu_name()
    hardware = hardware_for(name)
    if hardware is None:
        raise SystemExit(f"there are no facts about {name}")
    pool = LocalCompilePool(hardware)
    kept_in = Path(tempfile.mkdtemp(prefix="evidence-"))
    cases = [(kind(), ill) for kind in KERNELS for ill in (True, False)]

    def explain(case):
        spec, ill = case
        config = spec.config_type(planted=ill)
        try:
            kept = kept_in / f"{spec.name}-{ill}"
            return explain_config(spec, spec.default_problem(), config, hardware, pool, folder=kept)
        except CannotExplain as e:
            return e

    with ThreadPoolExecutor(8) as threads:
        explained = list(threads.map(explain, cases))
    print(f"explained in {time.monotonic() - began:.0f} s", flush=True)
    rows = []
    with Card() as card:
        for (spec, ill), found in zip(cases, explained, strict=True):
            row = {"kernel": spec.name, "planted": ill, "limit": spec.limit}
            if isinstance(found, CannotExplain):
                row["error"] = str(found)
            elif time.monotonic() - began < given.seconds:
                row |= seen(card, spec, ill, found)
            else:
                row["error"] = "no time left"
            rows.append(row)
            (given.folder / "evidence.json").write_text(json.dumps({"gpu": name, "rows": rows}, indent=1))
    pool.close()
    table(rows)
    print(f"{name}, {time.monotonic() - began:.0f} s")


def seen(card, spec, ill, found):
    started = time.monotonic()
    look = card.see(spec, spec.default_problem(), spec.config_type(planted=ill), sampled=ill)
    row = {
        "code": found.main.verdict.limit.name,
        "code_next": found.main.verdict.next.name,
        "estimated_ms": found.ms,
        "measured_ms": look.ms,
        "samples": look.samples,
        "frames": look.frames,
        "notes": [*found.main.notes, *look.notes],
        "seconds": time.monotonic() - started,
    }
    if look.ms is not None:
        measured = explain_kept(found.folder, look.ms)
        row |= {"live": measured.main.verdict.limit.name, "shares": shares(measured.main, 8)}
    return row


def table(rows):
    right = {which: sum(r.get(which) == r["limit"] for r in rows if r["planted"]) for which in ("code", "live")}
    for r in rows:
        top = max(r.get("samples", {}) or {"": 0}, key=lambda k: (r.get("samples") or {"": 0}).get(k, 0))
        ms = r.get("measured_ms")
        print(
            f"{r['kernel']:19} {'ill' if r['planted'] else 'ok ':3} {r.get('code', '-'):22} {r.get('live', '-'):22} "
            f"{r.get('estimated_ms') or 0:8.4f} {ms or 0:8.4f} {top:18} {r.get('error', '')[:60]}"
        )
    notes = {n for r in rows for n in r.get("notes", [])}
    print(*sorted(notes)[:8], sep="\n")
    print(
        f"right from code {right['code']} of {len(KERNELS)}, with the measured time {right['live']} of {len(KERNELS)}"
    )


if __name__ == "__main__":
    main()
