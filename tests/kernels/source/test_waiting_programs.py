"""A kernel whose programs wait for one another is refused; one that loops for other reasons is not."""

import pytest
import triton
import triton.language as tl

from kernels.check_spec import KernelError, examine
from kernels.source.waiting_programs import reason_to_wait
from tests.exploits.axpy import Axpy


@triton.jit
def lock(flag_ptr):
    while tl.atomic_cas(flag_ptr, 0, 1) == 1:
        pass


@triton.jit
def read(ptr):
    return tl.load(ptr)


@triton.jit
def spins_on_atomics(x_ptr, out_ptr):
    lock(out_ptr)
    tl.store(out_ptr, tl.load(x_ptr))


@triton.jit
def spins_on_volatile_loads(x_ptr, out_ptr):
    seen = tl.load(x_ptr, volatile=True)
    while seen != 1:
        seen = tl.load(x_ptr, volatile=True)
    tl.store(out_ptr, 1.0)


@triton.jit
def spins_on_plain_loads(x_ptr, out_ptr):
    while read(x_ptr) != 1:
        pass
    tl.store(out_ptr, 1.0)


@triton.jit
def spins_through_a_value(x_ptr, out_ptr):
    ready = 0
    while ready == 0:
        value = tl.load(x_ptr + 1)
        ready = (value > 0).to(tl.int32)
    tl.store(out_ptr, 1.0)


@triton.jit
def takes_tiles_from_a_counter(x_ptr, out_ptr):
    tile = tl.atomic_add(out_ptr, 1)
    while tile < 10:
        tl.store(out_ptr + tile, tl.load(x_ptr + tile))
        tile = tl.atomic_add(out_ptr, 1)


@triton.jit
def follows_a_list(x_ptr, out_ptr):
    node = tl.load(x_ptr)
    while node != -1:
        node = tl.load(x_ptr + node)
    tl.store(out_ptr, node)


@triton.jit
def searches(x_ptr, out_ptr, n):
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        smaller = tl.load(x_ptr + middle) < 0
        low = tl.where(smaller, middle + 1, low)
        high = tl.where(smaller, high, middle)
    tl.store(out_ptr, low)


@triton.jit
def counts(x_ptr, out_ptr, n):
    i = 0
    total = 0.0
    while i < n:
        total += tl.load(x_ptr)
        i += 1
    tl.atomic_add(out_ptr, total)


def spec_of(kernel, **options):
    class Launched(Axpy):
        def launch(self, problem, config, inputs, out, hardware):
            kernel[(1,)](inputs[0], out, **options)

    return Launched()


class Cooperative(Axpy):
    def launch(self, problem, config, inputs, out, hardware):
        counts[(4,)](inputs[0], out, 4, launch_cooperative_grid=True)


class NotCooperative(Axpy):
    def launch(self, problem, config, inputs, out, hardware):
        counts[(4,)](inputs[0], out, 4, launch_cooperative_grid=False)


@pytest.mark.parametrize(
    ("kernel", "says"),
    [
        (spins_on_atomics, "a while loop of lock waits for tl.atomic_cas"),
        (spins_on_volatile_loads, "a while loop of spins_on_volatile_loads waits for a volatile load"),
        (spins_on_plain_loads, "waits for a load whose address stays the same (in read)"),
        (spins_through_a_value, "waits for a load whose address stays the same"),
    ],
)
def test_a_loop_that_waits_is_found_and_never_tuned(kernel, says):
    assert says in reason_to_wait(spec_of(kernel))
    with pytest.raises(KernelError, match=r"programs that may wait for one another .* cannot be tuned") as refused:
        examine(spec_of(kernel))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kernel", [takes_tiles_from_a_counter, follows_a_list, searches, counts])
def test_a_loop_that_works_or_ends_by_itself_is_none(kernel):
    assert reason_to_wait(spec_of(kernel)) is None


def test_a_cooperative_launch_is_found():
    assert reason_to_wait(Cooperative()) == "Cooperative.launch asks for launch_cooperative_grid"
    assert reason_to_wait(NotCooperative()) is None
