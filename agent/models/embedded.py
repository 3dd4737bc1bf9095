"""The model that needs no key and no network: a fixed way through the same tools.

It reads what earlier runs found, takes the planner's proposals in batches, compiles them, measures those that compile,
and asks again until the planner says that the next evaluation is not worth its cost or the budget is spent; then it
checks the best, reads its roofline and concludes. It holds no state: its next message follows from the conversation
alone, so that it can go on where another process, or another model, left off: what that model measured counts, the
way it went does not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from agent.loop.prompt import TAKEOVER
from agent.models.base import Done, Message, Reply, ToolSchema, call_tool, done_calls
from agent.verdict.stressed_rows import rows_of_wrong
from memory.terms import variant_of

HISTORY, PROPOSE, COMPILE, CHECK, MEASURE, ROOFLINE, EDIT = (
    "query_history",
    "suggest_configs",
    "compile_kernel",
    "check_correctness",
    "run_benchmark",
    "roofline_report",
    "edit_kernel",
)
"""The tools that it calls."""
FIRST_BATCH = 8
"""Configs of the first measurement: what the cost model holds for best."""
BATCH = 6
"""Configs of each later one at most: the planner learns between batches."""
LARGEST_BATCH = 12
"""Of a kernel without a cost model, where a batch fills the compile pool. On three recorded spaces, 40 evaluations in
batches of 12 scored as batches of 6 do in the mean, and batches of 16 less (docs/PLANNER.md)."""
MOST_AT_ONCE = 32
"""Configs that a tool takes in one call. A batch is for one GPU: several measure as many each, up to this."""
FINALISTS = 3
EVERY = "every"
"""In place of a rewrite's name: all whose condition holds."""
ROUNDS = 3
"""Times that rewrites are tried, each on what the last one has made fastest."""
MOST_BARREN = 18
"""Configs in a row that did not compile, after which it gives up."""


class Embedded:
    """A deterministic policy over the message list."""

    name = "embedded"

    def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], seconds: float, tokens: int | None = None
    ) -> Reply:
        began = time.perf_counter()
        takeover = max((i for i, m in enumerate(messages) if is_takeover(m)), default=0)
        earlier, own = list(done_calls(messages[:takeover], tools)), list(done_calls(messages[takeover:], tools))
        evaluations = evaluations_at(messages[takeover]) if takeover else budget(messages)
        if evaluations is None:
            evaluations = evaluations_left(earlier, budget(messages))
        content, calls = next_move(
            own, evaluations, earlier, gpus(messages), rewrites(tools), compiles_at_once(messages)
        )
        message: Message = {"role": "assistant", "content": content}
        if calls:
            message["tool_calls"] = calls
        return Reply(message, usage=0, seconds=time.perf_counter() - began)


def is_takeover(message: Message) -> bool:
    return message["role"] == "user" and str(message["content"]).startswith(TAKEOVER)


def evaluations_at(takeover: Message) -> int | None:
    """Evaluations left when the planner took over; ``None`` in a trace that does not say."""
    number = str(takeover["content"]).removeprefix(TAKEOVER).strip(" :.").partition(" ")[0]
    return int(number) if number.isdecimal() else None


def budget(messages: Sequence[Message]) -> int:
    """Evaluations that the objective allows, from the user message."""
    return int(json.loads(messages[1]["content"])["budget"]["evaluations"])


def gpus(messages: Sequence[Message]) -> int:
    """How many measure at once."""
    return int(json.loads(messages[1]["content"]).get("gpus", 1))


def compiles_at_once(messages: Sequence[Message]) -> int:
    """Configs that fill the compile pool, if no cost model covers the kernel; 1 if batches stay small."""
    return int(json.loads(messages[1]["content"]).get("compiles_at_once", 1))


def rewrites(tools: Sequence[ToolSchema]) -> list[str]:
    """The rewrites of device code that ``edit_kernel`` knows; none unless that tool is there."""
    found = next((t.parameters for t in tools if t.name == EDIT), {})
    return [name for name in found.get("properties", {}).get("rewrite", {}).get("enum", ()) if name]


def next_move(
    own: Sequence[Done],
    evaluations: int,
    earlier: Sequence[Done] = (),
    gpus: int = 1,
    rewrites: Sequence[str] = (),
    at_once: int = 1,
) -> tuple[str, list[dict[str, Any]]]:
    """What to say and what to call, given its own calls so far, the evaluations that it had before them, and the calls
    of a model whose place it took. `rewrites` of device code are tried once something is measured."""
    if not own and not earlier:
        return "What do earlier runs know?", [
            call_tool(HISTORY, {"question": "best"}),
            call_tool(HISTORY, {"question": "nearest"}),
        ]
    done = [*earlier, *own]
    left = evaluations_left(own, evaluations)
    last = own[-1] if own else Done(HISTORY, {}, {})
    proposals = [config["config"] for config in last.result.get("proposals", ())]
    proposals = proposals[: last.result.get("ask_again_after", len(proposals))]
    if last.name == PROPOSE and proposals and not last.result.get("stop"):
        return "Compile the proposals.", [call_tool(COMPILE, {"configs": proposals})]
    if last.name == COMPILE:
        ready = [row["config"] for row in last.result.get("results", ()) if row["status"] == "correct"]
        if ready and left:
            return f"Measure {min(len(ready), left)}.", [call_tool(MEASURE, {"configs": ready[:left]})]
    first = not any(call.name == PROPOSE for call in own)
    all_known = last.name == PROPOSE and last.arguments.get("ignore_measurements") and not proposals
    if last.name == EDIT and left and (variants := variants_of(last)):
        return f"Measure {min(len(variants), left)} configs of variants.", [
            call_tool(MEASURE, {"configs": variants[: min(left, MOST_AT_ONCE)]})
        ]
    if rewrites and left and last.name == MEASURE and (parent := next_parent(done)) is not None:
        of = f"of the variant {parent}" if parent else "of its code"
        return f"Try known rewrites {of}.", [
            call_tool(EDIT, {"rewrite": EVERY, **({"parent": parent} if parent else {})})
        ]
    if (last.name in (HISTORY, MEASURE, COMPILE, EDIT) or all_known) and left and barren(own) < MOST_BARREN:
        count = FIRST_BATCH if first else BATCH
        count = max(count, min(at_once, LARGEST_BATCH))
        count = min(count * gpus, MOST_AT_ONCE)  # what is left decides nothing: a larger budget goes the same way
        # A model's measurements may mislead: what the planner would have measured first without them is measured too.
        unmoved = {"ignore_measurements": True} if first and earlier else {}
        return "What is worth trying next?", [call_tool(PROPOSE, {"count": count, **unmoved})]
    best = finalists(done)
    if last.name not in (CHECK, ROOFLINE) and best:
        return "Check the fastest.", [call_tool(CHECK, {"configs": best})]
    if last.name == CHECK:
        passed = [row["config"] for row in last.result.get("results", ()) if row["status"] == "correct"]
        if passed:
            return "What limits the best?", [call_tool(ROOFLINE, {"config": passed[0]})]
    return conclusion(done), []


def variants_of(call: Done) -> list[dict[str, Any]]:
    """The configs of the variants that a call made, the first of each variant first."""
    lists = [v["configs"] for v in call.result.get("variants", ()) if v.get("configs")]
    longest = max(map(len, lists), default=0)
    return [configs[i] for i in range(longest) for configs in lists if i < len(configs)]


def next_parent(done: Sequence[Done]) -> str | None:
    """What to rewrite next: the owner's code (an empty text) once something is measured, then the variant that became
    the fastest by the last rewrites; None if nothing has."""
    edits = [i for i, call in enumerate(done) if call.name == EDIT]
    if not edits:
        return ""
    if len(edits) >= ROUNDS or edits[-1] != len(done) - 2:
        return None
    fastest = next(iter(finalists(done)), {})
    before = next(iter(finalists(done[:-1])), {})
    parent = variant_of(fastest)
    known = {str(done[i].arguments.get("parent", "")) for i in edits}
    return parent if parent and parent not in known and fastest != before else None


def evaluations_left(done: Sequence[Done], evaluations: int) -> int:
    """Evaluations left by the last answer that states them; 0 if a measurement was refused for the budget."""
    for call in reversed(done):
        if "evaluations_left" in call.result:
            return int(call.result["evaluations_left"])
        if call.declared.spends_evaluations and call.result.get("error") == "budget":
            return 0
    return evaluations


def barren(done: Sequence[Done]) -> int:
    """How many configs in a row were compiled without a measurement after them."""
    count = 0
    for call in reversed(done):
        if call.declared.returns == "measurements" and "error" not in call.result:
            break
        if call.declared.returns == "compilations":
            count += len(call.result.get("results", ()))
    return count


def finalists(done: Sequence[Done]) -> list[dict[str, Any]]:
    """The fastest configs measured here or known already, best first, without those of variants that turned out to be
    wrong."""
    times: dict[str, float] = {}
    wrong = wrong_variants(done)
    for call in done:
        rows = call.result.get("results", ()) if call.declared.returns == "measurements" else ()
        if call.declared.returns == "history" and call.result.get("known"):
            rows = call.result.get("rows", ())
        for row in rows:
            if row.get("status", "correct") == "correct" and row.get("ms") and variant_of(row["config"]) not in wrong:
                times[json.dumps(row["config"], sort_keys=True)] = row["ms"]
    return [json.loads(config) for config in sorted(times, key=lambda config: times[config])[:FINALISTS]]


def wrong_variants(done: Sequence[Done]) -> set[str]:
    """Hashes of the variants that were wrong on inputs that nobody chose."""
    return {str(row.get("variant")) for call in done for row in rows_of_wrong(call.result)}


def conclusion(done: Sequence[Done]) -> str:
    """Why it stops: the planner's words where the planner stopped it."""
    asked = [call.result for call in done if call.declared.returns == "proposals"]
    why = asked[-1].get("why", "") if asked and asked[-1].get("stop") else "the evaluations are used up"
    return f"Nothing could be measured: {why}" if not finalists(done) else f"The search is over: {why}"
