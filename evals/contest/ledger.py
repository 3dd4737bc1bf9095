"""The record of a run, written by the referee alone; scores are computed from nothing else.

An evaluation is a reading or a failure, in the compiler or on the device, of a config that the space holds. A
compilation or a check that goes well is none, but its seconds are charged. A config that the space does not hold, and a
repeated request, are answered and cost nothing. The tools count by the same rule (``tools/session/session.py``).
"""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from memory.terms import Status
from tools.harness.landscapes.readings import Entry, Landscape, config_key

End = Literal["concluded", "budget", "stalled", "foul", "crashed", "deadline"]
"""How a run ended: by itself, with all evaluations used, by repeating requests, by opening what it must not see, by an
error of its own, or by the wall clock."""
FAILED: tuple[End, ...] = ("crashed", "foul", "deadline")
"""Ends of a run that are the agent's failure; one that stalls has nothing more to ask. What a failed run had measured
is scored all the same."""

Seconds = Annotated[float, Field(ge=0, le=1e30)]
CLOSED = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Of what is read back from a file."""
MOST_TOKENS, MOST_DOLLARS = 1 << 53, 1e12
"""More than that nobody has used: sums of such numbers overflow."""
Count = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
RULES = 2
"""Version of the rules by which evaluations are counted. Version 1 charged configs that the space does not hold, and
counted a check as a measurement."""
PATIENCE = 200
"""Answers in a row without anything new after which a run is stalled."""


@dataclass(frozen=True)
class Row:
    """One evaluation."""

    __pydantic_config__ = CLOSED

    config: str
    """Canonical JSON, in the landscape's own parameters."""
    status: Status
    ms: Annotated[float, Field(gt=0)] | None
    """The time that the agent received: set A, or the GPU's."""
    at: Seconds
    """Seconds on the run's clock when its outcome was known."""


@dataclass
class Ledger:
    """One run of one agent on one landscape."""

    __pydantic_config__ = CLOSED

    agent: str
    landscape: str
    """Its name."""
    source: str
    """Where to find it: its name, or the path of a user's file."""
    file: str
    """File name and checksum."""
    variant: str
    """The disguise of the space (:mod:`evals.contest.disguise`), or ``live``: measured on a GPU in the run itself."""
    seed: Annotated[int, Field(ge=0)]
    max_evals: Annotated[int, Field(ge=1, le=MOST_TOKENS)]
    rows: list[Row] = field(default_factory=list)
    duplicates: Count = 0
    """Readings asked for again."""
    refused: Count = 0
    """Requests for configs that the space does not hold."""
    rules: int = 1
    """:data:`RULES` when the run was made; 1 in files that do not say."""
    seconds: Seconds = 0.0
    """Simulated: recorded compile, check and run seconds of every request."""
    end: End = "concluded"
    why: str = ""
    tokens: Count = 0
    """As the model's endpoint counts them; 0 without a language model."""
    dollars: Annotated[float, Field(ge=0, le=MOST_DOLLARS)] = 0.0
    """Paid for the model, as far as its price is known."""
    claim: Any = None
    """The agent's own conclusion; it is kept and not scored."""
    versions: dict[str, str] = field(default_factory=dict)
    """Libraries that the agent's decisions depend on (:data:`LIBRARIES`); empty in runs of before they were kept."""
    transcript: str | None = None
    """The gzipped trace of a language model's run, base64; it is kept for whoever verifies the run, and not scored."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(raw: Any) -> Ledger:
        """Raises ValueError if `raw` is no ledger."""
        return TypeAdapter(Ledger).validate_python(raw)

    def invalid(self) -> Counter[str]:
        """Failures by status."""
        return Counter(row.status for row in self.rows if row.status != "correct")


LIBRARIES = ("optuna", "kernel_tuner", "scikit-learn", "scipy", "numpy")
"""What agents' decisions depend on besides our own code."""


def library_versions() -> dict[str, str]:
    """The installed versions of LIBRARIES; ``none`` for one that is not installed."""
    return {library: _version(library) for library in LIBRARIES}


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "none"


PASSES: tuple[Status, ...] = ("correct", "implausible", "infrastructure")
"""Statuses of a config that a check does not find wrong: no time is looked at, and our own failures say nothing."""


def compile_failure(entry: Entry) -> Status | None:
    """How the config of `entry` fails in the compiler; ``None`` if it compiles."""
    if entry.compiled is not None and entry.compiled.status not in ("correct", "infrastructure"):
        return entry.compiled.status
    return "compile" if entry.status == "compile" else None


class Over(Exception):
    """The run may send no more requests."""


class Referee:
    """Answers for a landscape and keeps the ledger."""

    def __init__(self, landscape: Landscape, ledger: Ledger, names: dict[str, str] | None = None) -> None:
        """`names` maps a disguised config's key to the true one."""
        self.landscape, self.ledger = landscape, ledger
        self._names = names
        self._compiled: set[str] = set()
        self._checked: set[str] = set()
        self._known: dict[str, Row] = {}
        self._idle = 0

    def compile(self, configs: Sequence[dict[str, Any]]) -> list[Entry | None]:
        """The compiler's result for each config; ``None`` if the space does not hold it. A failure is an evaluation."""
        return [self._compile(*self._find(config)) for config in configs]

    def check(self, configs: Sequence[dict[str, Any]]) -> list[Status]:
        """Whether each config computes the right thing. A failure is an evaluation, a check that passes is none, and
        neither is a measurement: no time is learned."""
        return [self._check(*self._find(config)) for config in configs]

    def entry(self, key: str) -> Entry | None:
        """What is known of an evaluated config."""
        return self.landscape.entries.get(key)

    def _compile(self, key: str, entry: Entry | None) -> Entry | None:
        if entry is None:
            self._refuse()
        elif key in self._known or key in self._compiled:
            self._wait()
        elif compile_failure(entry) is not None:
            self._write(key, entry)
        else:
            self._charge_compilation(key, entry)
        return entry

    def _check(self, key: str, entry: Entry | None) -> Status:
        if entry is None:
            self._refuse()
            return "constraints"
        if key in self._known or key in self._checked:
            self._wait()
        elif entry.status not in PASSES:
            self._write(key, entry)
        else:
            self._charge_check(key, entry)
        return "correct" if entry.status in PASSES and entry.status != "infrastructure" else entry.status

    def measure(self, config: dict[str, Any]) -> Row:
        """Status and set A time."""
        key, entry = self._find(config)
        if entry is None:
            self._refuse()
            return Row(key, "constraints", None, self.ledger.seconds)
        if key in self._known:
            self.ledger.duplicates += self._known[key].status == "correct"
            self._wait()
            return self._known[key]
        return self._write(key, entry)

    def _find(self, config: dict[str, Any]) -> tuple[str, Entry | None]:
        key = config_key(config)
        if self._names is not None:
            key = self._names.get(key, f"not shown: {key}")  # a true name is no key here
        return key, self.landscape.entries.get(key)

    def _refuse(self) -> None:
        self.ledger.refused += 1
        self._wait()

    def _write(self, key: str, entry: Entry) -> Row:
        self._within_budget()
        self._charge_compilation(key, entry)
        self._charge_check(key, entry)
        self.ledger.seconds += entry.run_seconds
        row = Row(key, entry.status, self.landscape.ms(entry, "A"), self.ledger.seconds)
        self._known[key] = row
        self.ledger.rows.append(row)
        self._idle = 0
        return row

    def _within_budget(self) -> None:
        if len(self.ledger.rows) >= self.ledger.max_evals:
            self.ledger.end = "budget"
            raise Over(f"all {self.ledger.max_evals} evaluations are used")

    def _charge_compilation(self, key: str, entry: Entry) -> None:
        if key not in self._compiled:
            self._compiled.add(key)
            self._idle = 0
            self.ledger.seconds += entry.compile_seconds

    def _charge_check(self, key: str, entry: Entry) -> None:
        self._charge_compilation(key, entry)
        if key not in self._checked:
            self._checked.add(key)
            self._idle = 0
            self.ledger.seconds += entry.check_seconds

    def _wait(self) -> None:
        self._idle += 1
        if self._idle > PATIENCE:
            self.ledger.end = "stalled"
            raise Over(f"{PATIENCE} answers in a row taught nothing new")
