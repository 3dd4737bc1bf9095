"""The graph for LangGraph's studio and server (``langgraph.json``): a run whose input is ``{"goal": …}``.

The nodes are the loop's own. The steps stream with the model's reasons, ``approve`` is an interrupt, and the result is
the object that ``python -m agent --json`` prints. Nothing of the loop is imported before a run begins, because the
server asks for the graph on its event loop.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Overwrite
from pydantic import BaseModel, Field

from agent.loop.state import State
from agent.trace.trace import JSON

MOST_STEPS = 100_000
"""A net under the loop's own limits; the library's default of 25 would end a run in the middle."""


class Request(BaseModel):
    """What is tuned; the options are those of ``python -m agent``."""

    goal: str = Field(description="What to tune, in words, such as: maximise fused TFLOPS", min_length=1)
    kernel: str | None = Field(None, description="A registered kernel, path.py:NAME or module:NAME.")
    shape: str | None = Field(None, description="The problem's dimensions in the kernel's order, 4096x4096x4096.")
    dtype: str | None = Field(None, description="fp16, bf16 or fp8, as far as the kernel has it.")
    options: dict[str, str | int | float | bool] | None = Field(
        None, description="Other fields of the kernel's problem."
    )
    device: str | None = Field(None, description="auto (default), cuda:N, cuda:all, or recorded[:LANDSCAPE].")
    model: str | None = Field(None, description="Who decides: embedded (default, no key), or a model's name.")
    base_url: str | None = Field(None, description="A server that speaks the OpenAI protocol.")
    effort: str | None = Field(None, description="How hard a reasoning model thinks.")
    api: str | None = Field(None, description="auto, responses or chat.")
    max_evals: int | None = Field(None, ge=1, description="Configs measured at most.")
    max_seconds: float | None = Field(None, gt=0, description="Seconds of search at most.")
    max_tokens: int | None = Field(None, ge=1, description="Model tokens at most.")
    max_cost: float | None = Field(None, gt=0, description="US dollars for the model at most.")
    max_model_calls: int | None = Field(None, ge=1, description="Messages of the model at most.")
    against: list[str] | None = Field(None, description="The only baselines that the verdict is judged by.")
    bitwise: bool = Field(False, description="Prove only what gives the bits of the owner's launch. Needs a GPU.")
    memory: str | None = Field(None, description="The SQLite file of all attempts.")
    approve: bool = Field(False, description="Interrupt before each batch that runs on the device.")
    cold: bool = Field(False, description="Start without what earlier runs know.")
    yes: bool = Field(False, description="Leave words of the goal out that are not understood.")
    seed: int = Field(0, ge=0, description="Seed.")


class Answer(BaseModel):
    """What comes of a run."""

    outcome: dict[str, Any]
    """The object that ``python -m agent --json`` prints; ``{"error", "exit_code"}`` for a goal that cannot be run."""
    steps: list[str]
    """The lines that the terminal would show: what was done and why."""


class Served(State, total=False):
    """The loop's state and the run that it belongs to."""

    run: str
    steps: Annotated[list[str], operator.add]


def make_graph(config: RunnableConfig) -> Any:
    """The compiled graph: open → decide → act → … → verify → report. Built anew for whoever asks; nothing is opened.

    `config` changes nothing: the server passes it to every factory."""
    return build()


def build(checkpointer: Any = None) -> Any:
    """The graph; a server brings its own checkpointer."""
    graph: Any = StateGraph(Served, input_schema=Request, output_schema=Answer)
    graph.add_node("open", open_run, input_schema=Request, destinations=("decide", END))
    for name in ("decide", "act", "verify", "report"):
        graph.add_node(name, in_run(name))
    graph.add_edge(START, "open")
    graph.add_conditional_edges("decide", after_decide)
    graph.add_edge("act", "decide")
    graph.add_edge("verify", "report")
    graph.add_edge("report", END)
    return graph.compile(checkpointer=checkpointer).with_config(recursion_limit=MOST_STEPS)


def open_run(request: Request) -> Command[Any]:
    """Read the goal and open the run. A goal that cannot be run is the outcome: the server keeps what an exception says
    from its clients."""
    from agent.errors import AgentError
    from agent.loop.graph import start
    from agent.loop.state import fresh

    try:
        objective, memory, notes = objective_of(request)
        served = served_runs().begin(objective, memory, request.base_url, notes)
    except AgentError as e:
        state: JSON = {**fresh([]), "run": "", "outcome": {"error": str(e), "exit_code": e.exit_code}}
        lines = [f"error: {e}"]
    else:
        state, lines = {**start(served.context), "run": served.context.run_id}, served.watch.take()
    # A thread may hold an earlier run: its messages and steps are not this run's.
    update = state | {"messages": Overwrite(state["messages"]), "steps": Overwrite(lines)}
    return Command(update=update, goto=END if state["outcome"] else "decide")


def objective_of(request: Request) -> tuple[Any, Any, list[str]]:
    """The objective that `request` states, the memory's path, and what the user should know. Raises UsageError."""
    from pathlib import Path

    from agent.goal.goal import Given
    from agent.goal.request import requested
    from agent.models.choose import api_name, model_name
    from agent.models.effort import read_effort

    name = model_name(request.model, request.base_url)
    given = Given(
        kernel=request.kernel,
        shape=request.shape,
        dtype=request.dtype,
        options=tuple(f"{field}={value}" for field, value in (request.options or {}).items()),
        device=request.device,
        model=name,
        effort=read_effort(request.effort),
        api=api_name(request.api, name),
        max_evals=request.max_evals,
        max_seconds=request.max_seconds,
        max_tokens=request.max_tokens,
        max_cost=request.max_cost,
        max_model_calls=request.max_model_calls,
        against=tuple(request.against or ()),
        bitwise=request.bitwise,
        approve=request.approve,
        yes=request.yes,
        seed=request.seed,
    )
    objective, notes = requested(request.goal, given, request.cold)
    return objective, Path(request.memory) if request.memory else None, notes


def in_run(name: str) -> Callable[[Served], JSON]:
    """A node of the loop, with what the state's run needs."""

    def node(state: Served) -> JSON:
        import time

        from langgraph.errors import GraphInterrupt
        from langgraph.runtime import Runtime

        from agent.errors import AgentError
        from agent.loop import graph

        served = served_runs().get(state["run"])
        if served.asked is not None:
            served.context.actions.excuse(time.monotonic() - served.asked)
            served.asked = None
        try:
            found: JSON = getattr(graph, name)(state, Runtime(context=served.context))
        except GraphInterrupt:
            served.asked = time.monotonic()
            raise
        except AgentError as e:
            served.watch.notify(f"error: {e}")  # the thread goes on from here when it is run again without input
            served_runs().close(state["run"])
            raise
        if name == "report":
            served_runs().close(state["run"])
        return found | {"steps": served.watch.take()}

    node.__name__ = name
    return node


def after_decide(state: Served) -> Literal["verify", "act", "decide"]:
    from agent.loop.graph import after_decide as chosen

    return chosen(state)


_RUNS: list[Any] = []


def served_runs() -> Any:
    """This process's open runs."""
    from agent.serve.served_runs import ServedRuns

    if not _RUNS:
        _RUNS.append(ServedRuns())
    return _RUNS[0]
