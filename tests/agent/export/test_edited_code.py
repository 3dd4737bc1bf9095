"""The report page shows the variants of a run: parents, reasons, differences, and times against owner and floor."""

from types import SimpleNamespace

from agent.export.edited_code import variants_made
from agent.export.pages.run_page import export
from agent.export.reader import read_story
from agent.export.story import Call
from agent.trace.trace import read_trace
from tests.agent.trace.large import GALLERY

OWNERS = "def scale(x_ptr, n):\n    tl.store(x_ptr, 1.0)"
FIRST = "def scale(x_ptr, n):\n    # faster\n    tl.store(x_ptr, 2.0)"
SECOND = "def scale(x_ptr, n):\n    tl.store(x_ptr, 3.0)"


def call(result, **arguments):
    return SimpleNamespace(name="edit_kernel", arguments=arguments, result=result)


def passed(name, **more):
    return {"fence": "passed", "variant": name, "compile": {"status": "correct"}, **more}


def attempt(ms, edit="", status="correct"):
    return SimpleNamespace(config={"BLOCK": 1, **({"edit": edit} if edit else {})}, status=status, ms=ms)


def story(calls, attempts=(), floor_ms=None):
    turns = [SimpleNamespace(number=i, calls=[c]) for i, c in enumerate(calls, 1)]
    return SimpleNamespace(turns=turns, attempts=list(attempts), setting=SimpleNamespace(floor_ms=floor_ms))


def test_lineage_differences_and_times():
    shown = {"functions": {"scale": {"quoted": OWNERS, "device_functions": {}}}, "variants": []}
    limit = {"before": "latency", "after": "DRAM"}
    found = variants_made(
        story(
            [
                call(shown),
                call(passed("aa", limit=limit), source=FIRST, reason="it waits"),
                call(passed("bb"), source=SECOND, reason="more", parent="aa"),
            ],
            [
                attempt(4.0),
                attempt(5.0),
                attempt(2.0, "aa X=1"),
                attempt(1.0, "aa X=2", "correctness"),
                attempt(1.0, "bb"),
            ],
            0.5,
        )
    )
    first, second = found
    assert (first.hash, first.parent, first.reason, first.verdict) == ("aa", "", "it waits", "correct")
    assert (first.ms, first.times_owner, first.share_of_floor, first.depth) == (2.0, 2.0, 0.25, 0)
    assert first.limits == "latency → DRAM"
    assert [line for line in first.changed if line[0] in "+-"] == [
        "-    tl.store(x_ptr, 1.0)",
        "+    tl.store(x_ptr, 2.0)",
    ]
    assert (second.parent, second.depth, second.times_owner) == ("aa", 1, 4.0)
    assert "-    tl.store(x_ptr, 2.0)" in second.changed


def test_refusals_and_known_rewrites():
    rewrites = {
        "variants": [{"rewrite": "streaming", "variant": "cc", "compile": "correct", "configs": []}],
        "limits": [],
    }
    refused = {"fence": "refused", "why": "line 1: open is not listed", "line": 1}
    broken = passed("dd", interpreter={"status": "correctness", "reason": "off by 3"})
    sampled = passed("ee", interpreter={"status": "correct", "programs": "16 of 5,000 programs"})
    found = variants_made(
        story(
            [
                call(rewrites, rewrite="every"),
                call(refused, source="def f(:", reason="a"),
                call(broken, source=FIRST),
                call(sampled, source=FIRST),
            ]
        )
    )
    assert [(v.hash, v.verdict) for v in found] == [
        ("cc", "correct"), ("", "refused: line 1: open is not listed"), ("dd", "interpreter: correctness: off by 3"),
        ("ee", "correct: 16 of 5,000 programs"),
    ]  # fmt: skip
    assert found[0].reason == "streaming"
    assert found[1].changed == ("def f(:",)
    assert found[2].ms is None


def test_answers_that_hold_no_variant_are_left_out():
    assert variants_made(story([call({"error": "edits"}), call(None), call({"rewrite": "x", "applies": False})])) == []


def test_the_page_quotes_what_a_model_wrote():
    run = read_story(read_trace(GALLERY / "embedded-recorded-h200.jsonl"))
    assert "Edited code" not in export(run)
    given = {"source": "def f(x):\n    return x < 1", "reason": "<script>"}
    run.turns[-1].calls.append(Call("t1", "edit_kernel", given, 0.0, result=passed("aa11")))
    page = export(run)
    assert "Edited code" in page
    assert "<code>aa11</code>" in page
    assert "&lt;script&gt;. correct" in page
    assert "return x &lt; 1" in page


def test_a_variant_that_was_wrong_later_has_that_verdict_and_no_time():
    why = "wrong on tiny inputs: off by 3"
    rows = [{"variant": "aa", "config": {"edit": "aa"}, "status": "correctness", "reason": why}]
    rows.append({"variant": "bb", "left_out": "no time"})
    measured = SimpleNamespace(name="run_benchmark", arguments={}, result={"stressed": rows})
    sent_again = call({"fence": "passed", "variant": "cc", "wrong": why}, source=SECOND)
    told = story(
        [call(passed("aa"), source=FIRST), call(passed("bb"), source=SECOND), measured, sent_again],
        [attempt(2.0, "aa"), attempt(1.0, "bb")],
    )
    assert [(v.hash, v.verdict, v.ms) for v in variants_made(told)] == [
        ("aa", f"correctness: {why}", None), ("bb", "correct", 1.0), ("cc", f"correctness: {why}", None),
    ]  # fmt: skip
