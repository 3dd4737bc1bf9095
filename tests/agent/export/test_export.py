"""Runs for other eyes: the web page in a real browser, the formats of other tools."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest

from agent.cli.commands import main
from agent.export import atif, otel
from agent.export.pages import run_page
from agent.export.reader import read_story
from agent.trace.trace import read_trace
from tests.agent.cli.test_show import edited
from tests.agent.trace.large import GALLERY, example, write_large

TRACES = sorted(GALLERY.glob("*.jsonl"))
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> & \u2028 \ud83e"
)


def story_of(path):
    return read_story(read_trace(path))


def hostile(tmp_path):
    """A trace in which the model, a tool and the kernel's own words try to break out of the page."""

    def change(kind, key, body):
        if kind == "model_response":
            body["message"]["content"] = HOSTILE
        if kind == "tool_result":
            for row in body["result"].get("results", ()):
                row["reason"] = HOSTILE
        if kind == "header":
            body["setting"]["label"] = HOSTILE
            body["objective"]["goal"] = HOSTILE
        return body

    return edited(example(), tmp_path / "hostile.jsonl", change)


class Outside(HTMLParser):
    """What a page would load, and how many scripts it has."""

    def __init__(self):
        super().__init__()
        self.loads, self.scripts = [], 0

    def handle_starttag(self, tag, attributes):
        self.scripts += tag == "script"
        self.loads += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]


@pytest.mark.parametrize("path", TRACES, ids=[path.name for path in TRACES])
def test_the_page_is_one_file_that_loads_nothing(path):
    page = run_page.export(story_of(path))
    found = Outside()
    found.feed(page)
    assert found.loads == []
    assert found.scripts == 2
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|https?://(?!www\.w3\.org/2000/svg)", page)


@pytest.mark.parametrize("path", TRACES, ids=[path.name for path in TRACES])
def test_the_pages_times_add_up_to_the_searchs_time(path):
    story = story_of(path)
    spent, total = run_page.sum_activities(story), run_page.total_seconds(story)
    assert total == story.outcome.seconds
    assert sum(spent.values()) == pytest.approx(total, abs=0.05)
    page = run_page.export(story)
    assert f"Together {total:.1f} s" in page
    assert f"{len(story.turns)} turns, {total:.0f} s" in page


def test_a_recorded_run_says_so_on_top_and_a_live_one_does_not():
    recorded, live = (run_page.export(story_of(GALLERY / f"{n}-h200.jsonl")) for n in ("embedded-recorded", "live"))
    banner = 'class="recorded">Recorded: no GPU was used. Times were looked up in fused_matmul-4096x4096x4096'
    assert banner in recorded
    assert recorded.index(banner) < recorded.index('class="verdict')
    assert 'class="recorded"' not in live


def test_the_page_says_what_the_terminal_says_of_the_best_and_of_the_end():
    story = story_of(example())
    facts = dict(run_page.facts(story))
    assert facts["time"] == f"{story.outcome.best.ms:.4f} ms, {story.outcome.best.value:.1f} TFLOP/s"
    assert facts["search"].startswith(f"{story.outcome.evaluations} evaluations, ")
    spent = story.outcome.model_copy(update={"evaluations": 99})
    assert dict(run_page.facts(dataclasses.replace(story, outcome=spent)))["search"].startswith("99 evaluations, ")
    assert facts["ended because"] == "the planner found nothing more worth measuring"
    setting = story.setting.model_copy(update={"metric": "gbps", "unit": "GB/s"})
    assert dict(run_page.facts(dataclasses.replace(story, setting=setting)))["time"].endswith(" GB/s")


def test_a_run_that_proved_nothing_lists_its_attempts_and_why(tmp_path):
    def change(kind, key, body):
        if kind == "end":
            body |= {"proven": False, "why": "level with unfused"}
        if kind == "tool_result":
            for row in body["result"].get("results", ())[1:]:
                row |= {"status": "timeout", "reason": "no answer in 60 s", "ms": None}
        return body

    story = story_of(edited(example(), tmp_path / "lost.jsonl", change))
    tried = run_page.list_tried(story)
    failed = sum(a.status == "timeout" for a in story.attempts)
    assert failed > 3
    assert f"{failed} × timeout: no answer in 60 s" in tried
    assert any(line.startswith("final sitting 1: 1.087x over unfused") for line in tried)
    assert "<h2>What was tried</h2>" in run_page.export(story)
    assert "<h2>What was tried</h2>" not in run_page.export(story_of(example()))


def test_text_of_a_run_cannot_become_markup(tmp_path):
    page = run_page.export(story_of(hostile(tmp_path)))
    found = Outside()
    found.feed(page)
    assert found.scripts == 2
    assert "<img" not in page
    assert "&lt;/script&gt;" in page


def test_export_writes_beside_the_trace_and_overwrites_only_when_told(tmp_path, capsys):
    trace = tmp_path / "a.jsonl"
    trace.write_bytes(example().read_bytes())
    for name, suffix in (("html", ".html"), ("atif", ".atif.json"), ("otel", ".otel.json")):
        line = ["export", str(trace), "--format", name]
        assert main(line) == 0
        assert capsys.readouterr().out.strip() == str(tmp_path / f"a{suffix}")
        assert main(line) == 2
        assert "--force" in capsys.readouterr().err
        assert main([*line, "--force"]) == 0
        capsys.readouterr()
    capsys.readouterr()
    assert main(["export", str(trace), "--output", "-"]) == 0
    assert capsys.readouterr().out.startswith("<!doctype html>")
    assert main(["export", str(trace), "--output", str(tmp_path / "no" / "a.html")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def page_of(trace, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(run_page.export(story_of(trace)), encoding="utf-8", errors="replace")
    return page


@pytest.mark.parametrize("path", TRACES, ids=[path.name for path in TRACES])
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_the_page_works_in_a_browser(browser, tmp_path, path, width, dark):
    story = story_of(path)
    browser.open(page_of(path, tmp_path), width, dark)
    assert browser.log() == []
    count = lambda selector: browser.ask(f"return document.querySelectorAll({json.dumps(selector)}).length")  # noqa: E731
    assert count("#progress circle") == len(story.attempts)
    assert count("#roofline circle") == sum(a.ms is not None for a in story.attempts)
    assert count("#ways polyline") == len(run_page.proposals(story))
    assert count("#time rect") == len(story.spans)
    assert count("#proof circle") == len(story.outcome.baselines)
    assert count("#conversation > details") == len(story.turns)
    assert count("#attempts tbody tr") == len(story.attempts)
    assert browser.ask("return document.documentElement.scrollWidth <= innerWidth")
    paper = browser.ask("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) < 200) is dark
    stray = "return [...document.querySelectorAll('svg *')].filter(n => /NaN|undefined/.test(n.outerHTML)).length"
    assert browser.ask(stray) == 0


def test_the_page_of_a_kernel_that_counts_no_operations_is_whole(browser, tmp_path):
    """It has no arithmetic intensity, whose logarithm would end the script before the attempts are listed."""

    def change(kind, key, body):
        if kind == "header":
            body["setting"] |= {"flops": 0, "metric": "gbps", "unit": "GB/s"}
        return body

    story = story_of(edited(example(), tmp_path / "bytes.jsonl", change))
    browser.open(page_of(tmp_path / "bytes.jsonl", tmp_path), 390)
    assert browser.log() == []
    assert "Its roof is the bandwidth" in browser.ask("return document.getElementById('roofline').textContent")
    assert browser.ask("return document.querySelectorAll('#attempts tbody tr').length") == len(story.attempts)


def test_the_tables_sort_and_filter(browser, tmp_path):
    story = story_of(example())
    browser.open(page_of(example(), tmp_path))
    column = "return [...document.querySelectorAll('#attempts tbody tr')].map(r => r.cells[3].textContent)"
    press = "[...document.querySelectorAll('#attempts th button')].find(b => b.textContent === 'ms').click();"
    times = [f"{a.ms:.4f}" for a in story.attempts if a.ms is not None]
    up = [text for text in browser.ask(press + column) if text]
    assert up == sorted(times, key=float)
    down = [text for text in browser.ask(press + column) if text]
    assert down == sorted(times, key=float, reverse=True)
    assert browser.ask("return document.querySelectorAll('th[aria-sort=descending]').length") == 1
    word = "num_warps=16"
    expected = sum(f"{word} " in f"{' '.join(f'{k}={v}' for k, v in a.config.items())} " for a in story.attempts)
    find = f"const s = document.querySelector('input'); s.value = '{word}'; s.dispatchEvent(new Event('input'));"
    assert len(browser.ask(find + column)) == expected


def test_the_config_can_be_copied_from_a_file(browser, tmp_path):
    browser.open(page_of(example(), tmp_path))
    press = "document.getElementById('copy').click(); return window.getSelection().toString()"
    assert json.loads(browser.ask(press)) == story_of(example()).outcome.best.config
    assert browser.ask("return document.getElementById('copy').textContent") in ("Copied", "Selected")


def test_the_conversation_holds_every_call_and_its_answer(browser, tmp_path):
    story = story_of(example())
    browser.open(page_of(example(), tmp_path))
    browser.ask("for (const d of document.querySelectorAll('#conversation > details')) d.open = true")
    settle(browser)
    browser.ask("for (const d of document.querySelectorAll('#conversation details details')) d.open = true")
    settle(browser)
    shown = [json.loads(text) for text in browser.ask(JSON_BLOCKS)]
    for call in (call for turn in story.turns for call in turn.calls):
        assert call.arguments in shown
        assert call.result in shown
    assert browser.log() == []


JSON_BLOCKS = (
    "return [...document.querySelectorAll('#conversation pre')].map(p => p.textContent).filter(t => t[0] == '{')"
)


def settle(browser):
    """Toggle events come after the script that opened them."""
    browser.call("POST", "/execute/async", {"script": "setTimeout(arguments[0], 100)", "args": []})


def test_a_hostile_run_stays_text(browser, tmp_path):
    browser.open(page_of(hostile(tmp_path), tmp_path))
    browser.ask("for (const d of document.querySelectorAll('details')) d.open = true")
    settle(browser)
    assert browser.ask("return document.title.startsWith('fused_matmul')")
    assert browser.ask("return document.images.length") == 0
    assert browser.ask("return document.getElementById('conversation').textContent.includes('<img src=x')")
    assert browser.log() == []


def test_a_run_that_measured_nothing_has_a_page(browser, tmp_path):
    record = example().read_bytes().splitlines(keepends=True)
    path = tmp_path / "short.jsonl"
    for length in (1, 6, 20):
        path.write_bytes(b"".join(record[:length]))
        browser.open(page_of(path, tmp_path))
        assert browser.log() == []
        assert "Not finished" in browser.ask("return document.body.textContent")


def test_two_thousand_attempts_have_a_page(browser, tmp_path):
    write_large(tmp_path / "large.jsonl", 10_000)
    browser.open(page_of(tmp_path / "large.jsonl", tmp_path), 390)
    assert browser.until("return document.querySelectorAll('#progress circle').length", 1999) == 1999
    assert browser.ask("return document.querySelectorAll('#attempts tbody tr').length") == 250
    everything = "document.querySelector('#attempts button.more').click();"
    assert browser.ask(everything + "return document.querySelectorAll('#attempts tbody tr').length") == 1999
    assert browser.log() == []


@pytest.mark.parametrize("path", TRACES, ids=[path.name for path in TRACES])
def test_atif_keeps_the_specifications_rules(path):
    story = story_of(path)
    found = json.loads(atif.export(story))
    assert found["schema_version"] == "ATIF-v1.7"
    assert [step["step_id"] for step in found["steps"]] == list(range(1, len(found["steps"]) + 1))
    for step in found["steps"]:
        agent_only = {"model_name", "tool_calls", "metrics", "reasoning_content"} & set(step)
        assert step["source"] == "agent" or not agent_only
        if step.get("llm_call_count") == 0:
            assert "metrics" not in step
        ids = {call["tool_call_id"] for call in step.get("tool_calls", ())}
        assert {result["source_call_id"] for result in step.get("observation", {}).get("results", ())} <= ids
    calls = [call for step in found["steps"] for call in step.get("tool_calls", ())]
    assert len(calls) == sum(len(turn.calls) for turn in story.turns)
    assert found["final_metrics"]["total_steps"] == len(found["steps"])


def test_atif_counts_the_tokens_of_a_language_model(tmp_path):
    def change(kind, key, body):
        if kind == "model_response":
            body |= {"model": "m", "usage": 120, "tokens": 120, "prompt_tokens": 100, "cached_tokens": 60, "cost": 0.25}
        return body

    found = atif.trajectory(story_of(edited(example(), tmp_path / "t.jsonl", change)))
    turns = sum(step["source"] == "agent" for step in found["steps"])
    total = found["final_metrics"]
    assert total["total_prompt_tokens"] == 100 * turns
    assert total["total_completion_tokens"] == 20 * turns
    assert total["total_cached_tokens"] == 60 * turns
    assert total["total_cost_usd"] == 0.25 * turns


@pytest.mark.parametrize("path", TRACES, ids=[path.name for path in TRACES])
def test_otel_spans_form_one_tree_within_the_run(path):
    story = story_of(path)
    (resource,) = json.loads(otel.export(story))["resourceSpans"]
    spans = resource["scopeSpans"][0]["spans"]
    root = spans[0]
    assert len({span["spanId"] for span in spans}) == len(spans)
    assert {span["traceId"] for span in spans} == {root["traceId"]}
    assert all(re.fullmatch(r"[0-9a-f]{16}", span["spanId"]) for span in spans)
    assert re.fullmatch(r"[0-9a-f]{32}", root["traceId"])
    assert all(span["parentSpanId"] == root["spanId"] for span in spans[1:])
    for span in spans:
        assert int(root["startTimeUnixNano"]) <= int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
    names = [span["name"] for span in spans]
    assert names[0] == "invoke_agent triton-autokernel"
    assert sum(name.startswith("chat ") for name in names) == len(story.turns)
    calls = sum(len(turn.calls) for turn in story.turns)
    assert sum(name.startswith("execute_tool ") for name in names) == calls + len(story.proofs)
    for span in spans:
        keys = {attribute["key"] for attribute in span["attributes"]}
        assert "gen_ai.operation.name" in keys
        if span["name"].startswith("execute_tool "):
            assert {"gen_ai.tool.name", "gen_ai.tool.call.id", "gen_ai.tool.type"} <= keys


def test_two_exports_are_equal():
    story = story_of(example())
    for module in (run_page, atif, otel):
        assert module.export(story) == module.export(story_of(example()))
