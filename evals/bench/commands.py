"""``python -m kernels``: list, validate, bench, fusion, sweep, roofline, explain."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evals.bench.output import (
    mistakes_as_refusals,
    print_progress,
    print_table,
    read_options,
    read_shape,
    share,
    short,
    speedups,
    write,
)
from evals.explain.explain_command import explain
from kernels.quiet import output_to_stderr
from memory.command_line.command_errors import run_command_line
from memory.command_line.output_files import check_output, write_output
from memory.command_line.strict_commands import FiniteRange, StrictGroup, WholeRange

if TYPE_CHECKING:
    from evals.bench.suite import Case

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
Row = dict[str, Any]

NAMES = click.argument("names", nargs=-1, metavar="[KERNEL]...")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
DEVICE = click.option("--device", default="cuda:0", show_default=True, help="The GPU: cuda:N.")
OUT = click.option("--out", type=click.Path(path_type=Path), help="Write the rows as JSON here, case by case.")
CONFIGS = click.option(
    "--configs", type=WholeRange(min=0), default=48, show_default=True, help="Configs tried per case."
)
SECONDS = click.option(
    "--seconds",
    type=FiniteRange(min=0.1),
    default=10.0,
    show_default=True,
    help="Seconds per proof; a proof has at least 12 rounds.",
)


@click.group(cls=StrictGroup, context_settings=CONTEXT)
def cli() -> None:
    """List, validate and time kernels.

    KERNEL is a built-in name, path.py:NAME, module:NAME, or a name that an installed package provides."""


@cli.command("list")
@NAMES
@click.option("--gpu", default="H200", show_default=True, help="The GPU whose floor is shown.")
@JSON
def list_command(names: tuple[str, ...], gpu: str, as_json: bool) -> None:
    """List kernels with their default problem, operations, bytes and floor."""
    from evals.bench.listing import listing
    from kernels.hardware import hardware_named

    with mistakes_as_refusals(), output_to_stderr():
        rows = listing(_names(names), hardware_named(gpu))
    if as_json:
        click.echo(json.dumps({"kernels": rows}))
        return
    columns = ("kernel", "problem", "dims", "metric", "gflop", "mbytes", "floor_ms", "bound", "configs")
    print_table([r | {"bound": f"{r['bound']} ({r['hardware']})"} for r in rows], columns)


@cli.command()
@NAMES
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="cuda:N, interpreter (reduced problems, no GPU), or auto: a GPU if there is one, else the interpreter.",
)
@click.option("--shape", callback=read_shape, help="e.g. 32768x4096; the default shape and an odd one without it.")
@click.option(
    "--option",
    "options",
    multiple=True,
    callback=read_options,
    metavar="NAME=VALUE",
    help="A field of the kernel's problem, e.g. dtype=bf16; repeat it for more.",
)
@JSON
def validate(
    names: tuple[str, ...], device: str, shape: tuple[int, ...] | None, options: dict[str, str], as_json: bool
) -> None:
    """Check every kernel and family against its float64 reference. Exit code 1 if one is wrong, 2 if none is wrong and
    some could not be checked here.

    With --shape or --option one problem of one KERNEL is checked, as it is given."""
    from evals.bench.validation import validate as run

    if device == "auto":
        from tools.harness.measuring.telemetry import gpus_present

        device = "cuda:0" if gpus_present() else "interpreter"
    if device != "interpreter" and not device.startswith("cuda:"):
        raise click.UsageError(f"--device {device} is no device: write auto, interpreter or cuda:N")
    given = None
    if shape is not None or options:
        if len(names) != 1:
            raise click.UsageError("--shape and --option are for one kernel: name it")
        given = shape, options
    with mistakes_as_refusals(), output_to_stderr():
        rows = run(_names(names), None if device == "interpreter" else device, print_progress, given)
    wrong = [r for r in rows if r["status"] != "correct"]
    if as_json:
        click.echo(json.dumps({"correct": not wrong, "checks": rows}))
    else:
        shown = [r | {"config": short(r["config"]), "of bound": share(r)} for r in rows]
        print_table(shown, ("kernel", "where", "status", "of bound", "config", "reason"))
        click.echo(f"{len(rows) - len(wrong)} of {len(rows)} correct")
    unknown = bool(wrong) and all(r["status"] == "infrastructure" for r in wrong)
    sys.exit(2 if unknown else 1 if wrong else 0)


@cli.command()
@NAMES
@click.option("--suite", help="Time a list of problems instead of the kernels' default ones: h200, memory or fusion.")
@click.option("--only", metavar="ENTRY,...", help="Run only these entries of the suite h200.")
@click.option(
    "--tuned",
    type=click.Path(path_type=Path),
    help="Take the configs of the suite h200 from this file, without tuning.",
)
@DEVICE
@CONFIGS
@SECONDS
@click.option(
    "--regime",
    type=click.Choice(["burst", "sustained", "both"]),
    default="both",
    show_default=True,
    help="How launches are timed.",
)
@OUT
@click.option(
    "--json",
    "json_to",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Print one JSON object; with a FILE.json, write it to that file as --out does.",
)
@click.pass_context
def bench(
    context: click.Context,
    names: tuple[str, ...],
    suite: str | None,
    only: str | None,
    tuned: Path | None,
    device: str,
    configs: int,
    seconds: float,
    regime: str,
    out: Path | None,
    json_to: str | None,
) -> None:
    """Time the best of some configs against PyTorch, interleaved, with intervals.

    --suite h200 measures everything on one GPU: the fused matmul over its shapes, the memory-bound kernels against a
    copy, attention, fp8, energy, and the host's cost of calling an op, each with its target. Each entry is written to
    --out when it is finished."""
    from evals.bench.suite import SUITES, Case
    from evals.bench.suite_command import run_suite

    if suite is not None and (names or suite not in ("h200", *SUITES)):
        raise click.UsageError(f"--suite is one of h200, {', '.join(SUITES)}, and no kernel is named beside it")
    if (only or tuned) and suite != "h200":
        raise click.UsageError("--only and --tuned need --suite h200")
    if json_to not in (None, "-"):
        if not str(json_to).endswith(".json"):
            raise click.UsageError(f"--json {json_to}: write --json last, or give it a file that ends in .json")
        out, json_to = Path(str(json_to)), None
    as_json = json_to is not None
    if suite == "h200":
        given = context.get_parameter_source("seconds") is not click.core.ParameterSource.DEFAULT
        if regime != "both":
            raise click.UsageError("--suite h200 sets the regime of each entry: leave --regime out")
        _check(out, [])
        with mistakes_as_refusals():
            run_suite(only, tuned, device, configs, seconds if given else None, out, as_json)
        return
    regimes = ("burst", "sustained") if regime == "both" else (regime,)
    with mistakes_as_refusals():
        chosen = SUITES[suite] if suite else [Case(name) for name in _names(names)]
        _bench([Case(c.kernel, c.shape, c.options, regimes) for c in chosen], device, configs, seconds, out, as_json)


@cli.command()
@DEVICE
@CONFIGS
@SECONDS
@OUT
@JSON
def fusion(device: str, configs: int, seconds: float, out: Path | None, as_json: bool) -> None:
    """Time the fused matmul against PyTorch unfused, compiled, cuBLASLt's epilogue and the bare cuBLAS matmul."""
    from evals.bench.suite import SUITES

    with mistakes_as_refusals():
        _bench(list(SUITES["fusion"]), device, configs, seconds, out, as_json)


@cli.command()
@click.argument("kernel")
@click.option("--shape", callback=read_shape, help="e.g. 4096x4096x4096; the kernel's default shape without it.")
@click.option("--dtype", help="fp16 or bf16.")
@DEVICE
@click.option("--limit", type=WholeRange(min=1), help="Time this many configs, evenly over the space; default all.")
@click.option("--top", type=WholeRange(min=1), default=15, show_default=True, help="Rows of the table.")
@OUT
@JSON
def sweep(
    kernel: str,
    shape: tuple[int, ...] | None,
    dtype: str | None,
    device: str,
    limit: int | None,
    top: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Time every config of a kernel's space once, in the burst regime."""
    from evals.bench.suite import Case
    from evals.bench.sweep import sweep as run

    with mistakes_as_refusals(), output_to_stderr():
        case = Case(kernel, shape, {} if dtype is None else {"dtype": dtype})
        _check(out, [case])
        rows = run(case, device, limit, print_progress)
    write(out, rows)
    if as_json:
        click.echo(json.dumps({"configs": rows}))
        return
    good = [r for r in rows if r["status"] == "correct"]
    shown = [r | {"config": short(r["config"])} for r in good[:top]]
    print_table(shown, ("ms", "value", "unit", "share_of_floor", "config"))
    click.echo(f"{len(good)} of {len(rows)} configs correct; {rows[0]['kernel']} {rows[0]['problem']} burst")


@cli.command()
@NAMES
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="The device whose roofs are shown: cuda:N, recorded, or auto: a GPU if there is one, else recorded.",
)
@click.option("--gpu", help="Show the datasheet's roofs of this GPU and measure nothing.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="The results: a memory (.db) or a file of bench --out; without it, your memory.",
)
@click.option("--svg", type=click.Path(path_type=Path), help="Write the drawing to this file.")
@click.option("--html", type=click.Path(path_type=Path), help="Write the drawing and the table to this page.")
@JSON
def roofline(
    names: tuple[str, ...],
    device: str,
    gpu: str | None,
    source: Path | None,
    svg: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Show the kernels' best results under the roofs of a GPU, measured roofs if there are any."""
    from evals.bench import roofline as line
    from evals.bench import roofline_svg as draw

    inputs = () if source is None else (source,)
    check_output(svg, "--svg", inputs)
    check_output(html, "--html", inputs)
    if svg is not None and html is not None and svg.resolve() == html.resolve():
        raise click.UsageError(f"--svg and --html both name {svg}: give two files")
    if not (device in ("auto", "recorded") or device.startswith("cuda:")):
        raise click.UsageError(f"--device {device} is no device: write auto, recorded or cuda:N")
    if gpu is not None and device != "auto":
        raise click.UsageError(f"--gpu shows a datasheet and asks no device: leave out --device {device}, or --gpu")
    with mistakes_as_refusals():
        wanted = _names(names)
        roofs = line.roofs(device, gpu)
        found, known_from = line.results(source, roofs.hardware)
        rows = line.rows([e for e in found if e.kernel in wanted], roofs)
    if not rows:
        raise click.UsageError(
            f"{known_from} knows no result of {', '.join(wanted)} on {roofs.hardware.name}: give a file with --from"
        )
    title = f"Roofline of {roofs.hardware.name}"
    sources = [f"roofs: {roofs.source}", f"results: {known_from}"]
    if svg is not None:
        write_output(svg, draw.svg_file(rows, roofs, title), "--svg")
    if html is not None:
        write_output(html, draw.html_page(rows, roofs, title, sources), "--html")
    if as_json:
        about = {"hardware": roofs.hardware.name, "bandwidth": roofs.bandwidth, "peaks": roofs.peaks}
        click.echo(json.dumps({"roofs": about | {"source": roofs.source}, "results": known_from, "rows": rows}))
        return
    shown = [
        r | {"problem": line.named(r), "share_of_roof": f"{r['share_of_roof']:.1%}", "config": short(r["config"])}
        for r in rows
    ]
    print_table(
        shown, ("kernel", "problem", "ms", "intensity", "tflops", "tb_per_s", "bound", "share_of_roof", "config")
    )
    click.echo("\n".join(sources))


cli.add_command(explain)


def _bench(cases: list[Case], device: str, configs: int, seconds: float, out: Path | None, as_json: bool) -> None:
    from evals.bench.sweep import bench as run

    rows: list[Row] = []
    with output_to_stderr():
        _check(out, cases)
        for case in cases:
            rows += run(case, device, configs, seconds, print_progress)
            write(out, rows)
    if as_json:
        click.echo(json.dumps({"cases": rows}))
    else:
        shown = [r | {"config": short(r.get("config", {})), **speedups(r)} for r in rows]
        names = list(dict.fromkeys(f"vs {b['name']}" for r in rows for b in r.get("baselines", [])))
        print_table(
            shown, ("kernel", "problem", "regime", "status", "ms", "value", "unit", "share_of_floor", *names, "config")
        )
    for row in rows:
        if row["status"] != "correct":
            click.echo(f"{row['kernel']} {row['problem']} {row['regime']}: {row['status']}: {row['reason']}", err=True)
    if any(r["status"] != "correct" for r in rows):
        sys.exit(1)


def _names(given: tuple[str, ...]) -> list[str]:
    from kernels.registry import names

    return list(given) or names()


def _check(out: Path | None, cases: list[Case]) -> None:
    """Check the arguments before any time is spent on a GPU."""
    for case in cases:
        case.load()
    check_output(out, "--out", replaced_repeatedly=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return exit code 0; 1 if a kernel is wrong or a step failed; 2, with one sentence, for wrong arguments."""
    return run_command_line(cli, "python -m kernels", arguments)


if __name__ == "__main__":
    sys.exit(main())
