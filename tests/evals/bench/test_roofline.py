"""``python -m kernels roofline``: roofs and results say where they come from, and are drawn."""

import dataclasses
import json
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from evals.bench.commands import cli
from evals.bench.roofline import Roofs, of_datasheet, rows
from evals.bench.roofline_svg import NARROW, drawing, marks
from kernels.hardware import hardware_named
from kernels.ops.tuned_files import Entry
from memory import file
from tools.harness.measuring import telemetry

H200 = hardware_named("H200")
SVG = "{http://www.w3.org/2000/svg}"
ROOFS = Roofs(H200, 4e12, {"fp16": 800e12, "bf16": 800e12}, "made up")
SOFTMAX = Entry("softmax", "H200", {"M": 32768, "N": 4096, "dtype": "bf16"}, {"num_warps": 4}, 0.2)
MATMUL = Entry("matmul", "H200", {"M": 4096, "N": 4096, "K": 4096, "dtype": "fp16"}, {"BLOCK_M": 128}, 0.2)


@pytest.fixture(autouse=True)
def no_gpu_and_no_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(telemetry, "gpus_present", lambda: 0)
    monkeypatch.setattr(file, "default_path", lambda: tmp_path / "none.db")


def call(*words):
    return CliRunner().invoke(cli, ["roofline", *words])


def test_shares_are_of_the_roof_that_binds():
    softmax, matmul = rows([MATMUL, SOFTMAX], ROOFS)
    assert (softmax["kernel"], softmax["bound"]) == ("softmax", "memory")
    assert softmax["share_of_roof"] == pytest.approx(4 * 32768 * 4096 / 4e12 / 0.2e-3)
    assert (matmul["kernel"], matmul["bound"]) == ("matmul", "compute")
    assert matmul["share_of_roof"] == pytest.approx(2 * 4096**3 / 800e12 / 0.2e-3)


def test_what_is_no_longer_known_is_left_out():
    gone = Entry("tea", "H200", {}, {}, 1.0)
    old = Entry("softmax", "H200", {"Q": 3}, {}, 1.0)
    assert rows([gone, old], ROOFS) == []


def test_the_drawing_has_a_dot_a_result_and_a_roof_a_dtype():
    svg = ElementTree.fromstring(drawing(rows([MATMUL, SOFTMAX], ROOFS), ROOFS, "a < b"))
    dots = svg.findall(f"{SVG}circle")
    assert len(dots) == 2
    assert len(svg.findall(f"{SVG}path[@class='roof']")) == 2
    assert "matmul 4096x4096x4096 fp16: 687.2 TFLOP/s" in dots[0].find(f"{SVG}title").text
    assert float(dots[0].get("cy")) < float(dots[1].get("cy")), "more TFLOP/s stands higher"
    assert float(dots[0].get("cx")) > float(dots[1].get("cx"))
    for node in svg.iter():
        for place in ("cx", "cy", "x1", "x2", "y1", "y2"):
            assert 0 <= float(node.get(place, 0)) <= 960


def test_a_phones_drawing_is_no_wider_than_a_phone_and_numbers_its_problems():
    svg = ElementTree.fromstring(drawing(rows([MATMUL, SOFTMAX], ROOFS), ROOFS, "a", NARROW))
    assert svg.get("viewBox") == "0 0 360 340"
    words = [node.text for node in svg.iter(f"{SVG}text")]
    assert [word[:2] for word in words if word[-1] == "%"] == ["2:", "1:"], "the fastest first; numbers are the table's"
    for node in svg.iter():
        for place in ("cx", "x1", "x2"):
            assert 0 <= float(node.get(place, 0)) <= 360


def test_words_that_stand_away_from_their_dot_are_joined_to_it():
    near = [dataclasses.replace(SOFTMAX, problem=SOFTMAX.problem | {"M": m}, ms=m * 7e-6) for m in (32768, 32000)]
    alone, together = (ElementTree.fromstring(drawing(rows(e, ROOFS), ROOFS, "")) for e in (near[:1], near))
    assert alone.findall(f"{SVG}line[@class='one']") == []
    assert len(together.findall(f"{SVG}line[@class='one']")) == 1


def test_marks_thin_out_over_many_decades():
    assert marks(0.9, 11) == [1, 2, 5, 10]
    assert marks(0.9, 11000) == [1, 10, 100, 1000, 10000]


def test_without_a_gpu_everything_is_recorded_and_says_so(tmp_path):
    svg, html = tmp_path / "r.svg", tmp_path / "r.html"
    answer = call("--svg", str(svg), "--html", str(html))
    assert answer.exit_code == 0, answer.output
    assert "fused_matmul" in answer.stdout
    assert "no GPU is used now" in answer.stdout
    assert "results: the recorded landscapes" in answer.stdout
    assert ElementTree.parse(svg).getroot().tag == f"{SVG}svg"
    assert "no GPU is used now" in html.read_text()
    assert "4096x4096x4096 fp16 leaky_relu (recorded)" in html.read_text()
    assert "problem: 32768x4096 fp16 (recorded)" in answer.stdout


def test_results_from_a_file_under_the_datasheets_roofs(tmp_path):
    path = tmp_path / "tuned.json"
    row = {"kernel": "softmax", "device": "NVIDIA H200", "status": "correct", "fields": SOFTMAX.problem}
    path.write_text(json.dumps({"rows": [row | {"config": SOFTMAX.config, "ms": ms} for ms in (0.3, 0.2)]}))
    found = json.loads(call("--from", str(path), "--gpu", "h200", "--json").stdout)
    assert [r["ms"] for r in found["rows"]] == [0.2], "the best of a problem"
    assert found["roofs"]["bandwidth"] == of_datasheet(H200).bandwidth
    assert "not measured" in found["roofs"]["source"]
    assert found["results"] == str(path)
    assert [r["recorded"] for r in found["rows"]] == [False]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--gpu", "toaster"], "no facts about hardware"),
        (["--device", "tpu"], "write auto, recorded or cuda:N"),
        (["--from", "/nowhere.json"], "no file of tuned configs"),
        (["--svg", "/nowhere/x.svg"], "there is no folder /nowhere"),
        (["swiglu"], "knows no result of swiglu"),
        (["--gpu", "a100"], "on A100: give a file"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(words, says):
    answer = call(*words)
    assert answer.exit_code == 2
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr
