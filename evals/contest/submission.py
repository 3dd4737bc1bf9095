"""A language model's runs as a file that anyone can verify: the ledgers, and with each the whole transcript.

A run is verified without the model: the landscape answers the ledger's configs again, and every config of the ledger
stands in a tool's answer of the transcript, whose seal is unbroken. What is verified is that the figures follow from
these messages; who wrote the messages, only the sender knows."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.errors import AgentError
from agent.trace.trace import Record, read_trace
from evals.agents.registry import MODEL
from evals.contest.disguise import PLAIN
from evals.contest.ledger import RULES, Ledger, Over, Referee
from evals.errors import EvalsError
from memory.command_line.input_files import read_input
from memory.command_line.output_files import write_output
from tools.harness.landscapes.named import LandscapeError, named_landscape
from tools.harness.landscapes.readings import Landscape, config_key

FORMAT = "triton-autokernel submission"
VERSION = 1


def write_submission(path: Path, ledgers: Sequence[Ledger]) -> None:
    """Write the runs of the language models among `ledgers`. Raises EvalsError if there are none, or one of them kept
    no transcript."""
    runs = [x for x in ledgers if x.agent.startswith(MODEL)]
    if not runs:
        raise EvalsError("--submission holds runs of a language model, and there are none: add --model NAME")
    if lacking := [x for x in runs if x.transcript is None]:
        raise EvalsError(f"the run of {lacking[0].agent} on {lacking[0].landscape} kept no transcript: make it again")
    body = {"format": FORMAT, "version": VERSION, "rules": RULES, "runs": [run_row(x) for x in runs]}
    write_output(path, json.dumps(body, separators=(",", ":")) + "\n", "--submission")


def run_row(ledger: Ledger) -> dict[str, Any]:
    """A run with the facts that its transcript states: the model, as asked for and as the endpoint named it, and the
    prompt."""
    record = transcript_of(ledger)
    answers = [e.body for e in record.events if e.type == "model_response"]
    return {
        "ledger": ledger.as_json(),
        "ledger_sha256": ledger_hash(ledger),
        "transcript_sha256": hashlib.sha256((ledger.transcript or "").encode()).hexdigest(),
        "model": record.header["objective"]["model"],
        "answered_by": sorted({str(a["model"]) for a in answers}),
        "prompt": record.header["prompt"],
        "versions": record.header["versions"],
    }


def read_submission(path: Path) -> list[Ledger]:
    """The verified runs of a submission. Raises EvalsError with one sentence that says what does not hold."""
    try:
        body = json.loads(read_input(path))
        if body["format"] != FORMAT or body["version"] != VERSION:
            raise ValueError("another format")
        runs = [(Ledger.from_json(run["ledger"]), run) for run in body["runs"]]
    except OSError as e:
        raise EvalsError(f"cannot read {path}: {(e.strerror or str(e)).lower()}") from e
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise EvalsError(f"{path} is no submission of `python -m evals run --submission`") from e
    if not runs:
        raise EvalsError(f"{path} holds no run")
    for ledger, run in runs:
        if why := find_fault(ledger, run):
            raise EvalsError(f"{path} does not hold: {ledger.agent} on {ledger.landscape}, seed {ledger.seed}: {why}")
    return [ledger for ledger, _ in runs]


def find_fault(ledger: Ledger, run: dict[str, Any]) -> str | None:
    """What does not hold of a run; ``None`` if all of it does."""
    if ledger.rules != RULES:
        return f"it was counted by version {ledger.rules} of the rules, and this is version {RULES}: make it again"
    if ledger.variant != PLAIN:
        return f"it was played in the variant {ledger.variant}; submissions are ranked in the plain one"
    if run.get("transcript_sha256") != hashlib.sha256((ledger.transcript or "").encode()).hexdigest():
        return "its transcript was changed"
    try:
        landscape = named_landscape(ledger.source)
        record = transcript_of(ledger)
    except (LandscapeError, EvalsError) as e:
        return str(e)
    if landscape.file != ledger.file:
        return f"it was played on {ledger.file}, and here is {landscape.file}"
    if run_row(ledger) != run:
        return "what it says of itself does not follow from its ledger and its transcript"
    return find_row_fault(ledger, landscape) or find_transcript_fault(ledger, record)


def find_row_fault(ledger: Ledger, landscape: Landscape) -> str | None:
    """The landscape answers every row again: a row that differs, or one too many."""
    anew = Ledger(ledger.agent, ledger.landscape, ledger.source, ledger.file, PLAIN, ledger.seed, ledger.max_evals)
    referee = Referee(landscape, anew)
    for number, row in enumerate(ledger.rows, start=1):
        try:
            found = referee.measure(json.loads(row.config))
        except (Over, ValueError, RecursionError):
            return f"row {number} is one too many"
        # A check finds a failure without a time, and so does a compilation: the status is the same.
        if len(anew.rows) != number or (found.config, found.status, found.ms) != (row.config, row.status, row.ms):
            return f"row {number} is not what the landscape answers"
    return None


def find_transcript_fault(ledger: Ledger, record: Record) -> str | None:
    """The transcript is whole and unbroken, of this model, and its tools' answers hold the ledger's configs."""
    if record.torn or record.broken is not None:
        return "its transcript is broken"
    if record.header["objective"]["model"] != ledger.agent.removeprefix(MODEL):
        return "its transcript is of another model"
    if record.header["objective"]["limits"]["max_evals"] != ledger.max_evals:
        return "its transcript had another budget"
    answered = set()
    for event in record.events:
        result = event.body.get("result")
        rows = result.get("results") if event.type == "tool_result" and isinstance(result, dict) else None
        answered |= {config_key(row["config"]) for row in rows or () if isinstance(row, dict) and "config" in row}
    missing = [row.config for row in ledger.rows if row.config not in answered]
    return f"its transcript never had an answer about {missing[0][:200]}" if missing else None


def transcript_of(ledger: Ledger) -> Record:
    """The trace that a run kept. Raises EvalsError if it cannot be read."""
    try:
        data = base64.b64decode(ledger.transcript or "", validate=True)
        with tempfile.NamedTemporaryFile(suffix=".jsonl.gz") as file:
            file.write(data)
            file.flush()
            return read_trace(Path(file.name))
    except (binascii.Error, ValueError, AgentError) as e:
        raise EvalsError("its transcript cannot be read") from e


def ledger_hash(ledger: Ledger) -> str:
    """Of everything in the ledger but the transcript, which has its own."""
    body = {name: value for name, value in ledger.as_json().items() if name != "transcript"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
