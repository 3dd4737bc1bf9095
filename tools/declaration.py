"""What a tool declares about itself, for everyone who shows, approves, replays or summarises its calls.

A trace keeps the declarations of its tools, so that a run can be read where a tool is not installed. Imports nothing
heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Activity = Literal["compile", "check", "measure", "look", "think"]
"""What a call is on a run's time line."""
Returns = Literal["", "compilations", "checks", "measurements", "proposals", "history", "roofline", "finalists"]
"""What an answer holds. ``compilations``, ``checks`` and ``measurements``: a list ``results`` with a row for each
config, its fields those of ``CompileResult``, ``CheckResult`` and ``Measurement`` (:mod:`tools.harness.results`).
``proposals``: a list ``proposals`` of configs, ``stop`` and ``why``. ``history``: ``question`` and ``rows`` of the
memory. ``roofline``: ``bound`` and ``share_of_floor`` of one config. ``finalists``: a list ``finalists``; its rows
without ``beside`` are tried first by the final proof, among their like. Empty: anything else, shown as it is."""


@dataclass(frozen=True)
class Declaration:
    """What others need to know about a tool, so that they need not know its name."""

    doing: str = ""
    """What a person sees while it runs, such as ``measuring``; empty for the tool's name."""
    activity: Activity = "look"
    returns: Returns = ""
    on_device: bool = False
    """Whether it runs configs on the device: with ``--approve`` a person is asked first."""
    spends_evaluations: bool = False
    """Whether it may spend evaluations: once it has measured something correct, a proof is expected."""

    def recorded(self) -> dict[str, Any]:
        """As a trace keeps it."""
        return asdict(self)

    @classmethod
    def of_recorded(cls, row: Mapping[str, Any]) -> Declaration:
        """The reverse of :meth:`recorded`. A value that this version does not know is left at its default: another
        version may have written it."""
        known: dict[str, Any] = {
            name: row[name]
            for name, choices in (("activity", get_args(Activity)), ("returns", get_args(Returns)))
            if row.get(name) in choices
        }
        known |= {name: row[name] for name in ("on_device", "spends_evaluations") if isinstance(row.get(name), bool)}
        return cls(doing=str(row.get("doing", "")), **known)


UNDECLARED = Declaration()
"""Of a tool that nothing is known about."""
