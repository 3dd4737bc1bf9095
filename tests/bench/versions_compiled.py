"""The part of ``tests.bench.table_of_versions`` that runs under one version of Triton: compiles and appends results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click

from kernels.hardware import Hardware, hardware_named
from kernels.registry import get, names
from kernels.spec import Config, KernelSpec, Problem

Row = dict[str, Any]
PLAN = "configs.json"
DEADLINE_S = 600.0
"""Far beyond what a compilation takes on a busy machine."""
KEPT = (
    "status",
    "reason",
    "registers",
    "spill_bytes",
    "stack_bytes",
    "shared_bytes",
    "num_warps",
    "tensor_core",
    "tma",
)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.argument("version")
@click.option("--kernel", "kernels", multiple=True, type=click.Choice(names()))
@click.option("--gpu", "gpus", multiple=True, required=True)
def main(folder: Path, version: str, kernels: tuple[str, ...], gpus: tuple[str, ...]) -> None:
    """Compile what FOLDER does not yet have of this version."""
    import triton

    from tests.bench.table_of_versions import read
    from tools.harness.compiling.compile_pool import LocalCompilePool
    from tools.harness.compiling.toolchain import assembler

    if triton.__version__ != version:
        raise click.ClickException(f"Triton {triton.__version__} was imported instead of {version}")
    out = folder / f"{version}.jsonl"
    known = {(r["kernel"], r["family"], r["gpu"]): r["source"] for r in read(out)}
    chosen = plan(folder / PLAN, kernels or tuple(names()), gpus)
    for gpu in gpus:
        hardware = hardware_named(gpu)
        pool = LocalCompilePool(hardware, 1, folder / f"cache-{version}", DEADLINE_S)
        try:
            for kernel in kernels or names():
                spec = get(kernel)
                problem, source = spec.default_problem(), spec.source_hash()[:12]
                for family, entry in chosen[kernel][gpu].items():
                    if known.get((kernel, family, gpu)) == source:
                        continue
                    row: Row = {"kernel": kernel, "family": family, "gpu": gpu, "arch": hardware.arch}
                    row |= {"triton": version, "assembler": assembler(hardware), "source": source, **entry}
                    if entry["config"] is not None:
                        config = spec.config_type.model_validate(entry["config"])
                        result = pool.compile(spec, problem, [config])[0].model_dump(mode="json")
                        if result["status"] == "infrastructure":
                            raise click.ClickException(f"{kernel} {family} for {gpu}: {result['reason']}")
                        row |= {name: result[name] for name in KEPT}
                    with out.open("a") as file:
                        file.write(json.dumps(row) + "\n")
        finally:
            pool.close()


def plan(path: Path, kernels: tuple[str, ...], gpus: tuple[str, ...]) -> dict[str, dict[str, dict[str, Row]]]:
    """By kernel, GPU and family the config to compile, or None and why. It is kept in `path`, so that every version
    compiles the same."""
    known: dict[str, dict[str, dict[str, Row]]] = json.loads(path.read_text()) if path.exists() else {}
    for kernel in kernels:
        spec = get(kernel)
        for gpu in gpus:
            by_gpu = known.setdefault(kernel, {})
            if gpu not in by_gpu:
                by_gpu[gpu] = {family: choose(spec, family, hardware_named(gpu)) for family in families(spec)}
    path.write_text(json.dumps(known, indent=1))
    return known


def families(spec: KernelSpec[Any, Any]) -> tuple[str, ...]:
    return get_args(spec.config_type.model_fields["family"].annotation)


def choose(spec: KernelSpec[Any, Any], family: str, hardware: Hardware) -> Row:
    """The family's first config that `hardware` can have, or the reason why it cannot have the family: what forbids the
    config that an H200 would take."""
    problem = spec.default_problem()
    for config in considered(spec, problem, family, hardware):
        if spec.constraint(problem, config, hardware) is None:
            return {"config": config.model_dump(mode="json")}
    hopper = hardware_named("H200")
    for config in considered(spec, problem, family, hopper):
        if spec.constraint(problem, config, hopper) is None:
            return {"config": None, "status": "constraints", "reason": spec.constraint(problem, config, hardware)}
    return {"config": None, "status": "constraints", "reason": "no config of the space has this family"}


def considered(spec: KernelSpec[Any, Any], problem: Problem, family: str, hardware: Hardware) -> Iterator[Config]:
    """The kernel's default config, its promising ones and its candidates, those of the family."""
    yield from (c for c in (spec.default_config(problem, hardware),) if c.family == family)
    yield from (c for c in spec.promising(problem, hardware) if c.family == family)
    yield from (c for c in spec.candidates(problem, hardware) if c.family == family)


if __name__ == "__main__":
    main()
