"""Honest edits pass the fence, compile, and compute in the interpreter what the owner's code computes."""

import json
import subprocess
import sys

import pytest

from tests.kernels.editing.launched import launched_edits
from tests.kernels.editing.launched.more_edits import MORE_EDITS

EDITS = [*launched_edits.EDITS, *MORE_EDITS]
TOLERANCE = 1e-5


def results(*how):
    command = [sys.executable, "-m", "tests.kernels.editing.launched.edit_results", *how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def wrong(found):
    tolerance = {name: (*rest, *({}, "", TOLERANCE)[len(rest) :])[2] for name, _, _, *rest in EDITS}
    return {n: v for n, v in found.items() if not isinstance(v, float) or not v <= tolerance[n]}


def test_there_are_at_least_a_hundred_and_fifty():
    assert len({name for name, *_ in EDITS}) == len(EDITS) >= 150


@pytest.mark.process
def test_some_launched_edits_compute_what_their_owners_compute():
    assert wrong(results("interpret", "12")) == {}


@pytest.mark.process
@pytest.mark.long
def test_launched_edits_compute_what_their_owners_compute():
    found = results("interpret")
    assert len(found) == len(EDITS)
    assert wrong(found) == {}


@pytest.mark.process
@pytest.mark.compile
@pytest.mark.long
def test_launched_edits_compile():
    found = results("compile")
    assert len(found) == len(EDITS)
    assert wrong(found) == {}
