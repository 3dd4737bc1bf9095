"""What LangGraph's studio opens, by the path that langgraph.json names."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_graph_is_found_by_its_path_and_draws_the_loop():
    [(name, where)] = json.loads((ROOT / "langgraph.json").read_text())["graphs"].items()
    path, _, factory = where.partition(":")
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawing = getattr(module, factory)({}).get_graph().draw_mermaid()
    for edge in (
        "__start__ --> decide",
        "decide -.-> act",
        "act --> decide",
        "decide -.-> verify",
        "verify --> report",
    ):
        assert edge in drawing
