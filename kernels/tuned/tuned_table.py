"""The table of tuned launches: which config serves which launch, and what is known about that.

*Decisions* are the rows that are applied. All ranks of a job read equal decisions if :attr:`TunedTable.digest` is
equal. *Evidence* stands apart from them, by the row's name: two proofs of one decision may have other times.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Status = Literal["proven", "stock", "unproven"]
"""``proven``: faster than the owner's launch, in a proof. ``stock``: the owner's config is best. ``unproven``: nobody
has proven it here; it is applied only if the user asks for that."""
STATUSES = ("proven", "stock", "unproven")
OPTIONS = ("num_warps", "num_stages", "num_ctas", "maxnreg")
"""Launch options that a decision may set."""
MOST_WARPS = 32
"""Of a block: it has at most 1,024 threads, and the narrowest warp has 32 of them."""


MAIN_MODULES = frozenset({"__main__", "__mp_main__"})


@dataclass(frozen=True)
class TunedFunction:
    """The Triton function of a row."""

    module: str
    qualname: str
    identity: str
    """Hash of its code and all that it reaches (``kernels/capture/describing/device_closure.py``)."""

    def is_named(self, module: str, qualname: str) -> bool:
        """Whether a function of this module and name is looked for. A program that was captured as a script has its
        functions in ``__main__``, in ``__mp_main__`` in the processes that it spawns, and elsewhere if it is
        imported."""
        return qualname == self.qualname and (module == self.module or bool({module, self.module} & MAIN_MODULES))


@dataclass(frozen=True)
class TunedEnvironment:
    """Where a row holds."""

    gpu: str
    """As the driver names it, ``NVIDIA H200``; ``interpreter`` for Triton's interpreter."""
    triton: str
    assembler: str | None
    """``ptxas 13.4``; None if Triton needs none beside itself."""
    overrides: str | None = None
    """Variables that change what the compiler makes (``compiler_variables.py``); None if none was set, and in files
    from before they were kept."""

    def __str__(self) -> str:
        return ", ".join(filter(None, [self.gpu, f"Triton {self.triton}", self.assembler, self.overrides]))

    def to_json(self) -> Json:
        """Without variables the same as before they were kept: the names of rows and the digests of files stay."""
        return {k: v for k, v in asdict(self).items() if k != "overrides" or v is not None}


@dataclass(frozen=True)
class Decision:
    """One way to launch."""

    constexprs: Json
    """Compile-time constants that it sets, in place of what the program or its autotuner passes."""
    options: Json
    """Launch options by name (``OPTIONS``)."""
    source: Json | None = None
    """A variant of the function's device code: what ``kernels/editing/variants.py`` keeps of one, its ``hash``, and the
    ``values`` of its new constants. None: the program's own code."""

    @property
    def digest(self) -> str:
        return digest_of(asdict(self))


@dataclass(frozen=True)
class TunedRow:
    """What serves the launches of one key."""

    function: TunedFunction
    environment: TunedEnvironment
    key: Json
    """``key.key_of_captured(launch, functions)``."""
    status: Status
    decision: Decision | None
    """None only with ``stock``: the launch stays as the program makes it. A ``stock`` row of an autotuned kernel holds
    the autotuner's choice, so that the program needs no benchmark for it."""
    also: tuple[Decision, ...] = ()
    """Other configs that were proven for this key, in the fixed order. Between two rows only a config serves that is
    proven in both."""
    tie: bool = False
    """Whether other configs were level with the decision, so that the fixed order chose it."""

    @property
    def edited(self) -> bool:
        """Whether a decision of the row holds device code."""
        return any(d.source is not None for d in (self.decision, *self.also) if d is not None)

    @property
    def name(self) -> str:
        """Names the row in the evidence and in messages. It says what the row is for, not what it decides."""
        return digest_of([asdict(self.function), self.environment.to_json(), self.key])[:12]


@dataclass
class TunedTable:
    """All rows of a file."""

    rows: list[TunedRow] = field(default_factory=list)
    evidence: dict[str, Json] = field(default_factory=dict)
    """By the row's name. ``decision`` holds the digest of the decision that it is about."""
    untuned: list[Json] = field(default_factory=list)
    """``{"kernel": …, "reason": …}`` for each kernel without rows."""
    held_out: list[Json] = field(default_factory=list)
    """Launches between rows that were not tuned, with what the table's answer for them takes: ``speedup`` over the
    launch as captured, ``ci``."""
    faults: dict[str, str] = field(default_factory=dict)
    """Rows that a reader refuses, with the reason. They are never applied, and not written again."""

    def add(self, row: TunedRow, evidence: Json | None = None) -> None:
        """Add a row, or replace the one of equal name. Raises ValueError if :func:`fault_of` finds something."""
        kept = dict(evidence or {})
        if row.decision is not None:
            kept["decision"] = row.decision.digest
        fault = fault_of(row, kept if evidence else None)
        if fault is not None:
            raise ValueError(f"row {row.name} of {row.function.qualname} {fault}")
        self.rows = [r for r in self.rows if r.name != row.name] + [row]
        self.evidence.pop(row.name, None)
        if evidence:
            self.evidence[row.name] = kept

    @property
    def decisions(self) -> list[Json]:
        """The rows as JSON, in an order that does not depend on how they were added."""
        rows = sorted(self.rows, key=lambda r: r.name)
        return [asdict(row) | {"environment": row.environment.to_json()} for row in rows]

    @property
    def digest(self) -> str:
        """Of the decisions; equal if and only if equal configs are applied."""
        return digest_of(self.decisions)


def fault_of(row: TunedRow, evidence: Json | None) -> str | None:
    """What is wrong with a row, as the end of a sentence that begins with its name; None if nothing is."""
    if row.status not in STATUSES:
        return f"has the status {row.status!r}, which is none of {', '.join(STATUSES)}"
    if row.decision is None and row.status != "stock":
        return f"is {row.status} and decides nothing"
    if row.status == "proven" and not evidence:
        return "is called proven and has no evidence"
    if row.decision is not None and evidence and evidence.get("decision") != row.decision.digest:
        return "has evidence of another decision"
    if set(row.key) != {"grid", "arguments", "options"} or not isinstance(row.key["arguments"], dict):
        return "has a key that no launch has"
    for decision in filter(None, (row.decision, *row.also)):
        wrong = _fault_of_decision(decision)
        if wrong is not None:
            return wrong
    return None


def _fault_of_decision(decision: Decision) -> str | None:
    if decision.source is not None and (wrong := _fault_of_source(decision.source)) is not None:
        return wrong
    for name, value in decision.options.items():
        if name not in OPTIONS:
            return f"sets {name}, which is no launch option"
        if type(value) is not int or value < (0 if name == "num_stages" else 1):
            return f"sets {name}={value!r}, which is no count"
    warps = decision.options.get("num_warps", 1)
    if warps & (warps - 1) or warps > MOST_WARPS:
        return f"sets num_warps={warps}, which is no power of two up to {MOST_WARPS}"
    for name, value in decision.constexprs.items():
        if not isinstance(value, bool | int | float | str | type(None)):
            return f"sets {name} to a {type(value).__name__}"
    return None


SOURCE_FIELDS: dict[str, type] = {
    "version": int, "kernel": str, "owner": str, "source": str, "meta": dict, "grid": str, "hash": str, "values": dict,
}  # fmt: skip
LONGEST_SOURCE = 20_000


def _fault_of_source(source: Json) -> str | None:
    if not isinstance(source, dict) or {n: type(v) for n, v in source.items()} != SOURCE_FIELDS:
        return "has a variant that no version of this program writes"
    if len(source["source"]) > LONGEST_SOURCE:
        return f"has a variant of more than {LONGEST_SOURCE:,} characters"
    if set(source["values"]) != set(source["meta"]):
        return "has a variant without a value for each of its constants"
    return None


def in_fixed_order(decisions: Iterable[Decision]) -> list[Decision]:
    """Sorted by their text: of configs within noise of each other, every run and rank takes the first."""
    return sorted(decisions, key=lambda d: canonical(asdict(d)))


def canonical(value: Any) -> str:
    """JSON text that is equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest_of(value: Any) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def short(digest: str) -> str:
    """A digest as people see it, with what stands behind its hexadecimal digits."""
    digits, plus, more = digest.partition("+")
    return digits[:12] + plus + more
