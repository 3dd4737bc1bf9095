"""The proof that a change of the source left the machine code alone."""

import json

import pytest
from click.testing import CliRunner

from tests.bench.machine_code import draw, main
from tools.harness.landscapes.named import named_landscape

pytestmark = pytest.mark.compile
NAME = "rms_norm-32768x4096-fp16-h200"


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("code") / "before.json"
    done = run("compile", out, "--only", NAME, "--sample", 1, "--workers", 1)
    assert done.exit_code == 0, done.output
    return out


@pytest.mark.long
def test_equal_code_is_told_from_other_code(made, tmp_path):
    (code,) = json.loads(made.read_text())["code"][NAME].values()
    assert len(code) == 16
    int(code, 16)
    assert run("compare", made, made).exit_code == 0
    other = tmp_path / "after.json"
    other.write_text(made.read_text().replace(code, "0" * 16))
    found = run("compare", made, other)
    assert found.exit_code == 1
    assert f"{code} -> {'0' * 16}" in found.output
    assert "1 of 1 configs have other machine code" in found.output


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [("BLOCK_N", "BLOCK", "other configs"), ('"triton": "', '"triton": "9.', "other compilers")],
)
def test_what_cannot_be_compared_is_refused(made, tmp_path, old, new, why):
    text = made.read_text()
    assert old in text
    other = tmp_path / "after.json"
    other.write_text(text.replace(old, new))
    found = run("compare", made, other)
    assert found.exit_code == 2
    assert why in found.output


def test_a_sample_depends_on_its_seed_alone():
    landscape = named_landscape(NAME)
    assert draw(landscape, 5, 1) == draw(landscape, 5, 1) != draw(landscape, 5, 2)
    assert len(draw(landscape, None, 0)) == len(landscape.entries) == len(draw(landscape, 10**6, 0))


def test_a_landscape_that_is_not_there_is_one_sentence(tmp_path):
    found = run("compile", tmp_path / "x.json", "--only", "nothing")
    assert found.exit_code == 2
    assert "there is no landscape nothing" in found.output
