"""A landscape with a value of a wrong kind is refused in one sentence that names it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.evals.spaces import honest
from tools.harness.landscapes.files import read_landscape, write_landscape
from tools.harness.landscapes.readings import LandscapeError

RESULT = ("results", 0)
ABOUT = ("metadata", "autokernel")
TOO_LONG = 10**400


@pytest.fixture
def document(tmp_path) -> dict[str, Any]:
    write_landscape(honest(), tmp_path / "honest.json")
    found: dict[str, Any] = json.loads((tmp_path / "honest.json").read_text())
    return found


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("metadata", "baselines"), None, "baselines: it must be a list"),
        (("metadata", "baselines"), [1], "baselines.0: it must be a table"),
        (("metadata", "baselines"), [{"name": [1], "title": ""}], "baselines.0.name: it must be a text"),
        (("metadata", "baselines"), [{"title": ""}], "baselines.0.name: it is missing"),
        ((*ABOUT, "default"), [1], "default: it must be a table"),
        (("results",), [], "it holds no configuration"),
        (RESULT, "x", "results[0]: it must be a table"),
        (RESULT, {}, "results[0] lacks 'configuration'"),
        ((*RESULT, "configuration"), [1], "results[0]: configuration must be a table"),
        ((*RESULT, "times"), None, "results[0]: times must be a table"),
        ((*RESULT, "times", "compilation_time"), float("nan"), "results[0]: times.compilation_time must be a number"),
        ((*RESULT, "times", "compilation_time"), TOO_LONG, "results[0]: times.compilation_time must be a number"),
        ((*RESULT, "times", "validation"), -1, "results[0]: times.validation must be a number"),
        ((*RESULT, "times", "runtimes"), [1e-300], "results[0]: sets.A: a reading is not a positive time"),
        ((*RESULT, "run_seconds"), float("nan"), "results[0]: run_seconds: it must be"),
        ((*RESULT, "sets"), [1], "results[0]: sets must be a table"),
        ((*RESULT, "sets", "A"), "x", "results[0]: sets.A must be a table"),
        ((*RESULT, "sets", "B", "samples_ms"), [1e308], "results[0]: sets.B: a reading is not a positive time"),
        ((*RESULT, "compile"), "x", "results[0]: compile must be a table"),
    ],
)
def test_it_is_one_sentence(tmp_path, document, place, value, says):
    inner = document
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    (tmp_path / "odd.json").write_text(json.dumps(document))
    with pytest.raises(LandscapeError) as refused:
        read_landscape(tmp_path / "odd.json")
    assert says in str(refused.value)


def test_an_owners_config_that_is_none_of_the_configs_is_noted(tmp_path, document):
    for default, noted in (({"num_warps": 4, "BLOCK": 64, "order": "row"}, False), ({"num_warps": 4.0}, True)):
        document["metadata"]["autokernel"]["default"] = default
        (tmp_path / "odd.json").write_text(json.dumps(document))
        notes = read_landscape(tmp_path / "odd.json").notes
        assert [note.startswith("metadata.autokernel.default is none") for note in notes] == [True] * noted


@pytest.mark.parametrize("ms", [1e-300, 5e-324, 9e19])
def test_a_time_that_no_kernel_takes_counts_as_failed(tmp_path, ms):
    results = [
        {"configuration": {"x": x}, "measurements": [{"name": "time", "value": value, "unit": "s"}]}
        for x, value in enumerate((ms, 1.0))
    ]
    (tmp_path / "theirs.json").write_text(json.dumps({"metadata": {}, "results": results}))
    landscape = read_landscape(tmp_path / "theirs.json")
    assert [e.status for e in landscape.entries.values()] == ["runtime", "correct"]
    assert "neither a time nor an error" in landscape.notes[-1]


def test_a_space_without_a_parameter_is_refused(tmp_path):
    results = [{"configuration": {}, "measurements": [{"name": "time", "value": 1.0}]}]
    (tmp_path / "theirs.json").write_text(json.dumps({"metadata": {}, "results": results}))
    with pytest.raises(LandscapeError, match="it holds no configuration"):
        read_landscape(tmp_path / "theirs.json")


def test_a_folder_is_no_landscape(tmp_path):
    (tmp_path / "x.json").mkdir()
    with pytest.raises(LandscapeError, match=r"is a folder: give one of its \.json or \.json\.gz files"):
        read_landscape(tmp_path / "x.json")
