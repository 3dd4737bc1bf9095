"""What is known of somebody else's space before anything is measured."""

from pathlib import Path

import pytest

from evals.agents.found_kernel import UNKNOWN_GPU, FoundKernel
from evals.contest.briefing import Briefing, briefing_of
from evals.contest.disguise import disguise
from tools.harness.landscapes.files import read_landscape, write_landscape
from tools.harness.landscapes.named import list_landscapes
from tools.harness.landscapes.readings import Landscape, config_key

SPACES = Path(__file__).parents[2] / "bench" / "spaces"
OWNERS = {"num_warps": 8, "num_stages": 3, "maxnreg": None}


@pytest.fixture
def captured() -> Landscape:
    return read_landscape(SPACES / "liger-rms_norm_backward-h200.json.gz")


def values(spec: FoundKernel):
    return [spec.to_values(c) for c in spec.promising(spec.default_problem(), UNKNOWN_GPU)]


def test_the_owners_config_is_the_first_guess_and_its_neighbours_come_next(captured):
    spec = FoundKernel(briefing_of(captured))
    assert spec.to_values(spec.default_config(spec.default_problem(), UNKNOWN_GPU)) == OWNERS
    first, *near = values(spec)
    assert first == OWNERS
    assert all(sum(v[n] != OWNERS[n] for n in OWNERS) == 1 for v in near)
    assert [v["num_warps"] for v in near[:2]] in ([4, 16], [16, 4])
    assert {tuple(v) for v in near} == {tuple(OWNERS)}
    assert all(v["num_stages"] == 3 for v in near[: sum(v["num_stages"] == 3 for v in near)])  # stages last


def test_nothing_is_promising_if_the_owners_config_is_not_known(captured):
    spec = FoundKernel(briefing_of(captured.model_copy(update={"default": None})))
    assert values(spec) == []
    assert spec.to_values(spec.default_config(spec.default_problem(), UNKNOWN_GPU)) == briefing_of(captured).configs[0]


def test_an_owners_config_that_was_not_recorded_is_not_told(captured):
    gone = {k: e for k, e in captured.entries.items() if k != config_key(OWNERS)}
    assert briefing_of(captured.model_copy(update={"entries": gone})).default is None


def test_a_disguised_space_does_not_tell_the_owners_config(captured):
    for variant in ("renamed", "permuted"):
        assert disguise(captured, variant, 0)[0].default is None


def test_configs_that_lack_a_parameter_are_no_neighbours():
    owners = {"a": 1, "b": 2}
    configs = (owners, {"a": 1}, {"a": 1, "b": 4}, {"a": 3, "b": 4})
    spec = FoundKernel(Briefing("space", {"a": (1, 3), "b": (2, 4)}, configs, default=owners))
    assert values(spec) == [owners, {"a": 1, "b": 4}]


def test_the_owners_config_is_kept_in_the_file(captured, tmp_path):
    path = tmp_path / "kept.json.gz"
    write_landscape(captured, path)
    assert read_landscape(path).default == OWNERS


def test_landscapes_are_listed_by_name(captured, tmp_path):
    for name in ("x-h200-triton39", "x-h200"):
        write_landscape(captured.model_copy(update={"name": name}), tmp_path / f"{name}.json.gz")
    assert [x.name for x in list_landscapes(tmp_path)] == ["x-h200", "x-h200-triton39"]


def test_integers_of_any_size_have_neighbours():
    owners = {"a": 10**400, "b": 1}
    configs = (owners, {"a": 1, "b": 1}, {"a": 10**400, "b": 2})
    spec = FoundKernel(Briefing("space", {"a": (1, 10**400), "b": (1, 2)}, configs, default=owners))
    assert values(spec) == list(configs)


def test_a_value_that_is_no_number_is_the_same_in_every_config():
    configs = tuple({"a": float("nan"), "b": b} for b in (1, 2, 3))
    spec = FoundKernel(Briefing("space", {"a": (configs[0]["a"],), "b": (1, 2, 3)}, configs, default=configs[0]))
    assert [v["b"] for v in values(spec)] == [1, 2, 3]


@pytest.mark.parametrize("variant", ["renamed", "permuted"])
def test_integers_of_any_size_are_disguised(captured, variant):
    changed = [{**e.config, "num_stages": 10**400 + e.config["num_stages"]} for e in captured.entries.values()]
    entries = {
        config_key(c): e.model_copy(update={"config": c})
        for c, e in zip(changed, captured.entries.values(), strict=True)
    }
    briefing, names = disguise(captured.model_copy(update={"entries": entries}), variant, 0)
    assert len(names) == len(briefing.configs) == len(entries)


def test_a_space_may_be_larger_than_a_kernel_of_ours():
    configs = tuple({"x": x, "y": y} for x in range(201) for y in range(101))
    spec = FoundKernel(Briefing("space", {"x": tuple(range(201)), "y": tuple(range(101))}, configs))
    assert len(spec.space(spec.default_problem(), UNKNOWN_GPU)) == 20_301
