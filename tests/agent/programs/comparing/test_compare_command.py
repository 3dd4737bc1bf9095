"""``python -m agent compare``: turns, intervals from pairs, one sentence for what fails. The programs are shells."""

from __future__ import annotations

import json

import pytest
import torch

from agent.cli.commands import main
from kernels.tuned.tuned_file import write_table
from kernels.tuned.tuned_table import TunedTable

TUNED = '[ -n "$AUTOKERNEL_APPLY" ]'
COUNT = "n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) > n; "
"""Counts the runs, so that their figures differ."""


@pytest.fixture
def compare(tmp_path, monkeypatch, capfd):
    """A function: exit code, stdout and stderr of ``compare`` with a shell program in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    write_table(TunedTable(), tmp_path / "tuned.json")

    def run(program, *options):
        code = main(["compare", "tuned.json", *options, "--", "sh", "-c", program])
        return (code, *capfd.readouterr())

    return run


def printing(without, with_):
    return f'{COUNT}if {TUNED}; then echo "step {with_} ms"; else echo "step {without} ms"; fi'


@pytest.mark.process
def test_pairs_are_run_in_turns_after_a_run_of_each_to_warm_up(compare, tmp_path):
    compare(f"{TUNED} && echo b >> order || echo a >> order", "--pairs", "5")
    assert (tmp_path / "order").read_text().split() == list("ab" + "ab" + "ba" + "ab" + "ba" + "ab")
    (tmp_path / "order").unlink()
    compare(f'{TUNED} && echo b$TRITON_CACHE_DIR >> order || echo "a$TRITON_CACHE_DIR" >> order', "--cold")
    cold = (tmp_path / "order").read_text().split()
    assert [line[0] for line in cold] == list("abbaabbaab")
    assert len(set(cold)) == 10


@pytest.mark.process
@pytest.mark.parametrize(
    ("without", "with_", "options", "word", "code"),
    [
        ("2.0$n", "1.0$n", (), "faster", 0),
        ("1.0$n", "2.0$n", (), "slower", 3),
        ("1.0$n", "2.0$n", ("--higher-is-better",), "faster", 0),
        ("1.$((n % 3))", "1.$((n % 3))", (), "no difference", 3),
        ("5", "5", (), "no difference", 3),
    ],
)
def test_the_interval_of_the_pairs_decides(compare, without, with_, options, word, code):
    pattern = r"^step ([\d.]+) ms$"
    found, out, _ = compare(printing(without, with_), "--metric", pattern, "--json", *options)
    result = json.loads(out)
    assert (found, result["word"]) == (code, word)
    speedup = result["speedup"]
    assert speedup["low"] <= speedup["value"] <= speedup["high"]
    assert (speedup["low"] > 1) == (word == "faster")


@pytest.mark.process
def test_wall_time_counts_without_a_metric(compare):
    code, out, _ = compare(f"{TUNED} || sleep 0.2")
    assert code == 0
    assert out.startswith("wall time, s: without 0.2")
    assert "No row of the table served a launch" in out


@pytest.mark.process
@pytest.mark.parametrize(
    ("program", "options", "code", "message"),
    [
        ("echo no; echo why >&2; exit 4", (), 1, "the program ended with code 4 without the table: why"),
        (f"if {TUNED}; then exit 7; fi", (), 1, "ended with code 7 with the table: it printed nothing"),
        ("echo step", ("--metric", "step (.*) ms"), 1, "nothing in the program's output without the table matches"),
        ("echo step one ms", ("--metric", "step (.*) ms"), 1, "'one', which 'step (.*) ms' matches, is no number"),
        ("echo step 0 ms", ("--metric", "step (.*) ms"), 1, "the metric is 0 without the table"),
        ("true", ("--metric", r"step \d+"), 2, r"--metric 'step \d+' has no group"),
        ("true", ("--metric", "step ("), 2, "is no regular expression"),
        ("true", ("--same", "out.pt"), 1, "the program did not write out.pt without the table"),
        ("true", ("--same", "."), 2, "--same . is a folder"),
        ("true", ("--same", "tuned.json"), 2, "--same tuned.json is the table"),
    ],
)
def test_what_fails_is_one_sentence(compare, program, options, code, message):
    found, _, err = compare(program, *options)
    assert found == code
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err
    assert err.count("warm-up") <= (2 if "with the table" in message else 1)  # the program may run for hours


@pytest.mark.process
def test_a_file_that_the_program_does_not_write_is_left_as_it_is(compare, tmp_path):
    precious = tmp_path / "weights.pt"
    precious.write_text("the only copy")
    for program in ("true", "exit 3"):
        code, _, err = compare(program, "--same", "weights.pt")
        assert code == 1
        assert precious.read_text() == "the only copy"
    assert "ended with code 3" in err
    assert compare("echo new > weights.pt", "--same", "weights.pt")[0] == 3
    assert precious.read_text() == "new\n"
    assert not [p.name for p in tmp_path.iterdir() if "compare" in p.name]


@pytest.mark.process
def test_what_is_saved_is_compared(compare, tmp_path):
    torch.save({"w": torch.arange(4.0)}, tmp_path / "a.pt")
    torch.save({"w": torch.arange(4.0) * (1 + 1e-4)}, tmp_path / "b.pt")
    program = f"{TUNED} && cp b.pt out.pt || cp a.pt out.pt; {TUNED} || sleep 0.1"
    code, out, _ = compare(program, "--same", "out.pt")
    assert code == 1
    assert "Saved with and without the table: not the same: tensors differ by at most 0.0001" in out
    assert "Saved in two runs without it: the same: every byte is equal." in out
    assert compare(program, "--same", "out.pt", "--tolerance", "1e-3")[0] == 0
    code, out, _ = compare(f"{COUNT}echo $n > out.pt; {TUNED} || sleep 0.1", "--same", "out.pt")
    assert code == 0
    assert "The program does not save the same twice" in out
