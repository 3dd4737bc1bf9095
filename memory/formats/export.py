"""What is known of one problem on one device, in the formats of other tools.

Kernel Tuner's cache: schema 1.1.0 (github.com/KernelTuner/kernel_tuner, ``schema/cache/1.1.0``), times in ms. T4 is in
``memory.formats.t4``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from memory.formats.tables import plain
from memory.formats.triton_configs import decorator, triton_config
from memory.subject import Subject, SubjectError

KERNEL_TUNER_WORD = {"constraints": "InvalidConfig", "compile": "CompilationFailedConfig"}
EARLIER_NAMES = {
    "BLOCK_M": "BLOCK_SIZE_M", "BLOCK_N": "BLOCK_SIZE_N", "BLOCK_K": "BLOCK_SIZE_K", "GROUP_M": "GROUP_SIZE_M",
}  # fmt: skip
"""Our fields in the words of the earlier system's files."""
TOP = 16
"""Configs in a ``triton.Config`` list: each one costs every user of ``triton.autotune`` a compilation."""


def kernel_tuner(subject: Subject) -> str:
    """A Kernel Tuner cache file, which its simulation mode and its plots read."""
    keys = sorted({k for v in subject.verdicts for k in v["config"]})
    dims = [v for v in subject.problem.values() if isinstance(v, int) and not isinstance(v, bool)]
    cache = {}
    for v in subject.verdicts:
        correct = v["status"] == "correct" and v["ms"] is not None
        if v["status"] == "correct" and not correct:
            continue  # compiled or checked only: Kernel Tuner has no word for it
        times = v["samples"] or [v["ms"]] if correct else []
        entry = {k: v["config"].get(k) for k in keys}
        entry |= {"time": v["ms"] if correct else KERNEL_TUNER_WORD.get(v["status"], "RuntimeFailedConfig")}
        entry |= {"times": times} if times else {}
        entry |= {"compile_time": _compile_ms(v), "verification_time": 0, "benchmark_time": _run_ms(v)}
        entry |= {"strategy_time": 0, "framework_time": 0, "timestamp": v["created_at"].replace("Z", "+00:00")}
        if correct and v["unit"] == "TFLOP/s":
            entry["GFLOP/s"] = v["value"] * 1e3
        cache[",".join(str(v["config"].get(k)) for k in keys)] = entry
    head = {
        "schema_version": "1.1.0",
        "device_name": subject.environment["name"],
        "kernel_name": subject.kernel,
        "problem_size": dims or subject.label,
        "tune_params_keys": keys,
        "tune_params": {k: _distinct([v["config"].get(k) for v in subject.verdicts]) for k in keys},
        "objective": "time",
    }
    return json.dumps(head | {"cache": cache}, indent=1)


def triton_configs(subject: Subject) -> str:
    """A Python file with ``configs``, the fastest first, for ``@triton.autotune(configs=configs, key=[…])``."""
    lines = [
        f'"""Fastest configs of {_comment(subject.kernel)}, {_comment(subject.label)}, {subject.regime}, '
        f'{_comment(subject.environment["device"])}."""',
        "",
        "import triton",
        "",
        "configs = [",
    ]
    lines += [f"    {triton_config(v['config'])},  # {v['ms']:.5g} ms" for v in _some(subject)[:TOP]]
    return "\n".join([*lines, "]"])


def autotune(subject: Subject) -> str:
    """The winner as a decorator line."""
    return decorator([_some(subject)[0]["config"]], subject.problem)


def best_config(subject: Subject) -> str:
    """The winner in the earlier system's ``best_config.json``: one object, its names for the tile sizes."""
    config = _some(subject)[0]["config"]
    return json.dumps({EARLIER_NAMES.get(k, k): v for k, v in config.items()}, indent=2)


def history_csv(subject: Subject) -> str:
    """The earlier system's ``history.csv``: its columns, its word ``success``, ``N/A`` where nothing was timed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["timestamp", "name", "ms", "tflops", "status", "config"])
    for v in sorted(subject.verdicts, key=lambda v: v["id"]):
        at = datetime.fromisoformat(v["created_at"].replace("Z", "+00:00")).strftime("%Y-%m-%d %H:%M:%S")
        ms = f"{v['ms']:.4f}" if v["ms"] else "N/A"
        tflops = f"{v['value']:.2f}" if v["unit"] == "TFLOP/s" and v["value"] else "0"
        status = "success" if v["status"] == "correct" else v["status"]
        config = {EARLIER_NAMES.get(k, k): x for k, x in v["config"].items()}
        writer.writerow([at, subject.kernel, ms, tflops, status, str(config)])
    return out.getvalue().rstrip("\n")


def _t4(subject: Subject) -> str:
    from memory.formats import t4

    return t4.dump(subject)


FORMATS: dict[str, Callable[[Subject], str]] = {
    "t4": _t4,
    "kernel-tuner": kernel_tuner,
    "triton": triton_configs,
    "autotune": autotune,
    "best-config": best_config,
    "history-csv": history_csv,
}


def _some(subject: Subject) -> list[dict[str, Any]]:
    found = subject.correct()
    if not found:
        raise SubjectError(f"{subject.label} has no verified measurement on {subject.environment['device']}")
    return found


def _compile_ms(v: dict[str, Any]) -> float:
    return 1e3 * float((v["compiled"] or {}).get("seconds") or 0.0)


def _run_ms(v: dict[str, Any]) -> float:
    return 1e3 * float(v["seconds"] or 0.0) if v["kind"] == "benchmark" else 0.0


def _distinct(values: list[Any]) -> list[Any]:
    return sorted(dict.fromkeys(values), key=lambda v: (str(type(v)), v if isinstance(v, int | float) else str(v)))


def _comment(text: str) -> str:
    """Text that cannot end the docstring it stands in."""
    return plain(text).replace("\\", "\\\\").replace('"', "'")
