"""The line can be pasted: it makes an autotuner with the owner's hooks and key."""

from __future__ import annotations

import pytest
import triton
import triton.language as tl

from kernels.launches.owner_decorator import owner_config, owner_decorator, owner_hook


def clear(named):
    named["out"].zero_()


def done(named, exception):
    pass


@triton.jit
def kernel(x, out, n, SPLIT: tl.constexpr):
    tl.store(out, tl.load(x))


def configs(hook=clear):
    return [triton.Config({"SPLIT": s}, num_warps=4, pre_hook=hook if s > 1 else None) for s in (1, 2, 4)]


def pasted(line):
    made = eval(line.removeprefix("@"), {"triton": triton, "clear": clear, "done": done})
    return made(kernel)


@pytest.mark.parametrize(
    ("values", "hook"),
    [
        ({"SPLIT": 4, "num_warps": 4, "num_stages": 3}, clear),
        ({"SPLIT": 4, "num_warps": 8, "num_stages": 3}, clear),  # the hook of its constants
        ({"SPLIT": 1, "num_warps": 8, "num_stages": 3}, None),
    ],
)
def test_the_hook_of_the_config_and_the_owners_key_stay(values, hook):
    tuned = triton.autotune(configs(), key=["n"], reset_to_zero=["out"], post_hook=done)(kernel)
    line = owner_decorator(tuned, values)
    assert "#" not in line
    made = pasted(line)
    (config,) = made.configs
    assert config.pre_hook is hook
    assert (config.kwargs, config.num_warps) == ({"SPLIT": values["SPLIT"]}, values["num_warps"])
    assert (made.keys, made.reset_to_zero, made.post_hook) == (["n"], ["out"], done)


def test_a_hook_without_a_name_stands_in_a_comment():
    tuned = triton.autotune(configs(lambda named: None), key=["n"])(kernel)
    line = owner_decorator(tuned, {"SPLIT": 2, "num_warps": 4})
    assert "  # keep the config's pre_hook (" in line
    assert pasted(line).configs[0].pre_hook is None


def test_a_config_for_which_no_hook_is_known_stands_in_a_comment():
    tuned = triton.autotune(configs(), key=["n"])(kernel)
    assert "have different pre_hooks" in owner_decorator(tuned, {"SPLIT": 8, "num_warps": 4})


def test_a_kernel_that_is_not_autotuned_is_refused():
    with pytest.raises(ValueError, match="is not decorated with @triton"):
        owner_decorator(kernel, {})


def test_a_config_alone_has_its_hook_and_says_what_its_decorator_keeps():
    tuned = triton.autotune(configs(), key=["n"])(kernel)
    four, one = ({"SPLIT": s, "num_warps": 4, "num_stages": 3} for s in (4, 1))
    assert owner_config(tuned, four) == "triton.Config({'SPLIT': 4}, num_warps=4, num_stages=3, pre_hook=clear)"
    assert owner_config(tuned, one) == "triton.Config({'SPLIT': 1}, num_warps=4, num_stages=3)"
    assert (owner_hook(tuned, four), owner_hook(tuned, one), owner_hook(kernel, four)) == (clear, None, None)
    tuned = triton.autotune(configs(), key=["n"], reset_to_zero=["out"], post_hook=done)(kernel)
    assert owner_config(tuned, four).endswith("pre_hook=clear)  # keep the autotuner's reset_to_zero and post_hook")
    with pytest.raises(ValueError, match="different pre_hooks"):
        owner_hook(tuned, {"SPLIT": 8, "num_warps": 4})
    with pytest.raises(ValueError, match="not decorated"):
        owner_config(kernel, four)
