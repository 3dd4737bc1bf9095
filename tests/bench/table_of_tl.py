"""Holds every documented function of ``triton.language`` in the interpreter against compiled results.

``python -m tests.bench.table_of_tl FOLDER [--seconds S]`` writes FOLDER/table_of_tl.json and FOLDER/TL.md. It needs a
GPU; without one, the compiled side says so.

    1. Processes are forked before Triton is imported: some interpret, the others compile and launch.
    2. Each takes every n-th (function, dtype) and writes each result at once, so that one that crashes loses no other.
       The table of what there is so far is written every ten seconds.
    3. Equal inputs come from a seed. Results are compared in units of the last place of the dtype.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench.tl_entries import DTYPES, ENTRIES, M, N, source

Row = dict[str, Any]
SIDES = ("interpreted", "compiled")
WORKERS = {"interpreted": 3, "compiled": 10}
SECONDS = 100.0
CLOSE = 4.0
"""Units in the last place up to which two results are called close: another order, another approximation."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which nothing further is begun")
    parser.add_argument("--every", type=int, default=1, help="take every n-th pair alone")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    module = given.folder / "tl_kernels.py"
    module.write_text(source())
    pairs = [(n, dtype) for n in range(len(ENTRIES)) for dtype in DTYPES][:: given.every]
    cores = max(2, len(os.sched_getaffinity(0)))
    workers = [(side, n, k) for side in SIDES for k in [max(1, min(WORKERS[side], cores // 2))] for n in range(k)]
    pids = [
        fork(side, pairs[n::k], module, given.folder / f"{side}_{n}.jsonl", given.seconds) for side, n, k in workers
    ]

    def tabulate() -> dict[str, Any]:
        """Write the table; how many pairs have which verdict."""
        found = {side: read([given.folder / f"{s}_{n}.jsonl" for s, n, _ in workers if s == side]) for side in SIDES}
        rows = [row_of(n, dtype, *(found[side].get((n, dtype)) for side in SIDES)) for n, dtype in pairs]
        about = versions(found)
        (given.folder / "table_of_tl.json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
        (given.folder / "TL.md").write_text(markdown(about, rows))
        return {**about, **{v: sum(r["verdict"] == v for r in rows) for v in dict.fromkeys(r["verdict"] for r in rows)}}

    waiting, end = set(pids), time.monotonic() + given.seconds + 15
    while waiting and time.monotonic() < end:
        waiting = wait(waiting, min(end, time.monotonic() + 10))
        print(json.dumps(tabulate()), flush=True)
    for pid in waiting:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if waiting:
        print(json.dumps(tabulate()), flush=True)
    return 0


def fork(side: str, pairs: list[tuple[int, str]], module: Path, out: Path, seconds: float) -> int:
    """Start a process that computes `pairs`; its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        if side == "interpreted":
            os.environ["TRITON_INTERPRET"] = "1"
        with out.open("w") as lines:
            compute(side, pairs, module, lines, time.monotonic() + seconds)
    except BaseException as e:  # noqa: BLE001 -- the parent finds no result, and this line says why
        print(f"{side}: {type(e).__name__}: {e}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(0)


def compute(side: str, pairs: list[tuple[int, str]], module: Path, lines: Any, deadline: float) -> None:
    import torch
    import triton

    torch.set_num_threads(1)
    device = "cpu"
    if side == "interpreted":
        from kernels.triton.interpreter_arguments import patch_scalars
        from kernels.triton.interpreter_bf16 import patch_bf16
        from kernels.triton.interpreter_libdevice import patch_libdevice

        patch_bf16()
        patch_scalars()
        patch_libdevice()
    elif torch.cuda.is_available():
        device = "cuda"
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    loaded = importlib.util.spec_from_file_location("tl_kernels", module)
    assert loaded is not None
    assert loaded.loader is not None
    kernels = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(kernels)
    for n, dtype in pairs:
        row: Row = {"entry": n, "dtype": dtype, "gpu": gpu, "triton": triton.__version__, "torch": torch.__version__}
        if side == "compiled" and device == "cpu":
            row["refused"] = "there is no GPU here"
        elif time.monotonic() > deadline:
            row["refused"] = "no time left"
        else:
            try:
                row["values"], row["whole"] = launched(getattr(kernels, f"kernel_{n}"), ENTRIES[n].gives, dtype, device)
            except Exception as e:  # noqa: BLE001 -- that a function is refused is what the table says
                row["refused"] = telling(e)
        lines.write(json.dumps(row) + "\n")
        lines.flush()
        if "CUDA" in row.get("refused", "") or "illegal" in row.get("refused", ""):
            return  # the context is beyond use; the rest is reported as missing


def launched(kernel: Any, gives: str, dtype: str, device: str) -> tuple[list[float], bool]:
    """What the kernel gives for inputs of `dtype`, and whether they are whole numbers."""
    import torch
    import triton.language as tl

    kind = getattr(torch, DTYPES[dtype])
    whole = not kind.is_floating_point
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(M, N, generator=generator) for _ in range(3)]
    x, y, z = ((t * (20 if whole else 1)).to(kind).to(device) for t in inputs)
    size = {"block": M * N, "rows": M, "square": M * M}[gives]
    out = torch.full((size,), 77, dtype=torch.int64 if whole else torch.float32, device=device)
    kernel[(1,)](x, y, z, out, M=M, N=N, OUT=tl.int64 if whole else tl.float32)
    if device == "cuda":
        torch.cuda.synchronize()
    return out.cpu().double().tolist(), whole


def telling(error: BaseException) -> str:
    """The last line that says something, of the innermost error."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" ^")]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:160]


def wait(pids: set[int], deadline: float) -> set[int]:
    """Until all processes have ended, or until `deadline`; those that have not."""
    waiting = set(pids)
    while waiting and time.monotonic() < deadline:
        waiting = {pid for pid in waiting if os.waitpid(pid, os.WNOHANG)[0] == 0}
        time.sleep(0.1)
    return waiting


def read(paths: list[Path]) -> dict[tuple[int, str], Row]:
    rows = [json.loads(line) for p in paths if p.exists() for line in p.read_text().splitlines() if line.endswith("}")]
    return {(row["entry"], row["dtype"]): row for row in rows}


def row_of(n: int, dtype: str, interpreted: Row | None, compiled: Row | None) -> Row:
    """One line of the table."""
    row: Row = {"function": ENTRIES[n].name, "dtype": dtype, "verdict": "", "units": None, "why": ""}
    why = {
        s: "the process ended before" if r is None else r.get("refused")
        for s, r in zip(SIDES, (interpreted, compiled), strict=True)
    }
    if interpreted and compiled and not any(why.values()):
        units = units_apart(interpreted["values"], compiled["values"], dtype)
        row["units"] = units
        row["verdict"] = "same" if units == 0 else "close" if units <= CLOSE else "differs"
        return row
    row["verdict"] = "refused by both" if all(why.values()) else f"not {next(s for s in SIDES if why[s])}"
    row["why"] = "; ".join(f"{s}: {w}" for s, w in why.items() if w)
    return row


def units_apart(a: list[float], b: list[float], dtype: str) -> float:
    """The largest difference in units of the last place of the largest result; infinite if one of two is not finite."""
    import torch

    x, y = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    alike = (x == y) | (x.isnan() & y.isnan())
    if bool(alike.all()):
        return 0.0
    if not bool((x.isfinite() & y.isfinite() | alike).all()):
        return float("inf")
    kind = getattr(torch, DTYPES[dtype])
    unit = torch.finfo(kind).eps * float(y[y.isfinite()].abs().max()) if kind.is_floating_point else 1.0
    return round(float((x - y)[~alike].abs().max()) / (unit or 1.0), 3)


def versions(found: dict[str, dict[tuple[int, str], Row]]) -> Row:
    rows = [row for side in found.values() for row in side.values()]
    return {
        "gpu": next((r["gpu"] for r in rows if r["gpu"]), None),
        "triton": next((r["triton"] for r in rows), None),
        "torch": next((r["torch"] for r in rows), None),
    }


def markdown(about: Row, rows: list[Row]) -> str:
    """The table by function and dtype, then what differs or is refused by one side alone, with the reason."""
    marks = {"same": "=", "close": "≈", "differs": "≠", "refused by both": "–"}
    lines = [
        "# Functions of `triton.language` in the interpreter",
        "",
        f"{about['gpu'] or 'no GPU'}, Triton {about['triton']}, PyTorch {about['torch']}. `=` equal bits, `≈` at most "
        f"{CLOSE:g} units in the last place of the largest result, `≠` more, `–` refused by both, `c` compiled alone, "
        "`i` interpreted alone.",
        "",
        f"| function | {' | '.join(DTYPES)} |",
        f"|---|{'---|' * len(DTYPES)}",
    ]
    marks |= {"not interpreted": "c", "not compiled": "i"}
    by = {(r["function"], r["dtype"]): r for r in rows}
    for name in dict.fromkeys(r["function"] for r in rows):
        cells = [marks[by[name, d]["verdict"]] if (name, d) in by else "" for d in DTYPES]
        lines.append(f"| `{name}` | {' | '.join(cells)} |".replace("`|`", "`\\|`"))
    odd = [r for r in rows if r["verdict"] in ("differs", "not interpreted")]
    if odd:
        lines += ["", "| function | dtype | what |", "|---|---|---|"]
    for r in odd:
        what = f"{r['units']:g} units apart" if r["verdict"] == "differs" else r["why"].replace("|", "\\|")
        lines.append(f"| `{r['function']}` | {r['dtype']} | {what} |".replace("`|`", "`\\|`"))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
