"""Writes rows of ``tuned.json`` in another project's format. A capture says what the rows' keys do not hold: the
autotuner's key in its order, and the size that is M."""

from __future__ import annotations

from agent.programs.foreign.foreign_table import ForeignRow, ForeignTable, Json
from agent.programs.foreign.megatron_table import signature_of
from agent.programs.foreign.rows_from_table import NoConfig, autotuner_key, size_of
from kernels.capture.reading.captured_launches import Capture, CapturedLaunch
from kernels.tuned.key import key_of_captured
from kernels.tuned.tuned_table import TunedRow, TunedTable

WRITTEN = ("moe", "aiter", "megatron", "fla")
"""Formats that hold one config for a key. Triton's cache holds times, and TorchInductor's table other kernels."""


def table_from_rows(
    form: str, tuned: TunedTable, capture: Capture, kernel: str, about: Json, size: str | None, unproven: bool
) -> ForeignTable:
    """The rows of `kernel` that a launch of the capture finds, in order of their keys.

    `about`: the file's name and head. `unproven`: rows that nobody proved, too. Raises NoConfig if there is none, or if
    a key would stand for two rows."""
    by_key = [(row.key, row) for row in tuned.rows if row.function.qualname.rpartition(".")[2] == kernel]
    found: dict[str, ForeignRow] = {}
    for launch in capture.launches:
        key = key_of_captured(launch, capture.functions())
        row = next((r for k, r in by_key if k == key and r.function.identity == launch.function["identity"]), None)
        if row is None or row.decision is None or (row.status == "unproven" and not unproven):
            continue
        made = _row(form, launch, row, size)
        name = str(made.key)
        if name in found and found[name].config != made.config:
            raise NoConfig(f"two launches with {made.key} have different configs, and this format holds one for both")
        found[name] = made
    if not found:
        raise NoConfig(f"no launch of {kernel} in the capture has a row with a config that may be written")
    rows = sorted(found.values(), key=_order)
    return ForeignTable(about, tuple(rows))


def _row(form: str, launch: CapturedLaunch, row: TunedRow, size: str | None) -> ForeignRow:
    assert row.decision is not None
    constants, options = row.decision.constexprs, row.decision.options
    options = {"num_warps": 4, "num_stages": 3, **options}  # Triton's defaults, which these formats state
    if form == "megatron":
        key: Json = {"kernel": launch.name, "signature": signature_of(*autotuner_key(launch))}
    elif form == "fla":
        values, dtypes = autotuner_key(launch)
        key, options = {"key": [*values.values(), *dtypes]}, {"num_ctas": 1, **options}
    else:
        key = {"M" if form == "moe" else "M_LEQ": size_of(launch, size)}
    return ForeignRow(key, {**constants, **options}, constants=tuple(constants))


def _order(row: ForeignRow) -> tuple[int, str]:
    number = next(iter(row.key.values()))
    return (number if isinstance(number, int) else 0, str(row.key))
