"""The graph for LangGraph's studio and server (``langgraph.json``)."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig


def make_graph(config: RunnableConfig) -> Any:
    """The compiled loop: decide → act → … → verify → report. Built anew for whoever asks; nothing is opened.

    `config` changes nothing: the server passes it to every factory."""
    from agent.loop.graph import build

    return build()
