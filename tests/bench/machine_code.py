"""The machine code of recorded configs, to prove that a moved file or a better comment changed nothing.

    python -m tests.bench.machine_code compile before.json --sample 24       # before the change
    python -m tests.bench.machine_code compile after.json --sample 24        # after it
    python -m tests.bench.machine_code compare before.json after.json        # exit 1 if a config differs
    python -m tests.bench.machine_code stamp                                 # then, if source hashes changed

``compile`` builds each config for the GPU of its landscape, without line information, in an empty cache, and writes a
hash of its cubins and grids, or the status of a config that does not compile. It needs no GPU. A sample is drawn by
seed from each landscape, so both files hold the same configs; without ``--sample`` all of them are built (about 3,600,
an hour or two on two cores). Triton's own cache key is no substitute: it holds raw text and line numbers.
A cubin names its kernel by the function's name, without the module: a moved kernel has the same hash, a renamed one
has another.

``stamp`` writes the present source hash into the landscapes that come with the project, their cards and SHA256SUMS, and
changes nothing else in them. It is for a change of the source that is proven to have left the machine code as it was;
after any other the landscapes are recorded anew.
"""

from __future__ import annotations

import gzip
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from evals.variables import variables
from tools.harness.landscapes.files import write_data
from tools.harness.landscapes.named import folder, list_landscapes
from tools.harness.landscapes.readings import Entry, Landscape

Codes = dict[str, str]
"""Hash of the machine code by config, as canonical JSON."""


@click.group()
def main() -> None:
    """Prove that a change of the source left the machine code as it was."""


@main.command(name="compile")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--sample", type=click.IntRange(min=1), help="Only so many configs of each landscape, drawn by seed.")
@click.option("--seed", default=0)
@click.option("--only", multiple=True, help="Only this landscape; may be repeated.")
@click.option("--workers", type=click.IntRange(min=1), help="Compilers at once; one per core unless given.")
def compile_all(out: Path, sample: int | None, seed: int, only: tuple[str, ...], workers: int | None) -> None:
    """Compile recorded configs and write the hashes of their machine code to OUT."""
    landscapes = [x for x in list_landscapes() if not only or x.name in only]
    unknown = sorted(set(only) - {x.name for x in landscapes})
    if unknown:
        raise click.UsageError(f"there is no landscape {', '.join(unknown)}")
    found: dict[str, Codes] = {}
    for landscape in landscapes:
        started, chosen = time.monotonic(), draw(landscape, sample, seed)
        with variables({"TRITON_DISABLE_LINE_INFO": "1"}):  # for the compile children, which inherit it
            found[landscape.name] = dict(sorted(machine_code(landscape, chosen, workers)))
        print(f"{landscape.name}: {len(chosen)} configs in {time.monotonic() - started:.0f} s", file=sys.stderr)
    out.write_text(
        json.dumps({"made_with": versions(), "sample": sample, "seed": seed, "code": found}, indent=1) + "\n"
    )


@main.command()
@click.argument("before", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("after", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def compare(before: Path, after: Path) -> None:
    """Compare two files that `compile` wrote. Exit code 1 if a config's machine code differs, 2 if they cannot be
    compared."""
    old, new = (json.loads(path.read_text()) for path in (before, after))
    if old["made_with"] != new["made_with"]:
        raise click.UsageError(f"made with other compilers: {old['made_with']} and {new['made_with']}")
    pairs = {name: (old["code"].get(name, {}), new["code"].get(name, {})) for name in {**old["code"], **new["code"]}}
    if any(a.keys() != b.keys() for a, b in pairs.values()):
        raise click.UsageError("the files hold other configs: compile both with the same --sample, --seed and --only")
    changed = [(name, config) for name, (a, b) in pairs.items() for config in a if a[config] != b[config]]
    for name, config in changed:
        print(f"{name} {config}: {pairs[name][0][config]} -> {pairs[name][1][config]}")
    print(f"{len(changed)} of {sum(len(a) for a, _ in pairs.values())} configs have other machine code")
    sys.exit(1 if changed else 0)


@main.command()
def stamp() -> None:
    """Write the present source hash into every landscape. Only after `compare` found no difference."""
    from kernels.registry import get

    for head in list_landscapes(heads_only=True):
        new = get(head.kernel).source_hash()
        if new == head.source:
            continue
        path = folder() / f"{head.name}.json.gz"
        text = gzip.decompress(path.read_bytes())
        old = f'"source":"{head.source}"'.encode()
        if text.count(old) != 1:
            raise click.ClickException(f"{path} does not hold {old.decode()} exactly once: record it anew")
        write_data(path, text.replace(old, f'"source":"{new}"'.encode()))
        card = path.with_name(f"{head.name}.md")
        card.write_text(card.read_text().replace(str(head.source), new))
        print(f"{head.name}: {head.source} -> {new}")


def draw(landscape: Landscape, sample: int | None, seed: int) -> list[Entry]:
    """`sample` entries, the same ones for the same seed whatever other landscapes there are; all without a number."""
    entries = list(landscape.entries.values())
    if sample is None or sample >= len(entries):
        return entries
    return random.Random(f"{seed} {landscape.name}").sample(entries, sample)


def machine_code(landscape: Landscape, entries: list[Entry], workers: int | None) -> Iterator[tuple[str, str]]:
    """Each config with the hash of its machine code and grids, or with the status of its failure."""
    from kernels.hardware import hardware_named
    from kernels.registry import get
    from tools.harness.compiling.compile_pool import LocalCompilePool

    spec = get(landscape.kernel)
    problem = spec.problem_type.model_validate(landscape.problem)
    assert landscape.device.hardware is not None
    with tempfile.TemporaryDirectory(prefix="machine-code-") as cache:
        pool = LocalCompilePool(hardware_named(landscape.device.hardware), workers, Path(cache), deadline_s=600.0)
        try:
            configs = [spec.config_type.model_validate(e.config) for e in entries]
            for config, result in pool.compile_iter(spec, problem, configs):
                if result.status == "infrastructure":
                    raise click.ClickException(f"{landscape.name}: {result.reason}")
                yield config.key(), result.fingerprint or result.status
        finally:
            pool.close()


def versions() -> dict[str, Any]:
    """What decides the machine code beside the source."""
    import torch
    import triton

    return {"triton": triton.__version__, "torch": torch.__version__, "python": platform.python_version()}


if __name__ == "__main__":
    main()
