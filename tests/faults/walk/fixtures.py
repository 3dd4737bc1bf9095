"""Sound files for the walk, made once by the program itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from memory.store import Memory
from tests.faults.walk.commands import ROOT, campaign_text
from tests.memory.conftest import fill

LANDSCAPE = "rms_norm-32768x4096-fp16-h200.json.gz"
NAMES = {
    "memory": "memory.db",
    "other": "other.db",
    "trace": "trace.jsonl",
    "runs": "runs.jsonl",
    "t4": "t4.json",
    "capture": "run.capture",
    "campaign": "campaign.toml",
    "landscape": LANDSCAPE,
}


def make(folder: Path) -> dict[str, Path]:
    """The files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / file for name, file in NAMES.items()}
    for name in ("memory", "other"):
        if not files[name].exists():
            memory = Memory.open(files[name])
            fill(memory, run=f"run-{name}")
            memory.close()
    shutil.copyfile(ROOT / "evals/traces/embedded-recorded-h200.jsonl", files["trace"])
    shutil.copyfile(ROOT / "evals/landscapes" / LANDSCAPE, files["landscape"])
    files["campaign"].write_text(campaign_text())
    made = {
        "runs": ["evals", "run", "--agents", "random,greedy", "--seeds", "2", "--max-evals", "3", "--landscape",
                 str(files["landscape"]), "--out", str(files["runs"])],
        "t4": ["memory", "export", "--memory", str(files["memory"]), "--output", str(files["t4"])],
        "capture": ["agent", "capture", "-o", str(files["capture"]), "--", "true"],
    }  # fmt: skip
    for name, words in made.items():
        if not files[name].exists():
            environment = {**os.environ, "XDG_DATA_HOME": str(folder / "data"), "XDG_CACHE_HOME": str(folder / "cache")}
            done = subprocess.run(
                [sys.executable, "-m", *words], cwd=ROOT, env=environment, capture_output=True, text=True
            )
            if not files[name].exists():
                raise SystemExit(f"the walk's {name} could not be made: {done.stderr}")
    return files
