from __future__ import annotations

from agent.export.owner_line import config_line, decorator_line

KERNEL = """
import triton
import triton.language as tl
from kernels.autotuned import AutotunedKernel, configs_of
from kernels.defaults import normal
from kernels.spec import Problem


def clear(named):
    named["out"].zero_()


@triton.autotune(configs=[triton.Config({"SPLIT": 4}, num_warps=4, pre_hook=clear)], key=["n"])
@triton.jit
def add(x, out, n, SPLIT: tl.constexpr):
    tl.atomic_add(out, tl.load(x))


class AddProblem(Problem):
    dims = ("n",)
    n: int = 64


class Add(AutotunedKernel):
    name = "add_by_atomics"
    metric = "gbps"
    kernel = add
    problem_type = AddProblem
    config_type = configs_of(add)

    def inputs(self, problem, generator, device):
        return (normal((problem.n,), problem.torch_dtype, generator, device),)

    def arguments(self, problem, inputs, out):
        return inputs[0], out, problem.n

    def grid(self, problem, meta):
        return (1,)

    def eager(self, problem, inputs):
        return inputs[0]
"""
CONFIG = {"SPLIT": 4, "num_warps": 4}


def test_both_lines_keep_the_owners_hook(tmp_path):
    (tmp_path / "adds.py").write_text(KERNEL)
    reference = f"{tmp_path / 'adds.py'}:Add"
    line = "triton.Config({'SPLIT': 4}, num_warps=4, pre_hook=clear)"
    assert config_line(reference, CONFIG) == line
    assert decorator_line(reference, CONFIG, {"n": 64}) == f"@triton.autotune(configs=[{line}], key=['n'])"


def test_a_kernel_that_cannot_be_loaded_is_named_beside_its_config():
    line = config_line("nowhere.py:Add", CONFIG)
    assert line.startswith("triton.Config({'SPLIT': 4}, num_warps=4)  # nowhere.py:Add cannot be loaded (")
    assert line.endswith("an autotuned kernel keeps its own key, pre_hook, reset_to_zero and restore_value")
