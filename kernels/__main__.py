"""``python -m kernels``: list, validate, bench, fusion, sweep."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from kernels.commands.suite import Case

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
F = TypeVar("F", bound=Callable[..., Any])
Row = dict[str, Any]

NAMES = click.argument("names", nargs=-1, metavar="[KERNEL]...")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
DEVICE = click.option("--device", default="cuda:0", show_default=True, help="The GPU: cuda:N.")
OUT = click.option("--out", type=click.Path(path_type=Path), help="Write the rows as JSON here, case by case.")
CONFIGS = click.option("--configs", type=click.IntRange(min=0), default=48, show_default=True, help="Tried per case.")
SECONDS = click.option(
    "--seconds", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Per proof, at least 12 rounds."
)


@click.group(context_settings=CONTEXT)
def cli() -> None:
    """The kernels: what they cost, whether they are right, how fast they are.

    KERNEL is a built-in name, path.py:NAME, module:NAME, or one that an installed package offers."""


@cli.command("list")
@NAMES
@click.option("--gpu", default="H200", show_default=True, help="Whose floor is shown.")
@JSON
def list_command(names: tuple[str, ...], gpu: str, as_json: bool) -> None:
    """Kernels with their default problem, operations, bytes and floor."""
    from kernels.commands.listing import listing
    from kernels.hardware import hardware_named

    with explained():
        rows = listing(_names(names), hardware_named(gpu))
    if as_json:
        click.echo(json.dumps({"kernels": rows}))
        return
    columns = ("kernel", "problem", "dims", "metric", "gflop", "mbytes", "floor_ms", "bound", "configs")
    _table([r | {"bound": f"{r['bound']} ({r['hardware']})"} for r in rows], columns)


@cli.command()
@NAMES
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="cuda:N, interpreter (reduced problems, no GPU), or auto: a GPU where there is one.",
)
@JSON
def validate(names: tuple[str, ...], device: str, as_json: bool) -> None:
    """Every kernel and family against its float64 reference. Exit code 1 where one is wrong."""
    from kernels.commands.validating import validate as run

    if device == "auto":
        from tools.harness.telemetry import gpus_present

        device = "cuda:0" if gpus_present() else "interpreter"
    if device != "interpreter" and not device.startswith("cuda:"):
        raise click.UsageError(f"--device {device} is none: write auto, interpreter or cuda:N")
    with explained():
        rows = run(_names(names), None if device == "interpreter" else device, _progress)
    wrong = [r for r in rows if r["status"] != "correct"]
    if as_json:
        click.echo(json.dumps({"correct": not wrong, "checks": rows}))
    else:
        shown = [r | {"config": _short(r["config"]), "of bound": _share(r)} for r in rows]
        _table(shown, ("kernel", "where", "status", "of bound", "config", "reason"))
        click.echo(f"{len(rows) - len(wrong)} of {len(rows)} correct")
    sys.exit(1 if wrong else 0)


@cli.command()
@NAMES
@click.option("--suite", help="A list of problems instead of kernels' own: h200, memory or fusion.")
@DEVICE
@CONFIGS
@SECONDS
@click.option("--regime", type=click.Choice(["burst", "sustained", "both"]), default="both", show_default=True)
@OUT
@JSON
def bench(
    names: tuple[str, ...],
    suite: str | None,
    device: str,
    configs: int,
    seconds: float,
    regime: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Best of some configs against PyTorch, interleaved, with intervals."""
    from kernels.commands.suite import SUITES, Case

    if suite is not None and (names or suite not in SUITES):
        raise click.UsageError(f"--suite is one of {', '.join(SUITES)}, and then no kernel is named beside it")
    regimes = ("burst", "sustained") if regime == "both" else (regime,)
    with explained():
        chosen = SUITES[suite] if suite else [Case(name) for name in _names(names)]
        _bench([Case(c.kernel, c.shape, c.options, regimes) for c in chosen], device, configs, seconds, out, as_json)


@cli.command()
@DEVICE
@CONFIGS
@SECONDS
@OUT
@JSON
def fusion(device: str, configs: int, seconds: float, out: Path | None, as_json: bool) -> None:
    """The fused matmul against PyTorch unfused, compiled, cuBLASLt's epilogue and the bare cuBLAS matmul."""
    from kernels.commands.suite import SUITES

    with explained():
        _bench(list(SUITES["fusion"]), device, configs, seconds, out, as_json)


@cli.command()
@click.argument("kernel")
@click.option("--shape", help="e.g. 4096x4096x4096; the kernel's own without it.")
@click.option("--dtype", help="fp16 or bf16.")
@DEVICE
@click.option("--limit", type=click.IntRange(min=1), help="So many configs, evenly over the space; all without it.")
@click.option("--top", type=click.IntRange(min=1), default=15, show_default=True, help="Rows of the table.")
@OUT
@JSON
def sweep(
    kernel: str,
    shape: str | None,
    dtype: str | None,
    device: str,
    limit: int | None,
    top: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Time a kernel's whole space once, burst."""
    from kernels.commands.suite import Case
    from kernels.commands.timing import sweep as run

    with explained():
        case = Case(kernel, _shape(shape), {} if dtype is None else {"dtype": dtype})
        _check(out, [case])
        rows = run(case, device, limit, _progress)
    _write(out, rows)
    if as_json:
        click.echo(json.dumps({"configs": rows}))
        return
    good = [r for r in rows if r["status"] == "correct"]
    shown = [r | {"config": _short(r["config"])} for r in good[:top]]
    _table(shown, ("ms", "value", "unit", "share_of_floor", "config"))
    click.echo(f"{len(good)} of {len(rows)} configs correct; {rows[0]['kernel']} {rows[0]['problem']} burst")


def _bench(cases: list[Case], device: str, configs: int, seconds: float, out: Path | None, as_json: bool) -> None:
    from kernels.commands.timing import bench as run

    _check(out, cases)
    rows: list[Row] = []
    for case in cases:
        rows += run(case, device, configs, seconds, _progress)
        _write(out, rows)
    if as_json:
        click.echo(json.dumps({"cases": rows}))
    else:
        shown = [r | {"config": _short(r.get("config", {})), **_speedups(r)} for r in rows]
        names = list(dict.fromkeys(f"vs {b['name']}" for r in rows for b in r.get("baselines", [])))
        _table(
            shown, ("kernel", "problem", "regime", "status", "ms", "value", "unit", "share_of_floor", *names, "config")
        )
    for row in rows:
        if row["status"] != "correct":
            click.echo(f"{row['kernel']} {row['problem']} {row['regime']}: {row['status']}: {row['reason']}", err=True)
    if any(r["status"] != "correct" for r in rows):
        sys.exit(1)


class Refused(click.ClickException):
    """What was asked for cannot be done as asked."""

    exit_code = 2


class explained:
    """Turns what a person can mend into one sentence and exit code 2."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        from pydantic import ValidationError

        from tools.harness.device import DeviceError

        if isinstance(error, ValidationError):
            said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'problem'}: {e['msg']}" for e in error.errors())
            raise Refused(said) from error
        if isinstance(error, DeviceError):
            raise Refused(f"{error}; `list` and `validate --device interpreter` need no GPU") from error
        if isinstance(error, ValueError):
            raise Refused(str(error)) from error


def _names(given: tuple[str, ...]) -> list[str]:
    from kernels.registry import names

    return list(given) or names()


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise click.UsageError(f"--shape {text} is not a shape: write e.g. 4096x4096x4096")
    return tuple(map(int, parts))


def _check(out: Path | None, cases: list[Case]) -> None:
    """Everything that can be wrong with the words is found before the first minute on a GPU."""
    for case in cases:
        case.load()
    if out is not None and not out.parent.is_dir():
        raise click.UsageError(f"--out {out}: there is no folder {out.parent}")


def _write(out: Path | None, rows: list[Row]) -> None:
    if out is not None:
        out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


def _progress(line: str) -> None:
    click.echo(f"\r\033[K{line}" if sys.stderr.isatty() else line, err=True, nl=not sys.stderr.isatty())


def _table(rows: list[Row], columns: tuple[str, ...]) -> None:
    from tabulate import tabulate  # type: ignore[import-untyped]

    if sys.stderr.isatty():
        click.echo("\r\033[K", err=True, nl=False)
    cells = [[_cell(r.get(c)) for c in columns] for r in rows]
    click.echo(tabulate(cells, headers=columns, disable_numparse=True))


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _short(config: Row) -> str:
    return " ".join(str(v) if isinstance(v, str) else f"{k}={v}" for k, v in config.items())


def _share(row: Row) -> float | None:
    return None if row["error"] is None or not row["bound"] else row["error"] / row["bound"]


def _speedups(row: Row) -> Row:
    return {
        f"vs {b['name']}": b["missing"] or f"{b['speedup']:.3f} [{b['ci'][0]:.3f}, {b['ci'][1]:.3f}]"
        for b in row.get("baselines", [])
    }


def main() -> None:
    """Entry point of ``python -m kernels``."""
    cli(prog_name="python -m kernels")


if __name__ == "__main__":
    main()
