"""Exports in the formats of the earlier system: ``best_config.json`` and ``history.csv``."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime

from memory.subject import Subject

NAMES = {
    "BLOCK_M": "BLOCK_SIZE_M", "BLOCK_N": "BLOCK_SIZE_N", "BLOCK_K": "BLOCK_SIZE_K", "GROUP_M": "GROUP_SIZE_M",
}  # fmt: skip
"""The earlier system's names of our config fields, where they differ."""


def best_config(subject: Subject) -> str:
    """The fastest config as one JSON object. Raises SubjectError if no config was measured."""
    config = subject.fastest(1)[0]["config"]
    return json.dumps({NAMES.get(k, k): v for k, v in config.items()}, indent=2)


def history_csv(subject: Subject) -> str:
    """Every verdict in the order of its measurement; ``success`` for a correct config, ``N/A`` if it was not timed.
    The last column, which the earlier system did not have, says whether the device is a recorded one."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["timestamp", "name", "ms", "tflops", "status", "config", "device"])
    for v in sorted(subject.verdicts, key=lambda v: v["id"]):
        at = datetime.fromisoformat(v["created_at"].replace("Z", "+00:00")).strftime("%Y-%m-%d %H:%M:%S")
        ms = f"{v['ms']:.4f}" if v["ms"] else "N/A"
        tflops = f"{v['value']:.2f}" if v["unit"] == "TFLOP/s" and v["value"] else "0"
        status = "success" if v["status"] == "correct" else v["status"]
        config = {NAMES.get(k, k): x for k, x in v["config"].items()}
        writer.writerow([at, subject.kernel, ms, tflops, status, str(config), subject.environment["device"]])
    return out.getvalue().rstrip("\n")
