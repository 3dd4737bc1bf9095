"""``python -m kernels explain``: what limits a kernel's config, from its code and, with ``--live``, from the card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evals.bench.output import Refused, mistakes_as_refusals, read_shape
from kernels.quiet import output_to_stderr
from memory.command_line.strict_commands import strict_command

if TYPE_CHECKING:
    from kernels.spec import Config, KernelSpec
    from tools.evidence.explain_config import ConfigExplained
    from tools.evidence.live.profiled_card import Card


@strict_command("explain")
@click.argument("kernel")
@click.option("--gpu", default="H200", show_default=True, help="The GPU to compile for; it need not be here.")
@click.option("--shape", callback=read_shape, help="e.g. 4096x4096x4096; the kernel's own without it.")
@click.option("--dtype", help="fp16 or bf16.")
@click.option("--config", "changes", help='Of the config: "BLOCK_M=128 num_warps=8" or JSON; the default else.')
@click.option("--against", help="Compare with: another config written like --config, or a folder of --keep.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep PTX, SASS and figures in this folder."
)
@click.option(
    "--diff", "stage", type=click.Choice(["ptx", "ttgir", "amdgcn"]), help="With --against: print the assembly's diff."
)
@click.option("--live", is_flag=True, help="Also run it on this machine's GPU under Proton; --gpu is that GPU then.")
@click.option("--ncu", is_flag=True, help="With --live: ask Nsight Compute for counters too; takes up to 30 s.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def explain(
    context: click.Context,
    kernel: str,
    gpu: str,
    shape: tuple[int, ...] | None,
    dtype: str | None,
    changes: str | None,
    against: str | None,
    keep: Path | None,
    stage: str | None,
    live: bool,
    ncu: bool,
    as_json: bool,
) -> None:
    """What limits a kernel: the busiest unit with its share, the next one, and the figures that say so.

    KERNEL is a built-in name, path.py:NAME, module:NAME, or a folder that --keep has written. No GPU is needed, except
    for --live."""
    from tools.evidence.answer import answer, page
    from tools.evidence.differences import assembly_diff, differences, text_of
    from tools.evidence.explain_config import CannotExplain

    if stage is not None and against is None:
        raise click.UsageError("--diff compares two configs: say which with --against")
    if ncu and not live:
        raise click.UsageError("--ncu asks a GPU: add --live")
    given_gpu = context.get_parameter_source("gpu") == click.core.ParameterSource.COMMANDLINE
    try:
        with mistakes_as_refusals(), output_to_stderr():
            card = open_card(kernel, gpu if given_gpu else None) if live else None
            try:
                found, other = _explained(kernel, gpu, shape, dtype, changes, against, keep, card, ncu)
            finally:
                if card is not None:
                    card.close()
    except CannotExplain as e:
        raise Refused(str(e)) from e
    if as_json:
        result = answer(found) | ({} if other is None else {"against": differences(found, other)})
        click.echo(json.dumps(result | {"kept": str(found.folder)}))
    elif other is None:
        click.echo(page(found))
    else:
        click.echo(text_of(found, other))
    if stage is not None and other is not None and not as_json:
        click.echo(assembly_diff(found, other, stage))


def _explained(
    kernel: str,
    gpu: str,
    shape: tuple[int, ...] | None,
    dtype: str | None,
    changes: str | None,
    against: str | None,
    keep: Path | None,
    card: Card | None,
    ncu: bool,
) -> tuple[ConfigExplained, ConfigExplained | None]:
    from kernels.hardware import hardware_named
    from kernels.registry import get
    from tools.evidence.explain_config import SUMMARY, explain_config, explain_kept
    from tools.evidence.live_explanation import explain_live
    from tools.harness.compiling.compile_pool import LocalCompilePool

    hardware = hardware_named(gpu) if card is None else card.hardware()
    kept = Path(against) if against is not None and (Path(against) / SUMMARY).exists() else None
    if (Path(kernel) / SUMMARY).exists():
        if against is not None and kept is None:
            raise ValueError(f"--against {against}: {kernel} is kept code, which compares with another kept folder")
        return explain_kept(Path(kernel)), None if kept is None else explain_kept(kept)
    spec = get(kernel)
    problem = spec.parse_problem(shape, {} if dtype is None else {"dtype": dtype})
    default = spec.default_config(problem, hardware)
    config = _changed(spec, default, changes)
    pool = LocalCompilePool(hardware, workers=1)
    try:

        def explained(config: Config, folder: Path | None = None) -> ConfigExplained:
            if card is None:
                return explain_config(spec, problem, config, hardware, pool, folder=folder)
            return explain_live(spec, problem, config, hardware, pool, card, folder, ncu)

        found = explained(config, keep)
        if against is None:
            return found, None
        return found, explain_kept(kept) if kept else explained(_changed(spec, config, against))
    finally:
        pool.close()


def open_card(kernel: str, gpu: str | None) -> Card:
    """This machine's first GPU for profiling. Raises ValueError with one sentence if it cannot be."""
    from tools.evidence.explain_config import SUMMARY
    from tools.evidence.live.profiled_card import Card
    from tools.harness.measuring.telemetry import gpus_present

    if (Path(kernel) / SUMMARY).exists():
        raise ValueError(f"--live runs a kernel, and {kernel} is kept code: name the kernel itself")
    if gpu is not None:
        raise ValueError(f"--live explains for this machine's GPU: leave --gpu {gpu} out")
    if not gpus_present():
        raise ValueError("--live needs a GPU, and this machine has none that works: leave it out, and the code is read")
    return Card()


def _changed(spec: KernelSpec[Any, Any], config: Config, changes: str | None) -> Config:
    """`config` with the fields that `changes` names. Raises ValueError with one sentence."""
    if changes is None:
        return config
    values: dict[str, Any] = {}
    if changes.lstrip().startswith("{"):
        try:
            values = json.loads(changes)
        except (ValueError, RecursionError) as e:
            raise ValueError(f"the config is no JSON ({e}): write e.g. num_warps=8") from e
    else:
        for part in changes.replace(",", " ").split():
            name, equals, value = part.partition("=")
            if not equals:
                raise ValueError(f"{part!r} is no field of a config: write NAME=VALUE, or name a folder of --keep")
            values[name] = _value(value)
    known = config.model_dump(mode="json")
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{spec.name} has no field {', '.join(unknown)}; it has {', '.join(known)}")
    changed: Config = spec.config_type.model_validate(known | values)
    return changed


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {"True": True, "False": False, "None": None}.get(text, text)
