"""Rows as tables: nothing is lost, and much is saved."""

from __future__ import annotations

import json

from agent.turn.config_tables import compact, compact_call, dumps
from tests.agent.follower import rows_of

FIELDS = ("tile", "num_warps", "flat")
ROWS = [
    {"config": {"tile": 16, "num_warps": 4, "flat": False}, "status": "correct", "ms": 0.123456, "num_warps": 5},
    {"config": {"tile": 32, "num_warps": 4, "flat": False}, "status": "compile", "reason": "no registers left"},
    {"config": {"tile": 64, "num_warps": 4, "flat": True}, "status": "correct", "ms": 1234.5, "num_warps": 4},
]


def test_rows_become_a_table_that_holds_all_of_them():
    made = compact({"results": ROWS, "best": ROWS[0], "evaluations_left": 3})
    found = made["results"]
    assert found["same"] == {"num_warps": 4}
    assert found["columns"] == ["tile", "flat", "status", "ms", "_num_warps", "more"]
    assert (made["best"], made["evaluations_left"]) == ({"row": 1}, 3)
    read = [{k: v for k, v in row.items() if v is not None} for row in rows_of(found, FIELDS)]
    assert read == [{**ROWS[0], "ms": 0.1235}, ROWS[1], {**ROWS[2], "ms": 1234.0}]


def test_a_table_of_eight_configs_is_less_than_half_as_long():
    configs = [{f"FIELD_{i}": i if i < 9 else n for i in range(12)} for n in range(8)]
    rows = [{"config": c, "status": "correct", "ms": 0.1} for c in configs]
    assert len(dumps(compact({"results": rows}))) < 0.5 * len(json.dumps({"results": rows}))
    assert len(dumps(compact_call({"configs": configs}))) < 0.5 * len(json.dumps({"configs": configs}))


def test_what_is_no_list_of_configs_stays():
    for answer in ({"rows": [1, 2]}, {"results": ROWS[:1]}, {"rows": [{"pattern": "x", "example": {}}]}):
        assert compact(answer) == json.loads(json.dumps(answer).replace("0.123456", "0.1235"))
