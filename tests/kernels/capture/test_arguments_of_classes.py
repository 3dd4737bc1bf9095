"""Arguments that are neither plain tensors nor plain numbers: what is kept of them, and what is made of that anew."""

from __future__ import annotations

import dataclasses
import enum
from collections import namedtuple

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from kernels.capture.describing.captured_arguments import Storages, describe_argument
from kernels.capture.describing.device_closure import describe_function
from kernels.capture.launch_key import KeyMaker
from kernels.capture.reading.captured_launches import CapturedLaunch
from kernels.capture.reading.parts.argument_parts import RecordArgument
from kernels.capture.reading.rebuilt_arguments import described_tensors, rebuild_arguments, refuse_unknown
from kernels.capture.reading.rebuilt_functions import CannotRebuild, rebuild_function
from kernels.tuned.key import key_of


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


class Text(enum.StrEnum):
    A = "a"


class Computing(enum.Enum):
    ONE = 1

    @property
    def twice(self):
        return self.value * 2


@dataclasses.dataclass(frozen=True)
class Spec:
    scale: float
    mode: Mode = Mode.FAST
    out: object = None


@dataclasses.dataclass(frozen=True)
class ComputingSpec:
    scale: float

    def twice(self):
        return self.scale * 2


Pair = namedtuple("Pair", "a b")


class Holding:
    """A wrapper of a program's own."""

    def __init__(self, held, dtype):
        self.held, self.dtype = held, dtype

    def data_ptr(self):
        return self.held.ctypes.data if isinstance(self.held, np.ndarray) else self.held.data_ptr()


class Inside(Holding):
    """A view of its own into what it holds; it answers like a tensor, as libraries' own buffers do."""

    def __init__(self, held, dtype, offset, shape, strides):
        super().__init__(held, dtype)
        self.offset, self.shape, self.strides = offset, shape, strides

    def data_ptr(self):
        return self.held.data_ptr() + self.offset * self.held.element_size()

    def untyped_storage(self):
        return self.held.untyped_storage()

    def stride(self):
        return self.strides


class Elsewhere(Holding):
    def data_ptr(self):
        return super().data_ptr() + 4


class Address:
    """A number and a dtype, which answers for its own memory."""

    def __init__(self, tensor):
        self.address, self.dtype = tensor.data_ptr(), tensor.dtype

    def data_ptr(self):
        return self.address

    def untyped_storage(self):
        return self


def described(value):
    storages = Storages()
    found = describe_argument("x", value, storages, lambda function: "digest")
    return found, storages


def launch_of(value, **observed):
    found, storages = described(value)
    empty = dict.fromkeys(("function", "decorators", "grid", "config", "count", "readings_ms", "processes"))
    return CapturedLaunch(
        **{**empty, "digest": "", "options": {}, "device": {}},
        arguments={"x": found},
        storages=tuple(storages.described),
        observed=observed,
    )


def made_anew(value, **observed):
    return rebuild_arguments(launch_of(value, **observed), 0, lambda digest: digest).arguments["x"]


def key(value):
    found, _ = described(value)
    return key_of({"x": {**found, "constexpr": True}}, {}, [1], (), lambda digest: digest)


def test_a_tensor_in_a_dataclass_has_one_path_for_who_writes_and_who_reads():
    storages = Storages()
    held = Spec(2.0, out=torch.zeros(4))
    described = describe_argument("spec", held, storages, lambda f: "")
    assert [path for path, _ in storages.tensors] == ["spec.2"]
    assert [path for path, _ in RecordArgument.model_validate(described).tensors("spec")] == ["spec.2"]


@pytest.mark.parametrize(
    "value", [torch.float16, tl.bfloat16, Mode.SLOW, Spec(0.5, Mode.SLOW, torch.int8), Pair(0.5, (1, Mode.FAST))]
)
def test_constants_that_are_data_are_made_anew(value):
    made = made_anew(value)
    assert str(made).replace("captured(", "Pair(") == str(value)
    assert key(made) == key(value)


def test_equal_classes_are_made_once():
    one, other = made_anew(Mode.SLOW), made_anew(Spec(1.0, Mode.SLOW)).mode
    assert one is other
    assert one is not made_anew(Mode.FAST)
    assert made_anew(Text.A) == "a"  # Triton takes it for a text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Mode.FAST, Mode.SLOW),
        (torch.float16, torch.bfloat16),
        (Spec(0.5), Spec(0.25)),
        (Spec(0.5), Spec(0.5, Mode.SLOW)),
        (Pair(0.5, 1), Pair(0.25, 1)),
        ((0.5,), (0.25,)),
    ],
)
def test_constants_that_differ_have_keys_that_differ(one, other):
    assert key(one) != key(other)
    maker = KeyMaker(["x"], frozenset(["x"]))
    assert maker.key((one,), {}) != maker.key((other,), {})
    assert maker.key((one,), {}) == maker.key((one,), {})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Computing.ONE, "Computing.ONE, and a capture does not hold what its class .*Computing computes"),
        (ComputingSpec(1.0), "a .*ComputingSpec, which a capture does not hold"),
        (Spec(1.0, out=Computing.ONE), "x.2 is Computing.ONE, and"),
        (Elsewhere(torch.ones(1), torch.float32), "Elsewhere, which a capture does not hold"),
        (Inside(torch.ones(4), torch.float32, 3, (4,), (-1,)), "Inside, which a capture does not hold"),
        (Inside(torch.ones(4), torch.float32, 2, (2,), (2,)), "Inside, which a capture does not hold"),
        (Address(torch.ones(4)), "Address, which a capture does not hold"),
        (Holding(torch.ones(4), torch.float16), "Holding, which a capture does not hold"),
        (triton.reinterpret(torch.ones(4), tl.float16), "triton.reinterpret of a tensor, as fp16, of which no values"),
    ],
)
def test_what_is_not_sound_is_refused_with_the_reason(value, reason):
    with pytest.raises(CannotRebuild, match=reason):
        refuse_unknown(launch_of(value))


@pytest.mark.parametrize(
    ("value", "view"),
    [
        (Elsewhere(torch.ones(4), torch.float32), (1, [3], [1])),
        (Inside(torch.ones(24), torch.float32, 2, (3, 2), (4, 0)), (2, [3, 2], [4, 0])),
        (Inside(torch.ones(4, dtype=torch.float16), torch.bfloat16, 1, (), ()), (1, [], [])),
    ],
)
def test_an_object_that_points_into_a_tensor_is_a_view_of_it(value, view):
    found, storages = described(value)
    assert (found["offset"], found["shape"], found["stride"]) == view
    assert found["dtype"] == str(value.dtype).removeprefix("torch.")
    assert storages.tensors[0][1].data_ptr() == value.data_ptr()
    assert KeyMaker(["x"], frozenset()).key((value,), {}) != KeyMaker(["x"], frozenset()).key((value.held,), {})
    assert made_anew(value).shape == tuple(view[1])


def test_a_reinterpreted_tensor_is_what_the_kernel_sees():
    bits = torch.randn(64).to(torch.float8_e4m3fn).view(torch.int8)
    launch = launch_of(triton.reinterpret(bits, tl.float8e4nv))
    refuse_unknown(launch)
    assert [t["dtype"] for _, t in described_tensors(launch)] == ["float8_e4m3fn"]
    made = rebuild_arguments(launch, 0, lambda digest: None)
    assert made.arguments["x"].dtype == tl.float8e4nv
    assert made.arguments["x"].data_ptr() == made.tensors["x"].data_ptr()
    assert bool(made.tensors["x"].float().isfinite().all())  # any bits would have some that are not


@pytest.mark.parametrize(
    "value",
    [
        Holding(torch.ones(8, 4)[2:], torch.float32),
        Holding(torch.ones(8, 4)[2:], "fp32"),
        Holding(np.ones((8, 4), np.float32)[2:], np.dtype("float32")),
        Holding(torch.ones(8, 4)[2:].view(torch.int32), torch.float32),
    ],
)
def test_a_wrapper_counts_as_the_tensor_that_it_points_to(value):
    found, _ = described(value)
    assert (found["shape"], found["dtype"], found["unwrapped"]) == ([6, 4], "float32", "Holding")
    assert torch.is_tensor(made_anew(value))
    maker = KeyMaker(["x"], frozenset())
    longer = Holding(torch.ones(9, 4), torch.float32)
    assert maker.key((value,), {}) != maker.key((longer,), {})


MODES = Mode
SLOW = tl.constexpr(Mode.SLOW)
DEFAULTS = Spec(2.0)


@triton.jit
def reads_classes(x, MODE: tl.constexpr, DTYPE: tl.constexpr):
    if MODE == SLOW or MODE == MODES.FAST or DEFAULTS.scale == 2.0:
        tl.store(x, Pair(1, 2).b)
    if torch.float16 == DTYPE:
        tl.store(x, 1)


def test_a_function_reads_the_classes_that_its_arguments_are_of(tmp_path):
    parts = {}

    def keep(kind, body):
        parts[str(len(parts))] = body
        return str(len(parts) - 1)

    digest = describe_function(reads_classes, keep)
    module = rebuild_function(digest, parts, tmp_path).fn.__globals__
    assert module["MODES"].SLOW is made_anew(Mode.SLOW) is module["SLOW"].value
    assert module["DEFAULTS"].scale == 2.0
    assert module["Pair"](1, 2).b == 2
