"""The float64 reference of captured launches: what it computes, and what it says of kernels that cannot be promoted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kernels.capture.reading.captured_launches import read_capture
from kernels.capture.reading.launch_space import space_of
from kernels.capture.reading.rebuilt_arguments import rebuild_arguments
from kernels.capture.reading.rebuilt_functions import CannotRebuild
from tools.harness.checking.float64 import promoted_reference
from tools.harness.checking.float64.promoted_reference import PromotingInterpreter, chosen_programs

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[3]

PROGRAM = """
import torch, triton
import triton.language as tl
from triton.language.extra import libdevice
from triton.tools.tensor_descriptor import TensorDescriptor
from agent.programs import capture

STEPS = 3

@triton.jit
def inner(x, power: tl.constexpr):
    return (x * power).to(tl.float16)

@triton.autotune([triton.Config({"BLOCK": b}, num_warps=w) for b in (64, 128) for w in (2, 4)], key=["n"])
@triton.jit
def rounded(x_ptr, out_ptr, n, scale, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    for _ in range(STEPS):
        x = inner(x, 3) + x / 7
    tl.store(out_ptr + at, (x.to(tl.float32) * scale).to(out_ptr.dtype.element_ty), mask=at < n)

@triton.jit
def in_place(x_ptr, stride, columns, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + tl.program_id(0) * stride + at, mask=at < columns, other=0.0)
    tl.store(x_ptr + tl.program_id(0) * stride + at, x / tl.sum(tl.abs(x)), mask=at < columns)

@triton.jit
def gathered(x_ptr, index_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + tl.load(index_ptr + at)))

@triton.jit
def labelled(x_ptr, label_ptr, columns, BLOCK: tl.constexpr):
    label = tl.load(label_ptr + tl.program_id(0))
    at, row = tl.arange(0, BLOCK), x_ptr + tl.program_id(0) * columns
    if label == -100:
        tl.store(row + at, 0.0, mask=at < columns)
        return
    picked = tl.load(row + label)
    tl.store(row + at, picked - tl.load(row + at, mask=at < columns), mask=at < columns)

@triton.jit
def added(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out_ptr, tl.sum(tl.load(x_ptr + at)))

@triton.jit
def bits(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at).to(tl.int32, bitcast=True))

@triton.jit
def innermost(x):
    return x.to(tl.int32, bitcast=True)

@triton.jit
def middle(x):
    return innermost(x) + 1

@triton.jit
def bits_far_down(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr + at, middle(tl.load(x_ptr + at)))

@triton.jit
def tall(table_ptr, out_ptr):
    x_ptr = tl.load(table_ptr).to(tl.pointer_type(tl.float32))
    tl.store(out_ptr, tl.load(x_ptr))

@triton.jit
def described(x_desc, out_ptr, N: tl.constexpr, B: tl.constexpr):
    out = tl.make_tensor_descriptor(out_ptr, [N, N], [N, 1], [B, B])
    row, column = tl.program_id(0) * B, tl.program_id(1) * B
    out.store([row, column], x_desc.load([column, row]).T / 3)

torch.manual_seed(1)
with capture("a.capture"):
    x = torch.randn(5000, dtype=torch.float16)
    rounded[lambda m: (triton.cdiv(5000, m["BLOCK"]),)](x, torch.empty_like(x), 5000, 0.5)
    wide = torch.randn(8, 100, dtype=torch.bfloat16)
    in_place[(8,)](wide[:, :70], 100, 70, BLOCK=128)
    gathered[(1,)](torch.randn(40), torch.randint(0, 40, (32,)), torch.empty(32), BLOCK=32)
    labels = torch.nn.functional.pad(torch.randint(0, 70, (1, 40)), (0, 1), value=-100)[..., 1:].contiguous()
    labelled[(40,)](torch.randn(40, 70), labels.view(-1), 70, BLOCK=128)
    added[(40,)](torch.randn(40 * 16), torch.zeros(1), BLOCK=16)
    bits[(1,)](torch.randn(16), torch.empty(16, dtype=torch.int32), BLOCK=16)
    bits_far_down[(1,)](torch.randn(16), torch.empty(16, dtype=torch.int32), BLOCK=16)
    base = torch.randn(64)
    tall[(1,)](torch.tensor([base.data_ptr()]), torch.empty(1))
    x = torch.randn(32, 32, dtype=torch.float16)
    x_desc = TensorDescriptor.from_tensor(x, [16, 16])
    described[(2, 2)](x_desc, torch.empty(32, 32, dtype=torch.float16), N=32, B=16)
with capture("none.capture", values="no"):
    gathered[(1,)](torch.randn(40), torch.randint(0, 40, (32,)), torch.empty(32), BLOCK=32)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a program left its captures; the program itself is gone."""
    made = tmp_path_factory.mktemp("promoted")
    (made / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "program.py"], cwd=made, env=environment, check=True, timeout=300)
    (made / "program.py").unlink()
    return made


@pytest.fixture(scope="module")
def promoting():
    made = PromotingInterpreter()
    yield made
    made.close()


def launch_of(folder, name, file="a.capture"):
    capture = read_capture(str(folder / file))
    return next(x for x in capture.launches if x.name == name)


def reference_of(folder, promoting, name, seed=3, file="a.capture"):
    launch = launch_of(folder, name, file)
    made = promoting.reference(str(folder / file), launch.digest, seed)
    return made, launch


def inputs_of(launch, seed=3):
    return {n: t.double() for n, t in rebuild_arguments(launch, seed, lambda digest: None).tensors.items()}


def test_labels_that_are_ignored_stay_marks(folder, promoting):
    """Between -100 and the first label lie numbers that index another row's memory."""
    launch = launch_of(folder, "labelled")
    for seed in range(20):
        labels = inputs_of(launch, seed)["label_ptr"]
        assert labels[labels < 0].tolist() == [-100]
        assert 0 <= labels[labels >= 0].min() <= labels.max() < 70
    made, _ = reference_of(folder, promoting, "labelled", seed=4)
    assert made.reason is None
    assert made.programs == 16


def test_casts_round_nothing(folder, promoting):
    made, launch = reference_of(folder, promoting, "rounded")
    assert made.reason is None
    assert made.of == 79
    x = inputs_of(launch)["x_ptr"]
    for _ in range(3):
        x = x * 3 + x / 7
    at, values = made.stored[launch.arguments["out_ptr"]["storage"]]
    assert len(at) == 15 * 64 + 5000 % 64  # 16 of 79 programs, the last of them partly outside
    np.testing.assert_allclose(values, (x * 0.5).numpy()[at], rtol=1e-14)


def test_a_strided_argument_in_place(folder, promoting):
    made, launch = reference_of(folder, promoting, "in_place")
    x = inputs_of(launch)["x_ptr"]
    (at, values) = made.stored[0]
    expected = x / x.abs().sum(dim=1, keepdim=True)
    assert launch.arguments["x_ptr"]["stride"] == [100, 1]
    np.testing.assert_allclose(values, expected.numpy()[at // 100, at % 100], rtol=1e-13)
    assert set(at % 100) == set(range(70))


def test_indices_stay_in_their_range(folder, promoting):
    made, launch = reference_of(folder, promoting, "gathered")
    given = inputs_of(launch)
    at, values = made.stored[launch.arguments["out_ptr"]["storage"]]
    np.testing.assert_array_equal(values, given["x_ptr"][given["index_ptr"].long()].numpy()[at])


def test_descriptors_read_and_write(folder, promoting):
    made, launch = reference_of(folder, promoting, "described")
    assert (made.reason, made.programs) == (None, 4)
    _, values = made.stored[launch.arguments["out_ptr"]["storage"]]
    np.testing.assert_allclose(values, (inputs_of(launch)["x_desc.base"].T / 3).numpy().reshape(-1), rtol=1e-14)


def test_atomics_need_the_whole_grid_and_get_it(folder, promoting):
    made, launch = reference_of(folder, promoting, "added")
    assert (made.programs, made.of) == (40, 40)
    _, values = made.stored[launch.arguments["out_ptr"]["storage"]]
    given = inputs_of(launch)
    np.testing.assert_allclose(values, [float(given["x_ptr"].sum() + given["out_ptr"][0])], rtol=1e-12)


def test_slow_programs_are_fewer_and_without_all_of_them_atomics_are_no_reference(folder, promoting, monkeypatch):
    monkeypatch.setattr(promoted_reference, "MOST_BUSY", 0.0)
    made, launch = reference_of(folder, promoting, "rounded", seed=4)
    x = inputs_of(launch, seed=4)["x_ptr"]
    for _ in range(3):
        x = x * 3 + x / 7
    assert (made.reason, made.programs, made.of) == (None, 2, 79)
    at, values = made.stored[launch.arguments["out_ptr"]["storage"]]
    assert sorted(at) == [*range(64), *range(78 * 64, 5000)]  # the first and the last
    np.testing.assert_allclose(values, (x * 0.5).numpy()[at], rtol=1e-14)
    made, _ = reference_of(folder, promoting, "added", seed=4)
    assert "needs more programs than can be run here" in made.reason


@pytest.mark.parametrize(
    ("name", "file", "why"),
    [
        ("bits", "a.capture", "reads the bits of fp32 as int32"),
        ("bits_far_down", "a.capture", "reads the bits of fp32 as int32"),
        ("tall", "a.capture", "holds addresses"),
        ("gathered", "none.capture", "no range of the integers in index_ptr"),
    ],
)
def test_what_has_no_reference_says_why(folder, promoting, name, file, why):
    made, _ = reference_of(folder, promoting, name, file=file)
    assert made.reason is not None
    assert why in made.reason
    assert "Error" not in made.reason
    assert not made.stored


def test_one_seed_makes_the_same_arguments(folder):
    launch = launch_of(folder, "rounded")
    one, other, third = (inputs_of(launch, seed)["x_ptr"] for seed in (3, 3, 4))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)
    assert abs(float(one.std()) - 1) < 0.1


def test_arguments_that_are_not_known_are_not_made_up(folder):
    launch = launch_of(folder, "gathered", "none.capture")
    with pytest.raises(CannotRebuild, match="without --no-values"):
        inputs_of(launch)


def test_the_space_holds_the_owners_config_first_and_moves_what_the_grid_follows(folder):
    space = space_of(launch_of(folder, "rounded"))
    assert space.configs[0].origin == "owner"
    assert dict(space.configs[0].values) == {"BLOCK": 64}
    grids = {dict(c.values)["BLOCK"]: c.grid for c in space.configs}
    assert grids == {32: (157,), 64: (79,), 128: (40,)}
    assert len({(c.values, c.num_warps, c.num_stages) for c in space.configs}) == len(space.configs)
    fixed = space_of(launch_of(folder, "in_place"))
    assert fixed.fixed == {"BLOCK": "the grid does not follow it"}
    assert {c.values for c in fixed.configs} == {()}
    assert len(fixed.configs) >= 8


@pytest.mark.parametrize(("grid", "most"), [([1], 16), ([5, 3, 2], 16), ([1000], 16), ([7, 9], 100)])
def test_chosen_programs_are_of_the_grid_with_first_and_last(grid, most):
    x, y, z = (*grid, 1, 1)[:3]
    chosen = chosen_programs(grid, most)
    assert len(chosen) == len(set(chosen)) == min(most, x * y * z)
    assert (0, 0, 0) in chosen
    assert (x - 1, y - 1, z - 1) in chosen
    assert all(a < x and b < y and c < z for a, b, c in chosen)
