"""Which programs of an interpreted launch race, each by its loads, stores and atomics."""

import pytest
import torch
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

from tools.harness.checking.races import watch_accesses


def swap_everywhere(x_ptr, y_ptr):
    tl.atomic_cas(x_ptr, 0, 1)


def swap_apart(x_ptr, y_ptr):
    tl.atomic_cas(x_ptr + tl.program_id(0), 0, 1)


def swap_and_load(x_ptr, y_ptr):
    tl.atomic_cas(x_ptr, 0, 1)
    tl.store(y_ptr + tl.program_id(0), tl.load(x_ptr + tl.program_id(0)))


def swap_and_store(x_ptr, y_ptr):
    tl.atomic_cas(x_ptr, 0, 1)
    tl.store(x_ptr + tl.program_id(0), 2)


def swap_and_load_own(x_ptr, y_ptr):
    own = x_ptr + tl.program_id(0)
    tl.atomic_cas(own, 0, 1)
    tl.store(y_ptr + tl.program_id(0), tl.load(own))


def add_and_load(x_ptr, y_ptr):
    tl.atomic_add(x_ptr, 1)
    tl.store(y_ptr + tl.program_id(0), tl.load(x_ptr))


def store_and_load(x_ptr, y_ptr):
    tl.store(x_ptr + tl.program_id(0), 1)
    tl.store(y_ptr + tl.program_id(0), tl.load(x_ptr))


def store_everywhere(x_ptr, y_ptr):
    tl.store(x_ptr, 1)


@pytest.mark.parametrize(
    ("kernel", "races"),
    [
        (swap_everywhere, False),
        (swap_apart, False),
        (swap_and_load_own, False),
        (swap_and_load, True),
        (swap_and_store, True),
        (add_and_load, True),
        (store_and_load, True),
        (store_everywhere, False),
    ],
)
def test_programs_race_by_what_they_load_store_and_swap(kernel, races):
    x, y = torch.zeros(4, dtype=torch.int32), torch.zeros(4, dtype=torch.int32)
    with watch_accesses() as launches:
        InterpretedFunction(kernel)[(3,)](x, y)
    assert [launch.race() for launch in launches] == [races]


def add_in_passing(x_ptr, y_ptr):
    tl.atomic_add(x_ptr, 1)
    tl.store(y_ptr + tl.program_id(0), 1)


def take_a_number(x_ptr, y_ptr):
    tl.store(y_ptr + tl.atomic_add(x_ptr, 1), 1)


@pytest.mark.parametrize(
    ("kernel", "uses"),
    [(add_in_passing, False), (take_a_number, True), (swap_everywhere, False), (store_everywhere, False)],
)
def test_what_an_atomic_gives_back_is_noted_if_it_is_used(kernel, uses):
    x, y = torch.zeros(4, dtype=torch.int32), torch.zeros(4, dtype=torch.int32)
    with watch_accesses() as launches:
        InterpretedFunction(kernel)[(3,)](x, y)
    assert [launch.uses_atomics for launch in launches] == [uses]
    if kernel is take_a_number:
        assert (x.tolist(), y.tolist()) == ([3, 0, 0, 0], [1, 1, 1, 0])
