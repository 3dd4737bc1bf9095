"""A patch turns the owner's file into one that holds the variant, and says what it cannot change."""

import importlib.util
import json
import linecache
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.commands import main
from kernels.editing.editable import editable
from kernels.editing.fencing.abstract_values import NUMBER, POINTER, whole
from kernels.editing.owner_function import owner_of
from kernels.editing.owner_launches import owner_function
from kernels.editing.patch_file import patch_of
from kernels.editing.rewrites import BY_NAME, rewritten
from kernels.editing.variants import keep, make_variant
from kernels.hardware import hardware_named
from kernels.registry import get

EXAMPLE = Path(__file__).parents[3] / "examples" / "autotuned_scale.py"
H200 = hardware_named("H200")
SOURCE = """
def twice(v):
    return libdevice.tanh(v)


def scale_bias(x_ptr, scale_ptr, bias_ptr, out_ptr, M, N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
               T: tl.constexpr):
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    cols = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    inside = (rows < M) & (cols < N)
    x = twice(tl.load(x_ptr + rows * N + cols, mask=inside).to(tl.float32))
    tl.store(out_ptr + rows * N + cols, x, mask=inside)
"""


@pytest.fixture
def made(tmp_path):
    """The example in a folder of its own, with a name that the variant brings too, and a variant of its kernel."""
    file = tmp_path / "mine.py"
    file.write_text(EXAMPLE.read_text().replace("class ScaleProblem", "twice = 2\n\n\nclass ScaleProblem"))
    reference = f"{file}:Scale"
    spec = get(reference)
    problem = spec.default_problem()
    owner, launch = owner_function(spec, problem, spec.default_config(problem, H200), H200, None)
    variant = make_variant(owner, SOURCE, {"T": (2, 4)}, "cdiv(M, BLOCK_M), grid_1")
    keep(variant, tmp_path / "variants")
    kept = editable(spec, tmp_path / "variants", reference).known_variants(problem, H200)
    assert [v.hash for v in kept] == [variant.hash]
    return file, reference, variant, launch


def test_the_patched_file_holds_the_variant(made):
    file, _, variant, launch = made
    patch = patch_of(variant, launch.function)
    file.write_text(patch.new_text)
    spec = get(f"{file}:Scale")
    assert len(spec.kernel.configs) == 12  # the owner's decorator is there
    again = owner_of(spec.kernel.fn, {})
    names = {part["name"]: part["source"] for part in again.parts.values()}
    assert set(names) == {"scale_bias", "twice_edited"}
    assert "x = twice_edited(tl.load(" in names["scale_bias"]
    assert "libdevice.tanh(v)" in names["twice_edited"]


def test_a_parameter_keeps_its_name_where_a_device_function_of_that_name_gets_another(made):
    _, _, variant, launch = made
    source = SOURCE.replace("def scale_bias", "def shifted(v, twice):\n    return v + twice\n\n\ndef scale_bias")
    source = source.replace("x = twice(", "x = shifted(1.0, twice=twice(0.5)) + twice(")
    patch = patch_of(make_variant(variant.owner, source, {"T": (2, 4)}), launch.function)
    assert "def shifted(v, twice):\n    return v + twice\n" in patch.new_text
    assert "x = shifted(1.0, twice=twice_edited(0.5)) + twice_edited(tl.load(" in patch.new_text


def test_no_unbound_local_has_a_name_of_the_file(made):
    """Triton would find what the file imports behind it."""
    _, _, variant, launch = made
    line = "    tl.store("
    unsure = SOURCE.replace(line, f"    if BLOCK_M > 1:\n        normal = x\n    x += normal.abs()\n{line}")
    patch = patch_of(make_variant(variant.owner, unsure, {"T": (2, 4)}), launch.function)
    assert "        normal_edited = x\n    x += normal_edited.abs()\n" in patch.new_text
    patch = patch_of(make_variant(variant.owner, unsure.replace("normal", "other"), {"T": (2, 4)}), launch.function)
    assert "        other = x\n    x += other.abs()\n" in patch.new_text


def test_a_new_name_is_none_that_the_variant_has(made):
    _, _, variant, launch = made
    source = SOURCE.replace("def scale_bias", "def twice_edited(v):\n    return v + 1\n\n\ndef scale_bias")
    source = source.replace(
        "x = twice(", "twice_edited_edited = 1.0\n    x = twice_edited_edited + twice_edited(0.5) + twice("
    )
    patch = patch_of(make_variant(variant.owner, source, {"T": (2, 4)}), launch.function)
    assert "def twice_edited(v):\n    return v + 1\n" in patch.new_text
    assert "x = twice_edited_edited + twice_edited(0.5) + twice_edited_edited_edited(tl.load(" in patch.new_text


OF_THE_OWNER = """
import triton
import triton.language as tl


@triton.jit
def twice(v):
    return v * 2


@triton.jit
def doubled(x_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x_ptr + at, twice(tl.load(x_ptr + at)))
"""
AROUND = """
def before(v):
    return twice(v) + 1


def twice(v):
    return twice(v) + 2


def doubled(x_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x_ptr + at, twice(before(tl.load(x_ptr + at))))
"""


def test_what_calls_the_owners_function_still_calls_it(tmp_path):
    path = tmp_path / "of_the_owner.py"
    path.write_text(OF_THE_OWNER)
    spec = importlib.util.spec_from_file_location("of_the_owner", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["of_the_owner"] = module
    try:
        spec.loader.exec_module(module)
        owner = owner_of(module.doubled, {"x_ptr": POINTER, "BLOCK": whole(16)})
        patch = patch_of(make_variant(owner, AROUND), module.doubled)
    finally:
        del sys.modules["of_the_owner"]
    for line in ("return twice(v) + 1", "def twice_edited(v):", "return twice(v) + 2", "twice_edited(before("):
        assert line in patch.new_text


@pytest.mark.skipif(shutil.which("git") is None, reason="git is missing")
def test_the_diff_applies(made, tmp_path):
    file, _, variant, launch = made
    patch = patch_of(variant, launch.function)
    subprocess.run(["git", "apply", "--unsafe-paths", "-"], input=patch.diff, text=True, cwd=tmp_path, check=True)
    assert file.read_text() == patch.new_text


LAST = """
import triton
import triton.language as tl


@triton.jit
def twice(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)"""


@pytest.mark.skipif(shutil.which("git") is None, reason="git is missing")
@pytest.mark.parametrize(
    "text",
    [LAST, f"{LAST}\n", LAST.replace("\n", "\r\n"), f"# one\n\f\n{LAST}", f"A = '\u2028\x1c'  # β\n{LAST}\nB = 1"],
    ids=["no newline at the end", "newline", "CRLF", "form feed", "separators in a text"],
)
def test_the_diff_applies_to_any_text(text, tmp_path):
    file = tmp_path / "last.py"
    file.write_bytes(text.encode())
    spec = importlib.util.spec_from_file_location("last", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["last"] = module
    spec.loader.exec_module(module)
    given = {"x_ptr": POINTER, "n": NUMBER, "BLOCK": whole(64)}
    owner = owner_of(module.twice, given)
    patch = patch_of(make_variant(owner, owner.part["source"].replace("* 2", "+ tl.load(x_ptr + at)")), module.twice)
    diff = tmp_path / "edit.patch"
    diff.write_bytes(patch.diff.encode())
    subprocess.run(["git", "apply", "--unsafe-paths", diff], cwd=tmp_path, check=True)
    assert file.read_bytes() == patch.new_text.encode()
    linecache.clearcache()
    spec.loader.exec_module(module)
    assert "+ tl.load(x_ptr + at)" in owner_of(module.twice, given).part["source"]


def test_the_command_prints_the_diff_and_notes(made, tmp_path, capsys):
    file, reference, variant, _ = made
    before = file.read_text()
    memory = str(tmp_path / "memory.db")
    assert main(["patch", variant.hash, "--kernel", reference, "--memory", memory]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("--- a/mine.py\n+++ b/mine.py\n")
    assert "grid (cdiv(M, BLOCK_M), grid_1)" in printed.err
    assert "T is a new constant" in printed.err
    assert main(["patch", variant.hash, "--kernel", reference, "--memory", memory, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["diff"] == printed.out
    assert file.read_text() == before


def test_a_variant_with_descriptors_needs_an_allocator_in_its_program(made):
    _, _, variant, launch = made
    assert not any("set_allocator" in note for note in patch_of(variant, launch.function).notes)
    tiles = rewritten(variant.owner, BY_NAME["block descriptors"])
    notes = patch_of(make_variant(variant.owner, tiles.source), launch.function).notes
    assert any("set_allocator" in note and "16 bytes" in note for note in notes)


@pytest.mark.parametrize(
    ("variant", "kernel", "says"),
    [("0123456789ab", "", "no variant"), ("../../x", "", "no hash"), ("", "nothing.py:Scale", "nothing.py")],
)
def test_what_is_not_there_is_one_sentence(variant, kernel, says, made, tmp_path, capsys):
    _, reference, known, _ = made
    given = [variant or known.hash, "--kernel", kernel or reference, "--memory", str(tmp_path / "memory.db")]
    assert main(["patch", *given]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
