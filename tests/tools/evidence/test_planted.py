"""From the code alone: the planted limit is named, and the healthy twin has another."""

from __future__ import annotations

import json

import pytest

from kernels.hardware import hardware_named
from tests.tools.evidence.exam import KERNELS
from tests.tools.evidence.planted_others import OTHERS, Histogram, Ragged
from tools.evidence.answer import MOST_BYTES, answer, page
from tools.evidence.differences import differences, text_of
from tools.evidence.explain_config import SUMMARY, CannotExplain, explain_config, explain_kept

pytestmark = pytest.mark.compile
QUICK = [k for k in KERNELS if k.limit in ("DRAM", "L2 port", "special functions", "bank conflicts", "imbalance")]
SLOW = [k for k in KERNELS if k not in QUICK]
"""On demand: all 28 take a minute to compile and disassemble."""


@pytest.fixture(scope="module")
def explained(compile_pool, tmp_path_factory):
    """A function: a planted kernel's config, explained for an H200 or another GPU."""
    folder = tmp_path_factory.mktemp("kept")

    def explain(kind, is_planted=True, gpu="H200"):
        spec, hardware = kind(), hardware_named(gpu)
        where = folder / f"{spec.name}-{is_planted}-{gpu}"
        if (where / SUMMARY).exists():
            return explain_kept(where)
        config = spec.config_type(planted=is_planted)
        return explain_config(spec, spec.default_problem(), config, hardware, compile_pool(gpu), folder=where)

    return explain


def check(explained, kind):
    ill, healthy = explained(kind).main.verdict, explained(kind, False).main.verdict
    assert ill.limit.name == kind.limit, ill.model
    assert healthy.limit.name != kind.limit, healthy.model
    assert 0 < ill.next.share <= ill.limit.share <= 1


@pytest.mark.parametrize("kind", QUICK, ids=lambda k: k.name)
def test_the_limit_is_named(explained, kind):
    check(explained, kind)


@pytest.mark.long
@pytest.mark.parametrize("kind", SLOW, ids=lambda k: k.name)
def test_the_limits_of_the_others_are_named(explained, kind):
    check(explained, kind)


@pytest.mark.long
@pytest.mark.parametrize("kind", [k for k in OTHERS if k not in (Ragged, Histogram)], ids=lambda k: k.name)
def test_the_second_exam(explained, kind):
    verdict = explained(kind).main.verdict
    assert verdict.limit.name == kind.limit, verdict.model


def test_lengths_among_the_inputs_show_imbalance(explained):
    found = explained(Ragged)
    assert found.main.verdict.limit.name == "imbalance"
    assert max(found.main.work.costs) > 20 * min(found.main.work.costs)
    assert not found.main.notes


@pytest.mark.long
def test_words_that_data_chooses_are_said_to_be_unknown(explained):
    """Which counters a histogram adds to passes through shared memory, where the walk does not follow: without a card
    its atomics are taken to be spread."""
    assert not explained(Histogram).main.work.atomic_words_known


def test_specialised_warps_do_what_they_are_told(explained, tmp_path_factory, compile_pool):
    """Each partition reads from shared memory what to do: the loading warp's bytes are counted, and nothing spins."""
    from kernels.registry import get

    spec, hardware = get("fused_matmul"), hardware_named("H200")
    problem = spec.parse_problem((1024, 1024, 1024), {})
    default = spec.default_config(problem, hardware).model_dump()
    config = spec.config_type.model_validate(
        default | {"family": "warp_specialized", "BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64, "num_warps": 8}
        | {"num_stages": 4, "GROUP_M": 8, "FLATTEN": False}
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("specialised")
    found = explain_config(spec, problem, config, hardware, compile_pool("H200"), folder=folder)
    work, blocks = found.main.work, found.main.launch.blocks
    assert not work.notes
    tiles = (1024 // 128) ** 2
    assert work.bulk_bytes * blocks == tiles * 1024 * (128 + 128) * 2
    assert 2 * sum(work.matrix.values()) * blocks == 2 * 1024**3


def test_an_answer_is_short_and_names_limit_lines_and_traffic(explained):
    found = explained(KERNELS[1])
    told = answer(found)
    assert len(json.dumps(told)) <= MOST_BYTES
    assert told["limit"]["name"] == "L2 port"
    assert told["bytes"]["through_l2_mb"] > 4 * told["bytes"]["problem_mb"] / 1.1 * 0.9
    assert told["loops"][0][1] == 512
    assert any(line.startswith("planted.py:") for line in told["lines"])
    assert "limit  L2 port" in page(found)


def test_what_changed_is_told(explained):
    special = KERNELS[5]
    found = differences(explained(special), explained(special, False))
    assert found["config"] == {"planted": [False, True]}
    assert found["limit"][1] == "special functions"
    assert found["estimated_ms"][1] > 2 * found["estimated_ms"][0]
    assert "MUFU.EX2" in found["opcodes"]["new"]
    assert "special" in found["warp_instructions"]
    assert "planted" in text_of(explained(special), explained(special, False))


def test_without_a_disassembler_ptx_still_speaks(explained, monkeypatch, tmp_path):
    from tools.evidence import explain_config as module

    kept = explained(KERNELS[0]).folder
    for sass in kept.glob("*.sass"):
        sass.unlink()
    monkeypatch.setattr(module, "disassembler", lambda: None)
    found = explain_kept(kept)
    assert found.main.verdict.limit.name == "DRAM"
    assert any("nvdisasm was not found" in note for note in found.main.notes)
    monkeypatch.setattr(module, "disassembler", lambda: str(tmp_path / "none"))
    assert any("cannot be run" in note for note in explain_kept(kept).main.notes)
    monkeypatch.setattr(module, "disassembler", lambda: "/bin/true")
    assert any("holds no instructions" in note for note in explain_kept(kept).main.notes)


def test_amd_code_is_read(explained):
    found = explained(KERNELS[5], gpu="MI300X")
    assert found.main.verdict.limit.name == "special functions"
    assert any("addresses are not followed on AMD" in note for note in found.main.notes)


def test_a_folder_without_code_is_one_sentence(tmp_path):
    with pytest.raises(CannotExplain, match="holds no kept code"):
        explain_kept(tmp_path)
