"""The report page shows what limits a config, from the answer of ``explain_kernel`` in the trace."""

from types import SimpleNamespace

from agent.export.pages.run_page import evidence

ANSWER = {
    "limit": {"name": "DRAM", "share": 0.97, "why": "537 MB"},
    "next": {"name": "L2 port", "share": 0.4, "why": ""},
    "busy": {"DRAM": 0.97, "L2 port": "<b>", "issue slots": 0.3},
    "lines": {"rms_norm.py:40": 0.38},
    "hardware": "H200",
}


def story(*answers):
    return SimpleNamespace(turns=[SimpleNamespace(calls=[SimpleNamespace(result=a) for a in answers])])


def test_the_last_explanation_is_shown_and_what_is_no_number_is_not():
    found = evidence(story({"results": []}, ANSWER, None))
    assert found["limits"] == [("DRAM", 0.97, "537 MB"), ("L2 port", 0.4, "")]
    assert found["busy"] == {"DRAM": 0.97, "L2 port": 0.0, "issue slots": 0.3}
    assert found["lines"] == {"rms_norm.py:40": 0.38}


def test_a_run_without_one_has_no_section():
    assert evidence(story({"limit": "DRAM"}, None)) is None
