"""Record the gallery's traces that need no GPU anew: ``python -m tests.agent.replay.record_gallery``.

Their paths become those of a user called user, and the seals are made anew; nothing else is touched. The third trace,
live-h200.jsonl, is a run of ``python -m agent "maximise fused TFLOPS" --device cuda:0`` on an H200.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from agent.trace.trace import Trace, read_trace
from tests.agent.loop.killed import Place
from tests.agent.trace.large import GALLERY

HOME = "/home/user/.local/share"


def publish(place: Place, name: str) -> None:
    """The place's trace, without the folder it was recorded in."""
    found, target = place.trace(), GALLERY / name
    assert found is not None
    target.unlink(missing_ok=True)
    with closing(Trace(target)) as trace:
        for event in read_trace(found).events:
            text = json.dumps(event.body)
            for folder in (place.folder / "data", place.folder):
                text = text.replace(str(folder), HOME)
            trace.copy(replace(event, body=json.loads(text)))
    print(target, target.stat().st_size)


def record() -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = Place(Path(folder) / "whole", seed=0, evaluations=40)
        whole.finish()
        publish(whole, "embedded-recorded-h200.jsonl")
        killed = Place(Path(folder) / "killed", seed=1, evaluations=24)
        killed.kill_in("compile_kernel")
        killed.kill_in("check_correctness")
        killed.finish()
        publish(killed, "killed-and-resumed-h200.jsonl")


if __name__ == "__main__":
    record()
