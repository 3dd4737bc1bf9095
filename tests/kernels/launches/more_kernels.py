"""Ten more features of a launch, each with its twin, as in ``own_kernels.py``: memory that inputs share, descriptors
made on the device, roles of described arguments, and what stands around an autotuned kernel."""

from pathlib import Path

import torch
import triton
import triton.language as tl

from kernels.autotuned import AutotunedKernel, configs_of
from kernels.defaults import normal
from kernels.launches.argument_models import DescriptorArgument, ScalarArgument, TensorArgument, Values
from kernels.launches.described import DescribedKernel
from kernels.registry import get
from kernels.spec import KernelSpec
from tests.kernels.launches.own_kernels import Block, KeywordConstexpr, Line, Rows, blocks, tuned


@triton.jit
def subtract_rows(x_ptr, y_ptr, out_ptr, N, x_stride, y_stride, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * x_stride + at, mask=at < N)
    y = tl.load(y_ptr + row * y_stride + at, mask=at < N)
    tl.store(out_ptr + row * N + at, x - y, mask=at < N)


class PackedInputs(KernelSpec):
    """Two inputs are views of one storage, row by row beside each other; the twin takes the second one to be dense."""

    name, metric, wrong = "packed_inputs", "gbps", False
    problem_type, config_type = Rows, Block

    def inputs(self, p, g, d):
        return normal((p.M, 2, p.N), p.torch_dtype, g, d).unbind(1)

    def launch(self, p, c, inputs, out, hw):
        x, y = inputs
        strides = x.stride(0), p.N if self.wrong else y.stride(0)
        subtract_rows[(p.M, triton.cdiv(p.N, c.BLOCK))](x, y, out, p.N, *strides, BLOCK=c.BLOCK)

    def eager(self, p, inputs):
        return inputs[0] - inputs[1]


@triton.jit
def transpose(x_ptr, out_ptr, M, N, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    stride: tl.constexpr = 1 if WRONG else 2
    x_desc = tl.make_tensor_descriptor(x_ptr, [M, N], [N, 1], [1, BLOCK])
    row, at = tl.program_id(0), tl.program_id(1) * BLOCK
    x = x_desc.load([row, at]).reshape(BLOCK)
    columns = at + tl.arange(0, BLOCK)
    tl.store(out_ptr + columns * M + row, stride * x, mask=columns < N)


def allocate(size, alignment, stream):
    return torch.empty(size, dtype=torch.int8, device="cuda")


class DeviceDescriptor(KernelSpec):
    """A descriptor made in the kernel, and a result that lies column by column."""

    name, metric, wrong = "device_descriptor", "gbps", False
    problem_type, config_type = Rows, Block

    def default_problem(self):
        return Rows(N=104)  # a descriptor's rows are 16 bytes or a multiple apart

    def inputs(self, p, g, d):
        return (normal((p.M, p.N), p.torch_dtype, g, d),)

    def output(self, p, d):
        return torch.empty((p.N, p.M), dtype=p.torch_dtype, device=d).t()

    def launch(self, p, c, inputs, out, hw):
        triton.set_allocator(allocate)
        grid = p.M, triton.cdiv(p.N, c.BLOCK)
        transpose[grid](inputs[0], out, p.M, p.N, WRONG=self.wrong, BLOCK=c.BLOCK)

    def eager(self, p, inputs):
        return 2 * inputs[0]

    def constraint(self, p, c, hw):
        return "rows are a multiple of 16 bytes apart" if p.N % 8 else None

    def reduced(self, p, c):
        return p


# -- autotuned


def fill_end(nargs, exception):
    nargs["out_ptr"][-1:].zero_()


def fill_end_with_one(nargs, exception):
    nargs["out_ptr"][-1:].fill_(1)


@triton.jit
def all_but_last(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n - 1), mask=at < n - 1)


post_hooked = tuned(post_hook=fill_end)(all_but_last)
wrongly_post_hooked = tuned(post_hook=fill_end_with_one)(all_but_last)


class PostHook(AutotunedKernel):
    """The autotuner's own post-hook fills the last element; the twin's fills it with another number."""

    name, metric, wrong, kernel = "post_hook", "gbps", False, post_hooked
    problem_type, config_type = Line, configs_of(post_hooked)
    grid = staticmethod(blocks)

    def inputs(self, p, g, d):
        return (normal((p.N,), p.torch_dtype, g, d),)

    def arguments(self, p, inputs, out):
        return inputs[0], out, p.N

    def eager(self, p, inputs):
        return torch.cat([inputs[0][:-1], torch.zeros_like(inputs[0][:1])])


@tuned(restore_value=["x_ptr", "bias_ptr"], reset_to_zero=["count_ptr"])
@triton.jit
def halve_and_add(x_ptr, bias_ptr, count_ptr, n, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    if bias_ptr is not None:
        x += tl.load(bias_ptr + at, mask=at < n)
    if count_ptr is not None:
        tl.atomic_add(count_ptr, 1)
    tl.store(x_ptr + at, x if WRONG else 0.5 * x, mask=at < n)


class RestoredAbsent(KeywordConstexpr):
    """``restore_value`` and ``reset_to_zero`` name tensors that are None here."""

    name, kernel, config_type = "restored_absent", halve_and_add, configs_of(halve_and_add)

    def arguments(self, p, inputs, out):
        given = {"x_ptr": inputs[0], "bias_ptr": None, "count_ptr": None, "n": p.N}
        return {**given, "WRONG": self.wrong}

    def eager(self, p, inputs):
        return 0.5 * inputs[0]


@tuned()
@triton.jit(do_not_specialize=["step", "n"])
def scale_by_step(x_ptr, out_ptr, n, step, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at * step, mask=at < n)
    tl.store(out_ptr + at, x * (step + 1).to(x.dtype), mask=at < n)


class NotSpecialized(KeywordConstexpr):
    """Numbers that are no constants of the code, 1 among them; the twin's is another."""

    name, kernel, config_type = "not_specialized", scale_by_step, configs_of(scale_by_step)

    def arguments(self, p, inputs, out):
        return inputs[0], out, p.N, 2 if self.wrong else 1

    def inputs(self, p, g, d):
        return (normal((2 * p.N,), p.torch_dtype, g, d),)

    def eager(self, p, inputs):
        return 2 * inputs[0][: p.N]


class CountingAutotuner(triton.runtime.Autotuner):
    """As libraries have them: it keeps its choices, and takes its configs under another name."""

    def __init__(self, fn, choices):
        names = fn.arg_names
        super().__init__(fn, names, choices, ["n"], None, None)
        self.launches = 0

    def run(self, *args, **kwargs):
        self.launches += 1
        return super().run(*args, **kwargs)


def counting(fn):
    return CountingAutotuner(fn, [triton.Config({"BLOCK": b}, num_warps=4) for b in (64, 128)])


@counting
@triton.jit
def square(x_ptr, out_ptr, n, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at, tl.abs(x) * x if WRONG else x * x, mask=at < n)


class OwnAutotuner(KeywordConstexpr):
    """A subclass of ``Autotuner``; the twin is wrong where the input is negative."""

    name, kernel, config_type = "own_autotuner", square, configs_of(square)

    def arguments(self, p, inputs, out):
        return (inputs[0], out, p.N), {"WRONG": self.wrong}


# -- argument by argument


def set_block_shapes(nargs):
    for name in ("x_desc", "out_desc"):
        nargs[name].block_shape = [1, nargs["BLOCK"]]


def set_half_of_it(nargs):
    for name in ("x_desc", "out_desc"):
        nargs[name].block_shape = [1, nargs["BLOCK"] // 2]


def block_configs(hook):
    return [triton.Config({"BLOCK": b}, num_warps=4, pre_hook=hook) for b in (64, 128)]


@triton.jit
def double_through_descriptors(x_desc, out_desc, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.program_id(1) * BLOCK
    x = x_desc.load([row, at])
    out_desc.store([row, at], x + x)


shaped = tuned(configs=block_configs(set_block_shapes))(double_through_descriptors)
shaped_by_half = tuned(configs=block_configs(set_half_of_it))(double_through_descriptors)


class HookedDescriptor(DescribedKernel):
    """A config's hook sets the block shape of host descriptors; the twin's sets half of it."""

    name, metric, wrong, kernel = "hooked_descriptor", "gbps", False, shaped
    problem_type, config_type = Rows, configs_of(shaped)

    def default_problem(self):
        return Rows(N=104)

    def described(self, p):
        rows = {"shape": (p.M, p.N), "dtype": p.dtype, "stride": (p.N + 8, 1)}
        return {
            "x_desc": DescriptorArgument(base=TensorArgument(**rows), block_shape=(1, 16)),
            "out_desc": DescriptorArgument(base=TensorArgument(**rows, role="out"), block_shape=(1, 16)),
        }

    def grid(self, p, meta):
        return p.M, triton.cdiv(p.N, meta["BLOCK"])

    def eager(self, p, inputs):
        return {"out_desc": 2 * inputs["x_desc"]}


@triton.jit
def accumulate(total_ptr, starts_ptr, x_ptr, work_ptr, sum_ptr, n, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    first, end = tl.load(starts_ptr + row), tl.load(starts_ptr + row + 1)
    total = 0.0
    for start in range(first, end, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + at, mask=at < end, other=0.0)
        tl.store(work_ptr + at, x, mask=at < end)
        total += tl.sum(x.to(tl.float32), 0)
    if not WRONG or end > first:
        tl.store(sum_ptr + row, total)
    tl.store(total_ptr + row, tl.load(total_ptr + row) + total)


class DescribedRoles(DescribedKernel):
    """Rows of several lengths, one empty: a total that is added to, a sum that is written, and scratch. The twin writes
    no sum for an empty row."""

    name, metric, wrong, kernel = "described_roles", "gbps", False, accumulate
    problem_type, config_type = Line, Block

    def described(self, p):
        starts = Values(draw="given", numbers=(0, p.N // 3, p.N // 3, p.N - 1, p.N))
        return {
            "total_ptr": TensorArgument(shape=(4,), dtype="fp32", role="inout", values=Values(draw="uniform")),
            "starts_ptr": TensorArgument(shape=(5,), dtype="int32", values=starts),
            "x_ptr": TensorArgument(shape=(p.N,), dtype=p.dtype),
            "work_ptr": TensorArgument(shape=(p.N,), dtype=p.dtype, role="scratch"),
            "sum_ptr": TensorArgument(shape=(4,), dtype="fp32", role="out"),
            "n": ScalarArgument(value=p.N),
            "WRONG": ScalarArgument(value=self.wrong),
        }

    def grid(self, p, meta):
        return (4,)

    def eager(self, p, inputs):
        ends = inputs["starts_ptr"].long()
        running = torch.cat([ends.new_zeros(1).to(inputs["total_ptr"].dtype), inputs["x_ptr"].cumsum(0)])
        sums = (running[ends[1:]] - running[ends[:-1]]).to(inputs["total_ptr"].dtype)
        return {"total_ptr": inputs["total_ptr"] + sums, "sum_ptr": sums}

    def tolerance(self, p):
        return 1e-5


# -- files that cannot be imported by name here, or are another under the interpreter


def in_file(name):
    """A function that opens the kernel `name` of a file beside this one, as ``FILE:NAME``."""

    def opened():
        return get(str(Path(__file__).parent / name))

    opened.__name__ = name.partition(":")[2]
    return opened


DRIVER_AT_IMPORT = in_file("driver_at_import.py:DriverAtImport"), in_file("driver_at_import.py:DriverAtImportTwin")
BY_PROCESS = in_file("by_process.py:ByProcess"), in_file("by_process.py:ByProcessTwin")
