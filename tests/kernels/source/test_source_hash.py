"""A kernel's source hash changes with what its code means, and with nothing else."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernels import registry
from kernels.source.closure import source_text
from kernels.source.locate import SourceMissing
from tools.harness.landscapes.named import list_landscapes

ROOT = Path(__file__).parents[3]

SPEC = '''
"""A kernel that borrows from its neighbours."""
import math
import torch
import triton
import triton.language as tl
import borrowed
from borrowed import scaled as scale_it
from kernels.defaults import normal
from kernels.spec import Config, KernelSpec, Problem
from typing import Literal

FACTOR = 3
TABLE = {"big": 128}
op = tl.maximum
largest: tl.constexpr = tl.constexpr(7)


@triton.jit
def inner(x, LIMIT: tl.constexpr = 5):
    return op(x * FACTOR, LIMIT) + largest


@triton.jit(do_not_specialize=["n"])
def device(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Doc."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # where
    x = scale_it(inner(tl.load(x_ptr + at, mask=at < n)))
    tl.store(out_ptr + at, x, mask=at < n)


def made(step):
    def count(size):
        return size + step

    return count


counted = made(1)


def blocks(size: int, block: int = TABLE["big"]) -> int:
    """How many."""
    return math.ceil(counted(size) / block)


class MineProblem(Problem):
    dims = ("N",)
    N: int = 1024

    @property
    def size(self) -> int:
        return self.N


class MineConfig(Config):
    BLOCK: Literal[64, 128]


class Mine(KernelSpec[MineProblem, MineConfig]):
    name = "mine"
    metric = "gbps"
    problem_type = MineProblem
    config_type = MineConfig

    def inputs(self, problem, generator, device):
        return (normal((problem.N,), problem.torch_dtype, generator, device),)

    def launch(self, problem, config, inputs, out, hardware):
        grid = (borrowed.grid_of(blocks(problem.size, config.BLOCK)),)
        device[grid](inputs[0], out, problem.N, BLOCK=config.BLOCK, num_warps=self.warps())

    def warps(self):
        return 4

    def eager(self, problem, inputs):
        return inputs[0] * 2

    def unused(self):
        return 1
'''

BORROWED = """
import triton
import triton.language as tl


@triton.jit
def scaled(x):
    return x * 2


def grid_of(blocks):
    return max(1, blocks)


def elsewhere():
    return 1
"""


def write(folder, spec=SPEC, borrowed=BORROWED, names=("own", "borrowed")):
    """The hash as a new process finds it: modules of one name do not meet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{names[0]}.py").write_text(spec.replace("borrowed", names[1]))
    (folder / f"{names[1]}.py").write_text(borrowed)
    return f"{folder / names[0]}.py:Mine"


def hashes(names, cwd=ROOT, **environment):
    """What a new process finds."""
    code = "import os, sys\nfrom kernels import registry\nassert registry.__file__.startswith(os.getcwd())\n"
    code += "for n in sys.argv[1:]: print(registry.get(n).source_hash())"
    env = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-B", "-c", code, *names], capture_output=True, text=True, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def forked_hashes(reader, tmp_path):
    """The same from a fork of a process that has imported PyTorch and nothing of ours."""

    def found(names, installed=""):
        program = tmp_path / "program" / "hashes.py"
        program.parent.mkdir()
        program.write_text(
            "import sys\nfrom kernels import registry\nfor n in sys.argv[1:]: print(registry.get(n).source_hash())\n"
        )
        env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{installed}"}
        done = reader.python.run([str(program), *names], ROOT, env, 300)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return found


def replaced(text, *pairs):
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def own_hashes():
    """What this process finds for the kernels of the project, in their order."""
    return [registry.get(n).source_hash() for n in registry.names()]


SAME = {
    "comment": replaced(SPEC, ("# where", "# the elements of this program")),
    "docstrings": replaced(SPEC, ('"""Doc."""', '"""Another."""'), ('"""How many."""', '"""Blocks\n    or more."""')),
    "no docstring": replaced(SPEC, ('    """How many."""\n', "")),
    "order of imports": replaced(
        SPEC, ("import torch\nimport triton\n", "import triton\nimport torch\nimport os\n"), ("import math\n", "")
    ).replace("import os\n", "import os\nimport math\n"),
    "another name for a module": SPEC.replace("import triton.language as tl", "import triton.language as lang").replace(
        "tl.", "lang."
    ),
    "another name for a function": SPEC.replace("scale_it", "times"),
    "from import": replaced(
        SPEC, ("import borrowed\n", "from borrowed import grid_of\n"), ("borrowed.grid_of", "grid_of")
    ),
    "annotations of host code": replaced(
        SPEC, ("size: int, block: int", "size, block: 'float'"), ("-> int:\n    \"", "-> None:\n    \"")
    ),
    "layout of the text": SPEC.replace("at < n)))", "at\n        < n)\n    )\n    )"),
    "pass": replaced(SPEC, ("        return self.N\n", "        pass\n        return self.N\n")),
    "code that is not reached": replaced(SPEC, ("unused(self):\n        return 1", "unused(self):\n        return 2")),
    "a new function": SPEC + "\n\ndef new():\n    return 2\n",
    "order of functions": SPEC.replace("class MineConfig(Config):\n    BLOCK: Literal[64, 128]\n", "").replace(
        "class MineProblem", "class MineConfig(Config):\n    BLOCK: Literal[64, 128]\n\n\nclass MineProblem"
    ),
}  # fmt: skip
OTHER = {
    "a constant": replaced(SPEC, ("FACTOR = 3", "FACTOR = 4")),
    "the type of a constant": replaced(SPEC, ("FACTOR = 3", "FACTOR = 3.0")),
    "a constexpr constant": replaced(SPEC, ("tl.constexpr(7)", "tl.constexpr(8)")),
    "a table": replaced(SPEC, ('"big": 128', '"big": 256')),
    "an alias": replaced(SPEC, ("op = tl.maximum", "op = tl.minimum")),
    "a default of device code": replaced(SPEC, ("LIMIT: tl.constexpr = 5", "LIMIT: tl.constexpr = 6")),
    "a default of host code": replaced(SPEC, ('block: int = TABLE["big"]', "block: int = 64")),
    "a constexpr parameter": replaced(SPEC, ("n, BLOCK: tl.constexpr", "n, BLOCK")),
    "a typed parameter": replaced(SPEC, ("x_ptr, out_ptr, n, BLOCK", "x_ptr, out_ptr, n: tl.int64, BLOCK")),
    "an option of the decorator": replaced(SPEC, ('do_not_specialize=["n"]', "do_not_specialize=[]")),
    "noinline": replaced(SPEC, ("@triton.jit\ndef inner", "@triton.jit(noinline=True)\ndef inner")),
    "a called device function": replaced(SPEC, ("return op(x * FACTOR", "return op(x + FACTOR")),
    "a called host function": replaced(SPEC, ("math.ceil(counted", "math.floor(counted")),
    "a captured variable": replaced(SPEC, ("counted = made(1)", "counted = made(2)")),
    "a method that launch calls": replaced(SPEC, ("        return 4\n", "        return 8\n")),
    "a property of the problem": replaced(SPEC, ("        return self.N\n", "        return self.N + 1\n")),
    "an option of the launch": replaced(SPEC, ("num_warps=self.warps()", "num_warps=self.warps(), num_stages=1")),
    "the reference": replaced(SPEC, ("inputs[0] * 2", "inputs[0] * 6")),
    "the inputs": replaced(SPEC, ("generator, device),)", "generator, device, 2.0),)")),
}  # fmt: skip
NEIGHBOUR_SAME = {
    "not reached": replaced(BORROWED, ("def elsewhere():\n    return 1", "def elsewhere():\n    return 2")),
    "comment": replaced(BORROWED, ("    return x * 2", "    # twice\n    return x * 2")),
}
NEIGHBOUR_OTHER = {
    "device function": replaced(BORROWED, ("x * 2", "x * 3")),
    "host function": replaced(BORROWED, ("max(1, blocks)", "max(2, blocks)")),
}


def test_only_what_the_code_means_counts(tmp_path, forked_hashes):
    cases = {("as it is", True): (SPEC, BORROWED)}
    cases |= {(name, True): (text, BORROWED) for name, text in SAME.items()}
    cases |= {(name, False): (text, BORROWED) for name, text in OTHER.items()}
    cases |= {(f"neighbour: {name}", True): (SPEC, text) for name, text in NEIGHBOUR_SAME.items()}
    cases |= {(f"neighbour: {name}", False): (SPEC, text) for name, text in NEIGHBOUR_OTHER.items()}
    names = [
        write(tmp_path / f"case_{i}", *case, names=(f"own_{i}", f"neighbour_{i}"))
        for i, case in enumerate(cases.values())
    ]
    found = dict(zip(cases, forked_hashes(names), strict=True))
    before = found["as it is", True]
    assert len(before) == 16
    assert {name for (name, same), h in found.items() if same and h != before} == set()
    assert {name for (name, same), h in found.items() if not same and h == before} == set()
    different = [h for (_, same), h in found.items() if not same]
    assert len(set(different)) == len(different)


AUTOTUNED = """
import triton
import triton.language as tl


def bound(args):
    return args["n"] % 64 == 0


@triton.autotune(configs=[triton.Config({"BLOCK": b}, num_warps=4) for b in (64, 128)], key=["n"])
@triton.heuristics({"EVEN": bound})
@triton.jit
def twice(x_ptr, out_ptr, n, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)


def launcher(x, out):
    twice[(1,)](x, out, x.numel())
"""
WRAPPER = """
import triton
from kernels.autotuned import AutotunedKernel, configs_of
from kernels.defaults import normal
from kernels.spec import Problem
from borrowed import twice

class MineProblem(Problem):
    dims = ("N",)
    N: int = 1 << 24

class Mine(AutotunedKernel):
    name = "lib_twice"
    metric = "gbps"
    kernel = twice
    problem_type = MineProblem
    config_type = configs_of(twice)
    def inputs(self, p, g, d):
        return (normal((p.N,), p.torch_dtype, g, d),)
    def arguments(self, p, inputs, out):
        return inputs[0], out, p.N
    def grid(self, p, meta):
        return (triton.cdiv(p.N, meta["BLOCK"]),)
    def eager(self, p, inputs):
        return 2 * inputs[0]
"""
UPGRADES = {
    "kernel": ("2 * tl.load", "3 * tl.load"),
    "configs": ("(64, 128)", "(64, 256)"),
    "key": ('key=["n"]', "key=[]"),
    "warps": ("num_warps=4", "num_warps=8"),
    "heuristics": ("% 64", "% 32"),
}


def test_an_upgraded_library_is_noticed(tmp_path, forked_hashes):
    """The kernel of an installed package, which no spec's file holds; and a launch by the library's own function."""
    direct = replaced(
        WRAPPER,
        ("AutotunedKernel, configs_of", "configs_of"),
        ("(AutotunedKernel)", "(KernelSpec)"),
        ("    kernel = twice\n", ""),
        ("import Problem", "import KernelSpec, Problem"),
        ("import twice", "import launcher, twice"),
    )
    direct += "    def launch(self, p, c, inputs, out, h):\n        launcher(inputs[0], out)\n"
    installed = tmp_path / "site-packages"
    installed.mkdir()
    versions = {"old": AUTOTUNED, "comment": replaced(AUTOTUNED, ("    at = ", "    # where\n    at = "))}
    versions |= {name: replaced(AUTOTUNED, change) for name, change in UPGRADES.items()}
    names = []
    for version, text in versions.items():
        (installed / f"library_{version}.py").write_text(text)
        for way, spec in (("wrapped", WRAPPER), ("direct", direct)):
            path = tmp_path / f"{way}_{version}.py"
            path.write_text(spec.replace("from borrowed", f"from library_{version}"))
            names.append(f"{path}:Mine")
    found = iter(forked_hashes(names, installed))
    pairs = {version: (next(found), next(found)) for version in versions}
    before = pairs.pop("old")
    assert pairs.pop("comment") == before
    assert {name for name, pair in pairs.items() if pair[0] == before[0] or pair[1] == before[1]} == set()


def test_a_folder_moved_and_a_file_renamed_is_the_same_kernel(tmp_path, forked_hashes):
    here = write(tmp_path / "here")
    there = write(tmp_path / "deep" / "there", names=("renamed", "neighbour"))
    assert len(set(forked_hashes([here, there]))) == 1


def test_our_own_kernels_can_move(tmp_path, own_hashes):
    """`kernels` with its folder `gemm` renamed and one file of it elsewhere gives the hashes that it gives today."""
    package = tmp_path / "kernels"
    shutil.copytree(ROOT / "kernels", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "gemm").rename(package / "products")
    (package / "products" / "tiles.py").rename(package / "product_tiles.py")
    for path in package.rglob("*.py"):
        text = path.read_text().replace("kernels.gemm.tiles", "kernels.product_tiles")
        text = text.replace("from kernels.gemm import tiles", "from kernels import product_tiles as tiles")
        path.write_text(text.replace("kernels.gemm", "kernels.products"))
    assert hashes(registry.names(), cwd=tmp_path, PYTHONPATH=str(tmp_path)) == own_hashes
    assert len(set(own_hashes)) == len(registry.names())


def test_every_process_finds_the_same_hash(own_hashes):
    """Whatever the seed of its dictionaries, and with Triton's interpreter, which makes other objects of kernels."""
    assert hashes(registry.names(), PYTHONHASHSEED="7", TRITON_INTERPRET="1") == own_hashes


@pytest.mark.parametrize("name", registry.names())
def test_no_text_of_ours_holds_a_module_path(name):
    text = source_text(registry.get(name))
    assert "kernels." not in text
    assert str(ROOT) not in text
    assert "unbound" not in text
    assert "missing" not in text
    assert "triton {" in text


PRODUCTS = {"matmul", "fused_matmul", "fused_linear_cross_entropy"}
"""Kernels whose launch reaches that of a matmul."""


@pytest.mark.parametrize(
    ("module", "constant", "kernels"),
    [
        ("gemm.stream_k_schedule", "LEAST_STEPS", PRODUCTS),
        ("gemm.gluon", "CONSUMER_REGISTERS", PRODUCTS),
        ("grouped.gluon", "CONSUMER_REGISTERS", {"grouped_matmul"}),
        ("attention.gluon", "CONSUMER_REGISTERS", {"attention"}),
        ("attention_backward.gluon", "CONSUMER_REGISTERS", {"attention_backward"}),
        ("conv2d.gluon", "CONSUMER_REGISTERS", {"conv2d"}),
        ("attention.spec", "SHARPNESS", {"attention"}),
        ("attention_backward.spec", "SHARPNESS", {"attention_backward"}),
        ("rows.spec", "ELEMENT_BYTES", set()),
    ],
)
def test_a_constant_counts_for_the_kernels_that_use_it(monkeypatch, own_hashes, module, constant, kernels):
    before = dict(zip(registry.names(), own_hashes, strict=True))
    holder = importlib.import_module(f"kernels.{module}")
    monkeypatch.setattr(holder, constant, getattr(holder, constant) + 8)
    assert {n for n in registry.names() if registry.get(n).source_hash() != before[n]} == kernels


def test_no_landscape_that_comes_with_the_project_is_stale():
    heads = list_landscapes(heads_only=True)
    assert len(heads) == 13
    assert [h.name for h in heads if h.source != registry.get(h.kernel).source_hash()] == []


def test_what_changes_while_the_program_runs_is_noticed_or_left_out(monkeypatch):
    from kernels.gemm import launch, stream_k_schedule

    spec = registry.get("matmul")
    before = spec.source_hash()
    monkeypatch.setattr(stream_k_schedule, "LEAST_STEPS", 9)
    assert spec.source_hash() != before
    monkeypatch.undo()
    monkeypatch.setattr(launch, "wide", lambda *a: True)
    assert spec.source_hash() != before
    monkeypatch.undo()
    assert spec.source_hash() == before


def test_a_cache_that_fills_up_is_no_change(tmp_path):
    text = replaced(
        SPEC,
        ("FACTOR = 3", "FACTOR = 3\nSEEN = {}\nCALLS = 0"),
        (
            "    def warps(self):\n",
            "    def warps(self):\n        global CALLS\n        CALLS += 1\n        SEEN[CALLS] = 1\n",
        ),
    )
    spec = registry.get(write(tmp_path, text, names=("own_cache", "neighbour_cache")))
    before = spec.source_hash()
    assert spec.warps() == 4
    assert sys.modules[type(spec).__module__].SEEN
    assert spec.source_hash() == before


def test_code_without_a_source_file_is_one_sentence(tmp_path):
    text = replaced(SPEC, ("class MineProblem", 'exec("def counted(size): return size")\n\n\nclass MineProblem'))
    spec = registry.get(write(tmp_path, text, names=("own_exec", "neighbour_exec")))
    with pytest.raises(SourceMissing, match="the source of counted is not in <string>, so this kernel") as e:
        spec.source_hash()
    assert "\n" not in str(e.value)
    path = tmp_path / "neighbour_exec.py"
    path.write_text("\n\n\n" + path.read_text())
    spec = registry.get(write(tmp_path / "again", SPEC, names=("own_again", "neighbour_again")))
    (tmp_path / "again" / "neighbour_again.py").unlink()
    with pytest.raises(SourceMissing, match=r"neighbour_again\.py"):
        spec.source_hash()
