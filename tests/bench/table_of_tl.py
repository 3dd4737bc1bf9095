"""Holds every documented function of ``triton.language`` in the interpreter against compiled results.

``python -m tests.bench.table_of_tl FOLDER [--seconds S] [--compiled FILE] [--corrected]`` writes into FOLDER:

    TL.md                       the page (docs/TL.md)
    table_of_tl.json            its rows (docs/data/tl-h200.json)
    compiled.jsonl.xz           what compiled kernels gave, a line for each function and dtype
    interpreted.jsonl.xz        what the interpreter gave, with this project's corrections

It needs a GPU; without one, the compiled side says so. With ``--compiled``, that side is read from an earlier run's
file (docs/data/tl-h200-compiled.jsonl.xz is one), and no GPU is needed. With ``--corrected``, the table does not say
what Triton's interpreter gives without the corrections.

    1. Processes are forked after PyTorch and before Triton is imported: some interpret, with this project's
       corrections or as Triton does itself, the others compile and launch.
    2. Each takes every n-th (function, dtype) and writes each result at once, so that one that crashes loses no other.
       The table of what there is so far is written every ten seconds.
    3. Equal inputs come from a seed. Results are compared by their bits; how far others are apart is said in units of
       the last place.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import lzma
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.tl_entries import DTYPES, ENTRIES, M, N, kernel_hash, source
from tests.bench.tl_page import Row, counts, markdown, row_of

Pair = tuple[int, str]
SIDES = ("interpreted", "uncorrected", "compiled")
WORKERS = {"interpreted": 2, "uncorrected": 2, "compiled": 10}
SECONDS = 100.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which nothing further is begun")
    parser.add_argument("--every", type=int, default=1, help="take every n-th pair alone")
    parser.add_argument("--corrected", action="store_true", help="leave out what Triton's interpreter itself gives")
    parser.add_argument("--compiled", type=Path, help="read the compiled side from this file of an earlier run")
    given = parser.parse_args(arguments)
    try:
        recorded = None if given.compiled is None else read([given.compiled])
        if recorded == {}:
            raise ValueError("it is empty")
    except (OSError, ValueError, lzma.LZMAError) as e:
        print(f"{given.compiled} cannot be read as results of an earlier run: {e}", file=sys.stderr)
        return 2
    given.folder.mkdir(parents=True, exist_ok=True)
    pairs = [(n, dtype) for n in range(len(ENTRIES)) for dtype in DTYPES][:: given.every]
    left_out = {"compiled": recorded is not None, "uncorrected": given.corrected}
    sides = [side for side in SIDES if not left_out.get(side)]
    cores = max(2, len(os.sched_getaffinity(0)))
    import torch  # noqa: F401 -- once, for all that are forked

    with tempfile.TemporaryDirectory() as name:
        parts = Path(name)
        module = parts / "tl_kernels.py"
        module.write_text(source())
        workers = [(side, n, k) for side in sides for k in [max(1, min(WORKERS[side], cores // 2))] for n in range(k)]
        pids = [fork(s, pairs[n::k], module, parts / f"{s}_{n}.jsonl", given.seconds) for s, n, k in workers]

        def tabulate() -> Row:
            """Write the table; how many pairs have which verdict."""
            found = {side: read(sorted(parts.glob(f"{side}_*.jsonl"))) for side in sides}
            for side in set(sides) - {"uncorrected"}:
                write(given.folder / f"{side}.jsonl.xz", found[side].values())
            return join(given.folder, pairs, {"compiled": recorded or {}, **found})

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


def join(folder: Path, pairs: list[Pair], found: dict[str, dict[tuple[str, str], Row]]) -> Row:
    """Write page and rows; versions and verdicts."""
    rows = []
    for n, dtype in pairs:
        entry = ENTRIES[n]
        sides = [found.get(s, {}).get((entry.name, dtype)) for s in SIDES]
        # a kernel that has changed since it was recorded is another one
        interpreted, uncorrected, compiled = (r if r and r["kernel"] == kernel_hash(entry) else None for r in sides)
        row = row_of(entry.name, dtype, interpreted, compiled)
        before = row_of(entry.name, dtype, uncorrected, compiled)
        if "uncorrected" in found and before["verdict"] != row["verdict"]:
            row["uncorrected"] = {n: v for n, v in before.items() if n in ("verdict", "units", "elements", "of", "why")}
        rows.append(row)
    about = {s: about_side(found[s].values()) for s in ("interpreted", "compiled")}
    table: Row = {**about, "size": f"{M} × {N}", "counts": counts(rows), "rows": rows}
    lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
    text = json.dumps({**table, "rows": "ROWS"}, indent=1, ensure_ascii=False).replace('"ROWS"', f"[\n{lines}\n ]")
    (folder / "table_of_tl.json").write_text(text + "\n", encoding="utf-8")
    (folder / "TL.md").write_text(markdown(table), encoding="utf-8")
    return {**about, **{v: n for v, n in table["counts"].items() if n}}


def about_side(rows: Iterable[Row]) -> Row:
    """GPU and versions of one side."""
    first: Row = next((r for r in rows), {})
    return {n: first[n] for n in ("gpu", "triton", "torch", "numpy") if first.get(n)}


def fork(side: str, pairs: list[Pair], module: Path, out: Path, seconds: float) -> int:
    """Start a process that computes `pairs`; its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    errors = os.fdopen(os.dup(2), "w")
    try:
        if side != "compiled":
            os.environ["TRITON_INTERPRET"] = "1"
        with out.open("w") as lines:
            compute(side, pairs, module, lines, time.monotonic() + seconds)
    except BaseException as e:  # noqa: BLE001 -- the parent finds no result, and this line says why
        print(f"{side}: {type(e).__name__}: {e}", file=errors, flush=True)
    finally:
        os._exit(0)


def compute(side: str, pairs: list[Pair], module: Path, lines: Any, deadline: float) -> None:
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
    elif side == "compiled" and torch.cuda.is_available():
        device = "cuda"
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    loaded = importlib.util.spec_from_file_location("tl_kernels", module)
    assert loaded is not None
    assert loaded.loader is not None
    kernels = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(kernels)
    versions = {"triton": triton.__version__, "torch": torch.__version__, "numpy": np.__version__}
    with CompilerOutput() as output:
        for n, dtype in pairs:
            entry = ENTRIES[n]
            row: Row = {"function": entry.name, "dtype": dtype, "kernel": kernel_hash(entry), "gpu": gpu, **versions}
            if side == "compiled" and device == "cpu":
                row["refused"] = "there is no GPU here"
            elif time.monotonic() > deadline:
                row["refused"] = "no time left"
            else:
                try:
                    kernel = getattr(kernels, f"kernel_{n}")
                    row["values"], row["whole"] = launched(kernel, entry.gives, dtype, device)
                except Exception as e:  # noqa: BLE001 -- that a function is refused is what the table says
                    row["refused"] = telling(e, output.first_error())
            lines.write(json.dumps(row) + "\n")
            lines.flush()
            if "CUDA" in row.get("refused", "") or "illegal" in row.get("refused", ""):
                return  # the context is beyond use; the rest is reported as missing


class CompilerOutput:
    """Takes what is written to this process's stdout and stderr, where a compiler that fails dumps whole programs."""

    def __enter__(self) -> CompilerOutput:
        self._file = tempfile.TemporaryFile()
        for stream in (1, 2):
            os.dup2(self._file.fileno(), stream)
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def first_error(self) -> str:
        """The first error since the last call; empty if there is none."""
        sys.stderr.flush()
        self._file.seek(0)
        text = self._file.read().decode(errors="replace")
        self._file.seek(0)
        self._file.truncate()
        return next((line.partition("error: ")[2].strip() for line in text.splitlines() if "error: " in line), "")


def launched(kernel: Any, gives: str, dtype: str, device: str) -> tuple[list[float], bool]:
    """What the kernel gives for inputs of `dtype`, and whether they are whole numbers."""
    import torch
    import triton.language as tl

    whole = not getattr(torch, DTYPES[dtype]).is_floating_point
    x, y, z = (t.to(device) for t in inputs(dtype))
    size = {"block": M * N, "rows": M, "square": M * M}[gives]
    out = torch.full((size,), 77, dtype=torch.int64 if whole else torch.float32, device=device)
    kernel[(1,)](x, y, z, out, M=M, N=N, OUT=tl.int64 if whole else tl.float32)
    if device == "cuda":
        torch.cuda.synchronize()
    return shortest(out.cpu()), whole


def inputs(dtype: str) -> list[Any]:
    """The three blocks that every kernel of `dtype` is given."""
    import torch

    kind = getattr(torch, DTYPES[dtype])
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(M, N, generator=generator) for _ in range(3)]
    return [(t if kind.is_floating_point else t * 20).to(kind) for t in drawn]


def shortest(x: Any) -> list[float]:
    """The numbers of a tensor of int64 or fp32, in as few digits as name them."""
    return [float(str(v)) if x.is_floating_point() else int(v) for v in x.numpy()]


def telling(error: BaseException, output: str = "") -> str:
    """The last line that says something, of the innermost error, and what the compiler wrote."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" ^")]
    said = f"{type(error).__name__}: {lines[-1] if lines else ''}"[:160]
    return f"{said} ({output})"[:320] if output else said


def wait(pids: set[int], deadline: float) -> set[int]:
    """Until all processes have ended, or until `deadline`; those that have not."""
    waiting = set(pids)
    while waiting and time.monotonic() < deadline:
        waiting = {pid for pid in waiting if os.waitpid(pid, os.WNOHANG)[0] == 0}
        time.sleep(0.1)
    return waiting


def read(paths: Sequence[Path]) -> dict[tuple[str, str], Row]:
    """The rows of files, packed or not, by function and dtype; a line that is not whole yet is left out. Raises
    OSError, ValueError or LZMAError for files of something else."""
    packed = [p.read_bytes() for p in paths]
    texts = [(lzma.decompress(b) if p.suffix == ".xz" else b).decode() for p, b in zip(paths, packed, strict=True)]
    found = {}
    for line in (line for text in texts for line in text.splitlines() if line.endswith("}")):
        row = json.loads(line)
        if not {"function", "dtype", "kernel"} <= row.keys():
            raise ValueError("its lines are no results of functions")
        if row.get("whole") is False:
            row["values"] = np.array(row["values"], np.float32).astype(np.float64).tolist()
        found[row["function"], row["dtype"]] = row
    return found


def write(path: Path, rows: Iterable[Row]) -> None:
    with lzma.open(path, "wt", preset=6) as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
