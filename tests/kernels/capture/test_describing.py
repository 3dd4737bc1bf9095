"""What is kept of a function's source, its identity, and what its compiled code writes."""

from __future__ import annotations

import importlib.util
import json
import linecache
import re
import sys
import textwrap

import numpy as np
import pytest
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kernels.capture.capture_file import line_of
from kernels.capture.describing.decorators import describe_config
from kernels.capture.describing.device_closure import describe_function
from kernels.capture.describing.writes import written_arguments
from kernels.capture.reading.live_functions import NotTheSame, identity_of, live_function
from kernels.capture.reading.rebuilt_functions import rebuild_function
from kernels.finder import SourceLoader
from kernels.hardware import hardware_named
from kernels.triton.stub_driver import StubDriver
from kernels.tuned.key import names_set
from tests.kernels.capture.kernels_by_hand import chosen, closure, kernel, looped, scattered

SOURCE = """
import triton
import triton.language as tl
LIMIT = tl.constexpr(4)
OP = tl.maximum

@triton.jit
def helper(x):
    return OP(x, LIMIT)

@triton.jit
def kernel(x_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x_ptr + at, helper(tl.load(x_ptr + at)))
"""
EDITS = {
    "a comment": ("    at =", "    # here\n    at =", True),
    "a docstring": ("    at =", '    """Words."""\n    at =', True),
    "the alias of an import": ("triton.language as tl", "triton.language as tl, triton.language as other", True),
    "a constant": ("constexpr(4)", "constexpr(5)", False),
    "what a name stands for": ("OP = tl.maximum", "OP = tl.minimum", False),
    "the helper": ("OP(x, LIMIT)", "OP(x, -LIMIT)", False),
    "the body": ("tl.load(x_ptr + at)", "tl.load(x_ptr + at) * 2", False),
    "an option": ("@triton.jit\ndef kernel", "@triton.jit(noinline=True)\ndef kernel", False),
}


def described(function):
    parts = {}

    def keep(kind, body):
        digest, _ = line_of(kind, body)
        parts[digest] = body
        return digest

    return parts[describe_function(function, keep)], parts


def module_of(tmp_path, name, text):
    (tmp_path / f"{name}.py").write_text(text)
    loader = SourceLoader(name, str(tmp_path / f"{name}.py"))  # two texts in one second
    spec = importlib.util.spec_from_loader(name, loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("edit", EDITS)
def test_identity_changes_with_meaning_alone(tmp_path, edit):
    before, after, same = EDITS[edit]
    assert before in SOURCE
    one = described(module_of(tmp_path, "one_place", SOURCE).kernel)[0]["identity"]
    other = described(module_of(tmp_path, "other_place", SOURCE.replace(before, after)).kernel)[0]["identity"]
    assert (one == other) is same


def test_bindings_say_what_every_name_stands_for():
    part, parts = described(kernel)
    assert part["bindings"]["tl"] == {"module": "triton.language"}
    assert part["bindings"]["LIMIT"] == {"constexpr": {"constant": 4}}
    helper = parts[part["bindings"]["helper"]["function"]]
    assert helper["bindings"]["settings"]["namespace"] == {"SCALE": {"constant": 3}}
    assert helper["bindings"]["OP"]["import"][1] == "maximum"
    assert part["options"] == {"do_not_specialize": ["n"]}
    assert part["source"].startswith("def kernel(")


@pytest.mark.parametrize(
    "decorate",
    [
        triton.autotune([triton.Config({"BLOCK": 16})], key=["n"]),
        triton.heuristics({"BLOCK": lambda given: 16}),
        lambda f: triton.heuristics({"BLOCK": lambda g: 16})(triton.autotune([triton.Config({})], key=["n"])(f)),
    ],
    ids=["autotuner", "heuristics", "both"],
)
def test_decorators_around_a_function_do_not_change_it(decorate, monkeypatch):
    monkeypatch.setattr(triton.runtime.driver, "_active", StubDriver(hardware_named("H200")))
    decorated, _ = described(decorate(kernel))
    plain, _ = described(kernel)
    assert (decorated["identity"], decorated["options"]) == (plain["identity"], {"do_not_specialize": ["n"]})


def test_a_closure_with_another_value_is_another_function():
    identities = {described(closure(power))[0]["identity"] for power in (2, 3)}
    assert len(identities) == 2


def ttir(function, signature, constants):
    source = ASTSource(function, signature, constants)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ttir"]


@pytest.mark.compile
def test_written_arguments_are_read_from_the_code():
    pointers = dict.fromkeys(("x_ptr", "y_ptr", "out_ptr"), "*fp32")
    text = ttir(kernel, {**pointers, "n": "i32", "eps": "fp32", "BLOCK": "constexpr"}, {"BLOCK": 16})
    assert written_arguments(text, [*pointers, "n", "eps"]) == {"out_ptr": ["store"], "y_ptr": ["atomic"]}


@pytest.mark.compile
def test_pointers_are_followed_through_loops_and_tables():
    names = ["x_ptr", "out_ptr", "table_ptr", "n"]
    signature = {"x_ptr": "*fp32", "out_ptr": "*fp32", "table_ptr": "*i64", "n": "i32", "BLOCK": "constexpr"}
    found = written_arguments(ttir(looped, signature, {"BLOCK": 16}), names)
    assert found == {"out_ptr": ["store"], "table_ptr": ["through"]}


@pytest.mark.compile
def test_what_an_address_is_computed_of_is_not_written():
    names = ["x_ptr", "y_ptr", "rows_ptr", "stride", "n"]
    signature = {"x_ptr": "*bf16", "y_ptr": "*bf16", "rows_ptr": "*i64", "stride": "i32", "n": "i32"}
    found = written_arguments(ttir(scattered, {**signature, "IGNORED": "constexpr"}, {"IGNORED": -100}), names)
    assert found == {"x_ptr": ["store"]}


@pytest.mark.compile
def test_pointers_are_followed_through_branches_and_while_loops():
    names = ["x_ptr", "y_ptr", "z_ptr", "flags_ptr", "n"]
    signature = {**dict.fromkeys(names[:3], "*fp32"), "flags_ptr": "*i32", "n": "i32"}
    found = written_arguments(ttir(chosen, signature, {}), names)
    assert found == {"x_ptr": ["atomic", "store"], "y_ptr": ["store"], "z_ptr": ["atomic"]}


def test_a_pointer_from_nowhere_is_reported():
    text = textwrap.dedent("""\
        module {
          tt.func public @k(%arg0: !tt.ptr<f32>, %arg1: i64) {
            %0 = tt.call @somewhere() : () -> !tt.ptr<f32>
            tt.store %0, %cst : !tt.ptr<f32>
            tt.return
          }
        }
        """)
    assert written_arguments(text, ["x_ptr", "n"]) == {"?": ["store"]}


def test_a_function_that_changed_is_told_from_one_that_did_not(tmp_path):
    part, _ = described(module_of(tmp_path, "library", SOURCE).kernel)
    assert live_function(part) is sys.modules["library"].kernel
    module_of(
        tmp_path, "library", SOURCE.replace("maximum", "minimum") + "\n"
    )  # of another size: Python compiles it anew
    with pytest.raises(NotTheSame, match="library:kernel has changed"):
        live_function(part)
    del sys.modules["library"]
    with pytest.raises(NotTheSame, match="cannot be imported here"):
        live_function(part)
    with pytest.raises(NotTheSame, match="in no module"):
        live_function(described(closure(2))[0])


def test_a_rebuilt_function_is_the_same_function(tmp_path):
    for function in (kernel, closure(3)):
        part, parts = described(function)
        rebuilt = rebuild_function(next(d for d, p in parts.items() if p is part), parts, tmp_path)
        assert identity_of(rebuilt) == part["identity"]
        assert rebuilt.__name__ == part["name"]


def test_quoted_constants_are_constants_in_the_interpreter_too(tmp_path):
    text = 'x_ptr, é: "any" = "tl.constexpr", BLOCK: "tl.constexpr" = 4, *, N: \'tl.constexpr\' = 2'
    part, parts = described(module_of(tmp_path, "quoted", SOURCE.replace("x_ptr, BLOCK: tl.constexpr", text)).kernel)
    rebuilt = rebuild_function(next(d for d, p in parts.items() if p is part), parts, tmp_path)
    assert rebuilt.fn.__annotations__ == {"é": "any", "BLOCK": tl.constexpr, "N": tl.constexpr}
    assert rebuilt.fn.__defaults__ == ("tl.constexpr", 4)
    assert identity_of(rebuilt) == part["identity"]


def test_what_an_autotuner_sets_to_no_number_is_named():
    values = {"BLOCK": np.int64(16), "MODE": "fast", "NONE": None, "TYPE": tl.float16}
    described = describe_config(triton.Config(values, num_warps=2))
    assert described["kwargs"] == {"BLOCK": 16, "MODE": "fast", "NONE": None}
    assert described["unkept"] == {"TYPE": "fp16"}
    json.dumps(described)
    assert names_set([{"kind": "autotune", "configs": [described]}]) >= values.keys()


@pytest.mark.compile
def test_a_rebuilt_function_compiles_to_the_same_code(tmp_path):
    part, parts = described(kernel)
    rebuilt = rebuild_function(next(d for d, p in parts.items() if p is part), parts, tmp_path)
    signature = {
        "x_ptr": "*fp32",
        "y_ptr": "*fp32",
        "out_ptr": "*fp32",
        "n": "i32",
        "eps": "fp32",
        "BLOCK": "constexpr",
    }
    one, other = (
        re.sub(r" loc\(.*|^#loc.*", "", ttir(f, signature, {"BLOCK": 16}), flags=re.M) for f in (kernel, rebuilt)
    )
    assert one == other


def test_a_notebooks_function_keeps_its_source():
    cell = textwrap.dedent(SOURCE)
    linecache.cache["<ipython-input-1>"] = (len(cell), None, cell.splitlines(keepends=True), "<ipython-input-1>")
    notebook = {"__name__": "__main__"}
    exec(compile(cell, "<ipython-input-1>", "exec"), notebook)
    part, _ = described(notebook["kernel"])
    assert part["source"].startswith("def kernel(x_ptr")
    assert not part["importable"]
