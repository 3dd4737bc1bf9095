"""Edits of Liger's kernels that a language model wrote: the fence takes them, and they compute what the owner's do."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("liger_kernel", reason="pip install liger-kernel")

from agent.loop.prompt import DATA
from tests.bench.bench_edits import LAUNCHES
from tests.bench.written_edits import written_edits
from tests.bench.written_player import Writer
from tests.bench.written_results import arguments, variant_of

MOST_DIFFERENCE = 2e-6
"""Of results in fp32: sums in another order."""


def test_there_is_one_for_each_launch_of_the_bench_and_the_fence_takes_it():
    edits = {edit.kernel: edit for edit in written_edits()}
    assert set(edits) == set(LAUNCHES)
    small = arguments()
    for name, edit in edits.items():
        variant, owner, _ = variant_of(edit, small[name][0])
        assert variant.name == owner.name == name


def test_a_kernel_without_a_written_edit_is_refused():
    with pytest.raises(LookupError, match="no written edit"):
        Writer().respond([{"role": "system", "content": f'{DATA}{{"kernel":"captured.other"}}'}], [], 1.0)


@pytest.mark.long
@pytest.mark.parametrize("words", [[], ["compile"]])
def test_they_compute_what_the_owners_do_and_compile(words):
    command = [sys.executable, "-m", "tests.bench.written_results", *words]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    assert set(found) == set(LAUNCHES)
    if not words:
        assert max(found.values()) < MOST_DIFFERENCE, found
