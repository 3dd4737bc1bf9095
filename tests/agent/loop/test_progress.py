"""The lines of a run about edited code."""

import pytest

from agent.loop.progress import describe_edit

PASSED = {"fence": "passed", "variant": "3f9a"}
CORRECT = {"status": "correct"}


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ({"fence": "refused", "why": "line 1: an import"}, "refused: line 1: an import"),
        (PASSED, "variant 3f9a is not compiled"),
        (PASSED | {"compile": CORRECT}, "variant 3f9a compiles"),
        (PASSED | {"compile": {"status": "compile", "reason": "no"}}, "variant 3f9a does not compile: no"),
        (
            PASSED | {"compile": CORRECT, "interpreter": CORRECT},
            "variant 3f9a compiles and is correct in the interpreter",
        ),
        (
            PASSED | {"compile": CORRECT, "interpreter": {"status": "correctness", "reason": "NaN"}},
            "variant 3f9a gives a wrong result: NaN",
        ),
        (PASSED | {"compile": CORRECT, "interpreter": {"status": "infrastructure"}}, "variant 3f9a compiles"),
        (
            PASSED | {"compile": CORRECT, "interpreter": CORRECT | {"programs": "16 of 132 programs"}},
            "variant 3f9a compiles and is correct in the interpreter: 16 of 132 programs",
        ),
        (
            PASSED | {"compile": CORRECT, "interpreter": {"status": "infrastructure", "reason": "not interpreted"}},
            "variant 3f9a compiles: not interpreted",
        ),
        (PASSED | {"wrong": "wrong on tiny inputs: 3"}, "variant 3f9a: wrong on tiny inputs: 3"),
        ({"rewrite": "streaming", "applies": False, "why": "it loops"}, "streaming is not made: it loops"),
        (
            {"variants": [{"compile": "correct"}, {"compile": "compile"}], "left_out": {"one pass": "no"}},
            "2 known rewrites made, of which 1 compile; 1 left out",
        ),
        ({"variants": [], "left_out": {"one pass": "no", "streaming": "no"}}, "none of 2 known rewrites applies"),
        ({"functions": {}, "variants": []}, ""),
        ({"results": []}, ""),
    ],
)
def test_what_became_of_an_edit(answer, line):
    assert describe_edit(answer) == line
