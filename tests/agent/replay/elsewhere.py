"""The little world of ``fake_actions`` for forks and for replays with live tools."""

from __future__ import annotations

import json
from pathlib import Path

from tests.agent.fake_actions import FakeActions


class Elsewhere(FakeActions):
    """Times are `slower` than in the little world; what a fork inherits is known and not measured again."""

    def __init__(self, objective, ledger: Path, slower=1.0, **options):
        super().__init__(objective, ledger, **options)
        self.slower = slower

    def inherit(self, events):
        for event in events:
            if event.type == "fork":
                return
            result = event.body.get("result", {})
            for row in result.get("results", ()) if "evaluations_left" in result else ():
                key = json.dumps(row["config"])
                if key not in self.measured():
                    with self.ledger.open("a") as f:
                        f.write(key + "\n")

    def run_benchmark(self, configs):
        answer = super().run_benchmark(configs)
        for row in [*answer["results"], answer["best"]]:
            row["ms"] = round(row["ms"] * self.slower, 6)
            row["ci_ms"] = [row["ms"] * 0.995, row["ms"] * 1.005]
        return answer

    def prove(self, key, config):
        proof = super().prove(key, config)
        proof["ms"] = proof["ms"] and proof["ms"] * self.slower
        for row in proof["comparisons"]:
            row["speedup"] /= self.slower
            row["ci"] = [x / self.slower for x in row["ci"]]
        return proof


def opener(ledger: Path, **options):
    """What a run is opened with; the actions are kept in ``opened``."""
    opened = []

    def open_(objective, memory, run_id, watch):
        opened.append(Elsewhere(objective, ledger, **options))
        return opened[-1]

    open_.opened = opened
    return open_
