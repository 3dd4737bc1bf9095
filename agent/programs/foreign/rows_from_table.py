"""Makes rows of ``tuned.json`` from another project's table, for the launches of a capture. All of them are unproven.

A launch finds its config as the owner of the format would: by the autotuner's key and dtypes (fla, Triton), by their
signature (Megatron-LM), or by a size that the caller names (tables over M)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.programs.foreign import aiter_table, fla_cache, m_table, megatron_table, triton_cache
from agent.programs.foreign.foreign_table import OPTIONS, ForeignRow, ForeignTable, Json
from kernels.capture.reading.captured_launches import Capture, CapturedLaunch
from kernels.tuned.compiler_variables import describe_overrides
from kernels.tuned.key import key_of_captured
from kernels.tuned.tuned_environment import INTERPRETER, assembler_of
from kernels.tuned.tuned_table import Decision, TunedEnvironment, TunedFunction, TunedRow

DEFAULTS = {"num_ctas": 1}
"""Options that a table states and that say nothing."""


class NoConfig(ValueError):
    """Why a launch gets no row; the message is a clause."""


@dataclass(frozen=True)
class Imported:
    """What became of a kernel's launches."""

    rows: tuple[TunedRow, ...]
    skipped: tuple[Json, ...]
    """``{"kernel": …, "reason": …}``, as in ``TunedTable.untuned``."""


def rows_from_table(form: str, table: ForeignTable, capture: Capture, kernel: str, size: str | None = None) -> Imported:
    """Rows for the launches of `kernel`. `size`: the argument, or ``ARGUMENT.DIMENSION`` of a tensor, that is M."""
    rows: dict[str, TunedRow] = {}
    skipped = []
    for launch in capture.launches:
        if launch.name != kernel:
            continue
        try:
            row = _row(launch, _find(form, table, launch, size), capture)
            rows.setdefault(row.name, row)
        except NoConfig as e:
            skipped.append({"kernel": f"{kernel} ({launch.digest[:8]})", "reason": str(e)})
    return Imported(tuple(rows.values()), tuple(skipped))


def autotuner_key(launch: CapturedLaunch) -> tuple[Json, list[str]]:
    """The values of the autotuner's ``key=`` by name, and the dtypes of tensors, as Triton makes them. Raises
    NoConfig."""
    tuner = launch.autotune
    if tuner is None:
        raise NoConfig("it is not autotuned, and the table goes by the autotuner's key")
    values = {n: _value(launch.arguments[n]) for n in tuner["key"] if n in launch.arguments}
    dtypes = [f"torch.{a['dtype']}" for a in launch.arguments.values() if a["type"] == "tensor"]
    return values, dtypes


def size_of(launch: CapturedLaunch, size: str | None) -> int:
    """The value of M. Raises NoConfig."""
    if size is None:
        raise NoConfig("the table goes by M: name the argument that is M by --size")
    name, _, dimension = size.partition(".")
    argument = launch.arguments.get(name)
    if argument is None:
        raise NoConfig(f"it has no argument {name}")
    if argument["type"] == "tensor" and dimension.isdigit() and int(dimension) < len(argument["shape"]):
        return int(argument["shape"][int(dimension)])
    if argument["type"] == "int" and "value" in argument and not dimension:
        return int(argument["value"])
    raise NoConfig(f"{size} is no whole number of it")


def environment_for(launch: CapturedLaunch) -> TunedEnvironment:
    """Where the launch was captured. Raises NoConfig if this Triton is another one, whose assembler is not known."""
    import triton

    device = launch.device
    if device["kind"] == "interpreter":
        return TunedEnvironment(INTERPRETER, device["triton"], None)
    if device["triton"] != triton.__version__:
        raise NoConfig(f"it was captured with Triton {device['triton']}, and this is {triton.__version__}")
    assembler = assembler_of(device["kind"], device["arch"])
    return TunedEnvironment(device["name"], device["triton"], assembler, describe_overrides())


def _find(form: str, table: ForeignTable, launch: CapturedLaunch, size: str | None) -> ForeignRow:
    found: ForeignRow | None
    if form in ("moe", "aiter"):
        m = size_of(launch, size)
        found = m_table.served(table, m) if form == "moe" else aiter_table.served(table, m)
        about = f"M={m}"
    elif form == "megatron":
        about = megatron_table.signature_of(*autotuner_key(launch))
        found = next((r for r in table.rows if r.key == {"kernel": launch.name, "signature": about}), None)
    elif form in ("fla", "triton"):
        values, dtypes = autotuner_key(launch)
        key = [*values.values(), *dtypes]
        about = f"key {key}"
        rows = [r for r in table.rows if r.key.get("key") == key]
        found = triton_cache.best(ForeignTable({}, tuple(rows))) if form == "triton" else next(iter(rows), None)
        if found is None and form == "fla":
            found = next((r for r in table.rows if r.key == fla_cache.DEFAULT), None)
    else:
        raise NoConfig("the table is for kernels that torch.compile makes, and not for the program's own")
    if found is None:
        raise NoConfig(f"the table has nothing for {about}")
    return found


def _row(launch: CapturedLaunch, found: ForeignRow, capture: Capture) -> TunedRow:
    constants, options = found.split()
    known = {p["name"] for p in launch.function["parameters"] if p["constexpr"]}
    options = {n: v for n, v in options.items() if v is not None and DEFAULTS.get(n) != v}
    odd = [n for n in constants if n not in known] + [n for n in options if n not in OPTIONS]
    if odd:
        raise NoConfig(f"the table sets {odd[0]}, which is neither a constant of the kernel nor a launch option")
    f = launch.function
    return TunedRow(
        TunedFunction(f["module"], f["qualname"], f["identity"]),
        environment_for(launch),
        key_of_captured(launch, capture.functions()),
        "unproven",
        Decision(constants, options),
    )


def _value(argument: Json) -> Any:
    """A plain argument as it stands in a key."""
    if argument["type"] == "float":
        return float(argument["value"])
    return argument.get("value")
