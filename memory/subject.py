"""The subject of an export: the latest verdicts of one problem on one device in one regime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from memory import queries
from memory.attempt import Row, parse_row
from memory.store import Memory

STEPS = ("benchmark", "proof", "check", "compile")
"""The verdict of a config is that of the first of these steps that it has, or the first failure among them."""


class SubjectError(ValueError):
    """The options name no problem or device, or several. The message is one sentence with the choices."""


@dataclass(frozen=True)
class Subject:
    """One problem, one environment, one regime, and what is known of each config there."""

    kernel: str
    source_hash: str
    label: str
    problem: dict[str, Any]
    environment: Row
    regime: str
    verdicts: list[Row]
    """One attempt per config: the fastest first, the failed ones last. ``compiled`` is the config's compile attempt."""

    def correct(self) -> list[Row]:
        """The verified measurements, the fastest first."""
        return [v for v in self.verdicts if v["status"] == "correct" and v["kind"] == "benchmark" and v["ms"]]

    def fastest(self, count: int) -> list[Row]:
        """At most `count` verified measurements, the fastest first. Raises SubjectError if there is none."""
        found = self.correct()
        if not found:
            raise SubjectError(f"{self.label} has no verified measurement on {self.environment['device']}")
        return found[:count]


def find(
    memory: Memory, kernel: str | None, problem: str | None, environment: str | None, regime: str | None
) -> Subject:
    """The one subject that the options name. `environment` is a part of a device's name or an environment's number.

    Raises SubjectError if there is none or more than one."""
    found = [p for p in queries.problems(memory, kernel, problem) if queries.environments(memory, p["id"])]
    names = list(dict.fromkeys(f"{p['kernel']} {p['label']}" for p in found))
    if not names:
        raise SubjectError("the memory holds nothing about such a problem: see `python -m memory best`")
    exact = [p for p in found if p["label"] == problem]
    if len(names) > 1 and not exact:
        raise SubjectError(f"name one problem with --kernel and --problem: {'; '.join(names[:5])}")
    chosen = (exact or found)[0]  # the newest version of the source: older ones are not mixed in
    devices = []
    for number in queries.environments(memory, chosen["id"]):
        row = memory.ask("SELECT * FROM environments WHERE id = ?", [number])[0]
        named = environment is None or environment == str(number)
        if named or (environment and not environment.isdecimal() and environment.lower() in row["device"].lower()):
            devices.append(row)
    # Where nothing was timed, such as a machine that only compiled, there is little to export.
    devices = [d for d in devices if _is_timed(memory, chosen["id"], d["id"])] or devices
    if len(devices) != 1:
        listed = "; ".join(
            f"{d['id']} {d['device']}" for d in devices or memory.ask("SELECT id, device FROM environments")[:5]
        )
        raise SubjectError(f"name one device with --device, by number or a part of its name: {listed}")
    rows = _attempts(memory, chosen["id"], devices[0]["id"])
    regimes = sorted({r["regime"] for r in rows if r["regime"]})
    if regime is None and len(regimes) > 1:
        raise SubjectError(f"times of two regimes are not mixed: name one with --regime: {', '.join(regimes)}")
    regime = regime or (regimes[0] if regimes else "burst")
    return Subject(
        kernel=chosen["kernel"],
        source_hash=chosen["source_hash"],
        label=chosen["label"],
        problem=dict(queries.values_of(chosen["problem"])),
        environment=devices[0],
        regime=regime,
        verdicts=_per_config([r for r in rows if r["regime"] in (None, regime)]),
    )


def _is_timed(memory: Memory, problem_id: int, environment_id: int) -> bool:
    where = "problem_id = ? AND environment_id = ? AND ms IS NOT NULL"
    return bool(memory.ask(f"SELECT 1 FROM verdicts WHERE {where} LIMIT 1", [problem_id, environment_id]))


def _attempts(memory: Memory, problem_id: int, environment_id: int) -> list[Row]:
    rows = memory.ask(
        "SELECT a.*, c.config FROM verdicts v JOIN attempts a ON a.id = v.attempt_id "
        "JOIN configs c ON c.id = v.config_id WHERE v.problem_id = ? AND v.environment_id = ? "
        "AND v.status <> 'infrastructure' ORDER BY a.id",
        [problem_id, environment_id],
    )
    return [{"uid_hex": r["uid"].hex()} | parse_row(r) for r in rows]


def _per_config(rows: list[Row]) -> list[Row]:
    steps: dict[str, dict[str, Row]] = {}
    for row in rows:
        steps.setdefault(row["config_id"], {})[row["kind"]] = row
    verdicts = []
    for tried in steps.values():
        by_step = [tried[s] for s in STEPS if s in tried]
        verdict = next((r for r in by_step if r["status"] != "correct"), by_step[0])
        verdicts.append(verdict | {"compiled": tried.get("compile")})
    return sorted(verdicts, key=lambda v: (v["status"] != "correct", v["ms"] is None, v["ms"] or 0.0, v["id"]))
