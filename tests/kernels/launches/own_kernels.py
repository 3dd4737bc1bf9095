"""Small kernels, one for each feature of a launch, and for each a twin that is wrong in one result, one layout or one
argument (``WRONG``). Kernels are described in the short form, as autotuned kernels and argument by argument."""

from typing import Literal

import torch
import triton
import triton.language as tl

from kernels.autotuned import AutotunedKernel, configs_of
from kernels.defaults import normal
from kernels.launches.argument_models import (
    DescriptorArgument,
    FunctionArgument,
    PointerTableArgument,
    ScalarArgument,
    SeedArgument,
    TensorArgument,
    TupleArgument,
    Values,
)
from kernels.launches.described import DescribedKernel
from kernels.launches.leaves import PointerTable
from kernels.spec import Config, KernelSpec, Problem


class Line(Problem):
    dims = ("N",)
    N: int = 300


class Rows(Problem):
    dims = ("M", "N")
    M: int = 5
    N: int = 100


class Block(Config):
    BLOCK: Literal[64, 128]


def blocks(problem, meta):
    return (triton.cdiv(problem.N, meta["BLOCK"]),)


def tuned(**options):
    configs = [triton.Config({"BLOCK": b}, num_warps=4) for b in (64, 128)]
    return triton.autotune(configs=options.pop("configs", configs), key=[], **options)


# -- short form


@triton.jit
def scale_and_max(x_ptr, y_ptr, max_ptr, N, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    most = float("-inf")
    for start in range(0, N, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * N + at, mask=at < N, other=float("-inf"))
        tl.store(y_ptr + row * N + at, 2 * x, mask=at < N)
        most = tl.maximum(most, tl.max(x, 0).to(tl.float32))
    tl.store(max_ptr + row, 2 * most if WRONG else most)


class TwoOutputs(KernelSpec):
    """Two results of different shape and dtype."""

    name, metric, wrong = "two_outputs", "gbps", False
    problem_type, config_type = Rows, Block

    def inputs(self, p, g, d):
        return (normal((p.M, p.N), p.torch_dtype, g, d),)

    def launch(self, p, c, inputs, out, hw):
        scale_and_max[(p.M,)](*inputs, *out, p.N, WRONG=self.wrong, BLOCK=c.BLOCK)

    def eager(self, p, inputs):
        return 2 * inputs[0], inputs[0].amax(-1).float()

    def reduced(self, p, c):
        return p


class NamedOutputs(TwoOutputs):
    """The same by name."""

    name = "named_outputs"

    def inputs(self, p, g, d):
        return {"x": normal((p.M, p.N), p.torch_dtype, g, d)}

    def launch(self, p, c, inputs, out, hw):
        scale_and_max[(p.M,)](inputs["x"], out["y"], out["max"], p.N, WRONG=self.wrong, BLOCK=c.BLOCK)

    def eager(self, p, inputs):
        return {"y": 2 * inputs["x"], "max": inputs["x"].amax(-1).float()}


@triton.jit
def halve(x_ptr, n, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(x_ptr + at, 0.25 * x if WRONG else 0.5 * x, mask=at < n)


class InPlace(KernelSpec):
    """The only result is an input."""

    name, metric, wrong = "in_place", "gbps", False
    problem_type, config_type = Line, Block
    inplace = (0,)

    def inputs(self, p, g, d):
        return (normal((p.N,), p.torch_dtype, g, d),)

    def launch(self, p, c, inputs, out, hw):
        halve[(triton.cdiv(p.N, c.BLOCK),)](inputs[0], p.N, WRONG=self.wrong, BLOCK=c.BLOCK)

    def eager(self, p, inputs):
        return 0.5 * inputs[0]


@triton.jit
def copy_rows(x_ptr, out_ptr, N, x_stride, out_stride, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * x_stride + at, mask=at < N)
    tl.store(out_ptr + row * out_stride + at, 2 * x, mask=at < N)


class SlicedInput(KernelSpec):
    """The input is a column slice of a packed tensor; the twin takes its rows to follow one another."""

    name, metric, wrong = "sliced_input", "gbps", False
    problem_type, config_type = Rows, Block

    def inputs(self, p, g, d):
        return (normal((p.M, 3 * p.N), p.torch_dtype, g, d)[:, p.N : 2 * p.N],)

    def launch(self, p, c, inputs, out, hw):
        x = inputs[0]
        stride = p.N if self.wrong else x.stride(0)
        copy_rows[(p.M, triton.cdiv(p.N, c.BLOCK))](x, out, p.N, stride, out.stride(0), BLOCK=c.BLOCK)

    def eager(self, p, inputs):
        return 2 * inputs[0]


class StridedOutput(SlicedInput):
    """The output is a slice of a wider tensor; the twin writes between its rows."""

    name = "strided_output"

    def inputs(self, p, g, d):
        return (normal((p.M, p.N), p.torch_dtype, g, d),)

    def output(self, p, d):
        return torch.empty((p.M, 2 * p.N), dtype=p.torch_dtype, device=d)[:, : p.N]

    def launch(self, p, c, inputs, out, hw):
        width = p.N + 1 if self.wrong else p.N
        strides = inputs[0].stride(0), out.stride(0)
        copy_rows[(p.M, triton.cdiv(p.N, c.BLOCK))](inputs[0], out, width, *strides, BLOCK=c.BLOCK)


class ExpandedInput(SlicedInput):
    """One row, shown M times; the twin reads it as if it were M rows."""

    name = "expanded_input"

    def inputs(self, p, g, d):
        return (normal((1, p.N), p.torch_dtype, g, d).expand(p.M, p.N),)


class Overrun(SlicedInput):
    """The twin writes one element behind its output."""

    name = "overrun"

    def inputs(self, p, g, d):
        return (normal((p.M, p.N), p.torch_dtype, g, d),)

    def launch(self, p, c, inputs, out, hw):
        x, extra = inputs[0].flatten(), int(self.wrong)
        n = p.M * p.N + extra
        copy_rows[(1, triton.cdiv(n, c.BLOCK))](x, out, n, 0, 0, BLOCK=c.BLOCK)


@triton.jit
def gather_rows(table_ptr, out_ptr, N, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    source = tl.load(table_ptr + (0 if WRONG else row)).to(tl.pointer_type(out_ptr.dtype.element_ty))
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + row * N + at, 2 * tl.load(source + at, mask=at < N), mask=at < N)


class Pointers(KernelSpec):
    """An input holds the addresses of others; the twin follows the first of them alone."""

    name, metric, wrong = "pointers", "gbps", False
    problem_type, config_type = Line, Block

    def inputs(self, p, g, d):
        return (PointerTable(normal((p.N,), p.torch_dtype, g, d) for _ in range(4)),)

    def launch(self, p, c, inputs, out, hw):
        grid = (4, triton.cdiv(p.N, c.BLOCK))
        gather_rows[grid](inputs[0].addresses, out, p.N, WRONG=self.wrong, BLOCK=c.BLOCK)

    def eager(self, p, inputs):
        return 2 * torch.stack(inputs[0].tensors)


@triton.jit
def add_maybe(xs, bias_ptr, out_ptr, n, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(xs[0] + at, mask=at < n) + tl.load(xs[0 if WRONG else 1] + at, mask=at < n)
    if bias_ptr is not None:
        total += tl.load(bias_ptr + at, mask=at < n)
    tl.store(out_ptr + at, total, mask=at < n)


class TupleAndNone(KernelSpec):
    """A tuple of tensors, and an optional one that is not there."""

    name, metric, wrong = "tuple_and_none", "gbps", False
    problem_type, config_type = Line, Block

    def inputs(self, p, g, d):
        return tuple(normal((p.N,), p.torch_dtype, g, d) for _ in range(2)), None

    def launch(self, p, c, inputs, out, hw):
        add_maybe[(triton.cdiv(p.N, c.BLOCK),)](*inputs, out, p.N, WRONG=self.wrong, BLOCK=c.BLOCK)

    def eager(self, p, inputs):
        return inputs[0][0] + inputs[0][1]


class Arranged(SlicedInput):
    """The launch gets the rows in an order that the config decides; the twin forgets it."""

    name = "arranged"

    def inputs(self, p, g, d):
        return (normal((p.M, p.N), p.torch_dtype, g, d),)

    def arrange(self, p, c, inputs):
        return inputs if self.wrong else (inputs[0] * (c.BLOCK // 64),)

    def launch(self, p, c, inputs, out, hw):
        copy_rows[(p.M, triton.cdiv(p.N, c.BLOCK))](inputs[0], out, p.N, p.N, p.N, BLOCK=c.BLOCK)
        if c.BLOCK == 128:
            halve[(triton.cdiv(out.numel(), c.BLOCK),)](out, out.numel(), WRONG=False, BLOCK=c.BLOCK)

    def candidates(self, p, hw):
        yield from (Block(BLOCK=128), Block(BLOCK=64))


@triton.jit
def partial_rows(x_ptr, y_ptr, part_ptr, length_ptr, N, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    length = tl.load(length_ptr + row)
    for start in range(0, N, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * N + at, mask=at < length)
        tl.store(part_ptr + row * N + at, x, mask=at < length)
        tl.store(y_ptr + row * N + at, x + x, mask=at < length - (1 if WRONG else 0))


class ScratchAndUnwritten(TwoOutputs):
    """Rows of several lengths: what lies behind a row's end stays as it is. The second output is scratch. The twin
    leaves out the last element of each row."""

    name = "scratch_and_unwritten"
    scratch, unwritten = (1,), (0,)

    def inputs(self, p, g, d):
        x = normal((p.M, p.N), p.torch_dtype, g, d)
        on = {"dtype": torch.int32, "device": d}
        return x, torch.empty(p.M, **on) if d == "meta" else torch.randint(1, p.N, (p.M,), generator=g, **on)

    def output(self, p, d):
        return tuple(torch.empty((p.M, p.N), dtype=p.torch_dtype, device=d) for _ in range(2))

    def launch(self, p, c, inputs, out, hw):
        partial_rows[(p.M,)](inputs[0], *out, inputs[1], p.N, WRONG=self.wrong, BLOCK=c.BLOCK)

    def eager(self, p, inputs):
        behind = torch.arange(p.N, device=inputs[0].device) >= inputs[1][:, None]
        return (2 * inputs[0]).masked_fill(behind, float("nan"))


# -- autotuned


@tuned()
@triton.jit
def power(x_ptr, out_ptr, n, BLOCK: tl.constexpr, SQUARE: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at, x * x if SQUARE else x, mask=at < n)


class KeywordConstexpr(AutotunedKernel):
    """A constexpr behind the tuned one, by keyword."""

    name, metric, wrong, kernel = "keyword_constexpr", "gbps", False, power
    problem_type, config_type = Line, configs_of(power)
    grid = staticmethod(blocks)

    def inputs(self, p, g, d):
        return (normal((p.N,), p.torch_dtype, g, d),)

    def arguments(self, p, inputs, out):
        return (inputs[0], out, p.N), {"SQUARE": not self.wrong}

    def eager(self, p, inputs):
        return inputs[0] * inputs[0]


class ByName(KeywordConstexpr):
    """All arguments by name, in any order."""

    name = "by_name"

    def arguments(self, p, inputs, out):
        return {"SQUARE": not self.wrong, "n": p.N, "out_ptr": out, "x_ptr": inputs[0]}


def make_even(configs, nargs, **kwargs):
    made = {}
    for c in configs:
        block = min(c.kwargs["BLOCK"], triton.next_power_of_2(nargs["n"]))
        even = nargs["n"] % block == 0 or kwargs["ALWAYS"]
        made[block] = triton.Config({"BLOCK": block, "EVEN": even}, num_warps=c.num_warps)
    return list(made.values())


@tuned(prune_configs_by={"early_config_prune": make_even})
@triton.jit
def pruned_copy(x_ptr, out_ptr, n, BLOCK: tl.constexpr, EVEN: tl.constexpr, ALWAYS: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if EVEN:
        tl.store(out_ptr + at, tl.load(x_ptr + at))
    else:
        tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n), mask=at < n)


class PruneMakes(KeywordConstexpr):
    """The prune function sets a parameter; the twin's says that every size is even, and it writes behind its output."""

    name, kernel, config_type = "prune_makes", pruned_copy, configs_of(pruned_copy)

    def arguments(self, p, inputs, out):
        return (inputs[0], out, p.N), {"ALWAYS": self.wrong}

    def eager(self, p, inputs):
        return inputs[0].clone()


def zero_output(nargs):
    nargs["out_ptr"].zero_()


def split_configs(hook):
    return [triton.Config({"SPLIT": s, "BLOCK": 32}, pre_hook=hook if s > 1 else None) for s in (2, 1)]


@triton.jit
def split_sum(x_ptr, out_ptr, lock_ptr, N, SPLIT: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(tl.program_id(1) * BLOCK, N, SPLIT * BLOCK):
        at = start + tl.arange(0, BLOCK)
        total += tl.load(x_ptr + row * N + at, mask=at < N, other=0.0).to(tl.float32)
    tl.atomic_add(out_ptr + row, tl.sum(total))


hooked = tuned(configs=split_configs(zero_output))(split_sum)
cleared = tuned(configs=split_configs(None), reset_to_zero=["out_ptr", "lock_ptr"])(split_sum)
uncleared = tuned(configs=split_configs(None))(split_sum)


def clear_all(nargs, reset_only=False):
    nargs["out_ptr"].zero_()


owner_hook = tuned(configs=split_configs(None), pre_hook=clear_all)(split_sum)


class Cleared(AutotunedKernel):
    """``reset_to_zero`` names the output and a tensor that is None here; the twin's autotuner clears nothing."""

    name, metric, wrong, kernel, deterministic = "cleared", "gbps", False, cleared, False
    problem_type, config_type = Rows, configs_of(cleared)

    def inputs(self, p, g, d):
        return (normal((p.M, p.N), p.torch_dtype, g, d),)

    def arguments(self, p, inputs, out):
        return inputs[0], out, None, p.N

    def grid(self, p, meta):
        return p.M, meta["SPLIT"]

    def eager(self, p, inputs):
        return inputs[0].sum(-1, dtype=torch.promote_types(inputs[0].dtype, torch.float32))

    def reduced(self, p, c):
        return p

    def tolerance(self, p):
        return 1e-5


class PreHook(Cleared):
    """A config's pre-hook fills the output by PyTorch."""

    name, kernel = "pre_hook", hooked

    def candidates(self, p, hw):
        return (c for c in super().candidates(p, hw) if c.SPLIT > 1)


class OwnerHook(Cleared):
    """The autotuner's own pre-hook does."""

    name, kernel = "owner_hook", owner_hook


@triton.heuristics({"EVEN": lambda args: args["n"] % 64 == 0})
@tuned()
@triton.heuristics({"TAIL": lambda args: not args["EVEN"] and args["n"] % args["BLOCK"] != 0})
@triton.jit
def heuristic_copy(x_ptr, out_ptr, n, WRONG: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr, TAIL: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if TAIL and not WRONG:
        tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n), mask=at < n)
    else:
        tl.store(out_ptr + at, tl.load(x_ptr + at))


class Heuristics(KeywordConstexpr):
    """Heuristics on both sides of the autotuner: the lower one sees config and upper one. The twin has no tail."""

    name, kernel, config_type = "heuristics", heuristic_copy, configs_of(heuristic_copy)

    def arguments(self, p, inputs, out):
        return {"x_ptr": inputs[0], "out_ptr": out, "n": p.N, "WRONG": self.wrong}

    def eager(self, p, inputs):
        return inputs[0].clone()


@tuned()
@triton.jit
def persistent(x_ptr, out_ptr, n, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr):
    for start in range(tl.program_id(0) * BLOCK, n, PROGRAMS * BLOCK):
        at = start + tl.arange(0, BLOCK)
        tl.store(out_ptr + at, 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)


class GridOfSms(KeywordConstexpr):
    """As many programs as the card has SMs; the twin launches one fewer than it says."""

    name, kernel, config_type = "grid_of_sms", persistent, configs_of(persistent)

    def default_problem(self):
        return Line(N=1 << 16)  # a block for every SM of any card

    def arguments(self, p, inputs, out, hardware):
        return (inputs[0], out, p.N), {"PROGRAMS": hardware.sms}

    def grid(self, p, meta, hardware):
        return (hardware.sms - self.wrong,)

    def eager(self, p, inputs):
        return 2 * inputs[0]

    def reduced(self, p, c):
        return Line(N=5 * c.BLOCK + 3, dtype=p.dtype)


@tuned(restore_value=["x_ptr"])
@triton.jit
def restored_halve(x_ptr, n, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(x_ptr + at, 0.25 * x if WRONG else 0.5 * x, mask=at < n)


class Restored(KeywordConstexpr):
    """``restore_value`` says which input is written."""

    name, kernel, config_type = "restored", restored_halve, configs_of(restored_halve)

    def arguments(self, p, inputs, out):
        return {"x_ptr": inputs[0], "n": p.N, "WRONG": self.wrong}

    def eager(self, p, inputs):
        return 0.5 * inputs[0]


# -- argument by argument


@triton.jit
def twice(x):
    return x + x


@triton.jit
def thrice(x):
    return x + x + x


@triton.jit
def apply(x_ptr, out_ptr, n, FUNCTION: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, FUNCTION(tl.load(x_ptr + at, mask=at < n)), mask=at < n)


class Function(DescribedKernel):
    """A JIT function as a constexpr."""

    name, metric, wrong, kernel = "function", "gbps", False, apply
    problem_type, config_type = Line, Block
    grid = staticmethod(blocks)

    def described(self, p):
        line = {"shape": (p.N,), "dtype": p.dtype}
        return {
            "x_ptr": TensorArgument(**line),
            "out_ptr": TensorArgument(**line, role="out"),
            "n": ScalarArgument(value=p.N),
            "FUNCTION": FunctionArgument(name=f"{__name__}:{'thrice' if self.wrong else 'twice'}"),
        }

    def eager(self, p, inputs):
        return {"out_ptr": 2 * inputs["x_ptr"]}


@triton.jit
def shift_within(x_ptr, y_ptr, n, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + at + (1 if WRONG else 0), 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)


class AliasedOutput(Function):
    """The output is the second half of the memory of which the input is the first; the twin is one element off."""

    name, kernel = "aliased_output", shift_within

    def described(self, p):
        half = {"shape": (p.N,), "dtype": p.dtype, "storage": "both"}
        return {
            "x_ptr": TensorArgument(**half),
            "y_ptr": TensorArgument(**half, offset=p.N, role="out"),
            "n": ScalarArgument(value=p.N),
            "WRONG": ScalarArgument(value=self.wrong),
        }

    def eager(self, p, inputs):
        return {"y_ptr": 2 * inputs["x_ptr"]}


@triton.jit
def dropout(x_ptr, out_ptr, n, seed, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    kept = tl.rand(seed, (tl.arange(0, BLOCK) if WRONG else at)) > 0.5
    tl.store(out_ptr + at, tl.where(kept, tl.load(x_ptr + at, mask=at < n), 0.0), mask=at < n)


class Random(Function):
    """Numbers from a seed; the twin's depend on the block size."""

    name, kernel = "random", dropout

    def described(self, p):
        return {
            "x_ptr": TensorArgument(shape=(p.N,), dtype=p.dtype),
            "out_ptr": TensorArgument(shape=(p.N,), dtype=p.dtype, role="out"),
            "n": ScalarArgument(value=p.N),
            "seed": SeedArgument(),
            "WRONG": ScalarArgument(value=self.wrong),
        }

    def eager(self, p, inputs):
        from kernels.launches.philox import rand

        kept = rand(inputs["seed"], torch.arange(p.N, device=inputs["x_ptr"].device)) > 0.5
        return {"out_ptr": torch.where(kept, inputs["x_ptr"], 0)}


@triton.jit
def described_pair(pair, table_ptr, out_ptr, n, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(pair[0] + at, mask=at < n) * pair[1]
    for i in tl.static_range(1 if WRONG else 2):
        row = tl.load(table_ptr + i).to(tl.pointer_type(out_ptr.dtype.element_ty))
        total += tl.load(row + at, mask=at < n)
    tl.store(out_ptr + at, total, mask=at < n)


class PairAndTable(Function):
    """A tuple of a tensor and a number, and a pointer table; the twin reads one row of the table."""

    name, kernel = "pair_and_table", described_pair

    def described(self, p):
        line = TensorArgument(shape=(p.N,), dtype=p.dtype)
        return {
            "pair": TupleArgument(items=(line, ScalarArgument(value=2))),
            "table_ptr": PointerTableArgument(items=(line, line)),
            "out_ptr": TensorArgument(shape=(p.N,), dtype=p.dtype, role="out"),
            "n": ScalarArgument(value=p.N),
            "WRONG": ScalarArgument(value=self.wrong),
        }

    def eager(self, p, inputs):
        x, factor = inputs["pair"]
        return {"out_ptr": x * factor + sum(inputs["table_ptr"].tensors)}


@triton.jit
def through_descriptor(x_desc, out_desc, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.program_id(1) * BLOCK
    x = x_desc.load([row, at])
    out_desc.store([row, at], x if WRONG else x + x)


class Descriptors(Function):
    """Host descriptors whose block shape the config sets."""

    name, kernel, problem_type = "descriptors", through_descriptor, Rows

    def default_problem(self):
        return Rows(N=104)

    def described(self, p):
        rows = {"shape": (p.M, p.N), "dtype": p.dtype, "stride": (p.N + 8, 1)}
        return {
            "x_desc": DescriptorArgument(base=TensorArgument(**rows), block_shape=(1, "BLOCK")),
            "out_desc": DescriptorArgument(base=TensorArgument(**rows, role="out"), block_shape=(1, "BLOCK")),
            "WRONG": ScalarArgument(value=self.wrong),
        }

    def grid(self, p, meta):
        return p.M, triton.cdiv(p.N, meta["BLOCK"])

    def eager(self, p, inputs):
        return {"out_desc": 2 * inputs["x_desc"]}


@triton.jit
def take(x_ptr, index_ptr, out_ptr, n, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    index = tl.load(index_ptr + at, mask=at < n, other=0)
    tl.store(out_ptr + at, tl.load(x_ptr + (at if WRONG else index), mask=at < n), mask=at < n)


class Indexed(Function):
    """Integers that index; the twin ignores them."""

    name, kernel = "indexed", take

    def described(self, p):
        line = {"shape": (p.N,), "dtype": p.dtype}
        order = TensorArgument(shape=(p.N,), dtype="int64", values=Values(draw="permutation"))
        return {
            "x_ptr": TensorArgument(**line),
            "index_ptr": order,
            "out_ptr": TensorArgument(**line, role="out"),
            "n": ScalarArgument(value=p.N),
            "WRONG": ScalarArgument(value=self.wrong),
        }

    def eager(self, p, inputs):
        return {"out_ptr": inputs["x_ptr"][inputs["index_ptr"]]}
