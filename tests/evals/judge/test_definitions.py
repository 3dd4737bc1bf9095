"""Definitions, solutions and workloads of flashinfer-bench and SOL-ExecBench, in their exact form."""

import json

import pytest

from evals.commands.commands import main
from evals.errors import EvalsError
from evals.judge.definitions import evaluate

REFERENCE = """
import torch

def run(x, weight, eps):
    wide = x.to(torch.float32)
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps) * weight.to(torch.float32)).to(x.dtype)

def make_inputs(axes, device):
    return {"x": torch.rand(axes["rows"], axes["width"]), "weight": torch.rand(axes["width"]), "eps": 1e-5}
"""
KERNEL = """
from parts.squares import mean_square

def run(x, weight, eps, *outputs):
    wide = x.float()
    y = (wide / (mean_square(wide) + eps).sqrt() * weight.float()).to(x.dtype)
    if not outputs:
        return y
    outputs[0].copy_(y)
"""
DEFINITION = {
    "name": "rmsnorm_d24",
    "op_type": "norm",
    "tags": ["status:draft"],
    "axes": {
        "rows": {"type": "var"},
        "heads": {"type": "const", "value": 3},
        "width": {"type": "expr", "expression": "heads * 2 ** 3"},
    },
    "inputs": {
        "x": {"shape": ["rows", "width"], "dtype": "float16"},
        "weight": {"shape": ["width"], "dtype": "float16"},
        "eps": {"shape": None, "dtype": "float32"},
    },
    "outputs": {"y": {"shape": ["rows", "width"], "dtype": "float16"}},
    "reference": REFERENCE,
}
SOLUTION = {
    "name": "mine",
    "definition": "rmsnorm_d24",
    "author": "me",
    "spec": {"language": "triton", "target_hardware": ["H200"], "entry_point": "main.py::run", "dependencies": []},
    "sources": [
        {"path": "main.py", "content": KERNEL},
        {
            "path": "parts/squares.py",
            "content": "def mean_square(x):\n    return (x * x).sum(-1, keepdim=True) / x.shape[-1]",
        },
    ],
}
WORKLOAD = {
    "uuid": "w1",
    "axes": {"rows": 5},
    "inputs": {"x": {"type": "random"}, "weight": {"type": "random"}, "eps": {"type": "scalar", "value": 1e-6}},
}


@pytest.fixture
def judge(tmp_path, capsys):
    """A function: exit code, stdout as JSON (None if there is none) and stderr for these objects."""

    def run(definition=DEFINITION, solution=SOLUTION, workloads=(WORKLOAD,), *more):
        for name, text in [
            ("d", json.dumps(definition)),
            ("s", json.dumps(solution)),
            ("w", "\n".join(w if isinstance(w, str) else json.dumps(w) for w in workloads)),
        ]:
            (tmp_path / f"{name}.json").write_text(text)
        paths = [str(tmp_path / f"{name}.json") for name in ("d", "s", "w")]
        code = main(["judge", *paths[:2], "--workload", paths[2], "--device", "cpu", "--no-sandbox", *more])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err

    return run


def changed(value, **fields):
    return {**value, **fields}


def with_spec(**fields):
    return changed(SOLUTION, spec={**SOLUTION["spec"], **fields})


@pytest.mark.process
def test_both_dialects_and_both_styles_are_judged_line_by_line(judge):
    bare = changed(WORKLOAD, uuid="bare", tolerance={"max_atol": 0.1, "required_matched_ratio": 0.99})
    trace = {"definition": "rmsnorm_d24", "solution": None, "workload": WORKLOAD, "evaluation": None}
    code, found, err = judge(workloads=(trace, bare))
    assert code == 0, found or err
    first, second = found["verdicts"]
    assert (first["workload"], second["workload"]) == ("w1", "bare")
    assert first["status"] == second["status"] == "correct"
    assert (first["precision"], first["parameters"]) == ("in float64", "none")
    assert any("tolerance" in note for note in second["notes"])

    listed = with_spec(languages=["triton"], destination_passing_style=False)
    del listed["spec"]["language"]
    custom = changed(WORKLOAD, inputs={n: {"type": "custom"} for n in WORKLOAD["inputs"]})
    definition = changed(
        DEFINITION,
        custom_inputs_entrypoint="make_inputs",
        inputs={n: {**x, "dtype": "float32"} for n, x in DEFINITION["inputs"].items()},
    )
    code, found, err = judge(definition, listed, (custom,))
    assert code == 0, found or err


@pytest.mark.process
def test_outputs_that_are_handed_over_are_guarded(judge):
    nothing = changed(SOLUTION, sources=[{"path": "main.py", "content": "def run(x, weight, eps, y):\n    pass\n"}])
    code, found, _ = judge(solution=nothing)
    assert (code, found["verdicts"][0]["status"]) == (3, "correctness")
    beyond = KERNEL + "    outputs[0].as_strided((outputs[0].numel() + 1,), (1,))[-1] = 0\n"
    sources = [{"path": "main.py", "content": beyond}, SOLUTION["sources"][1]]
    code, found, _ = judge(solution=changed(SOLUTION, sources=sources))
    assert "writes outside its outputs" in found["verdicts"][0]["reason"]


def test_what_is_wrong_in_a_file_is_one_sentence(judge, tmp_path):
    axes = DEFINITION["axes"]
    for arguments, part in [
        ((changed(DEFINITION, reference="def f(): pass"),), "has no function run"),
        ((changed(DEFINITION, reference="def f(:"),), "is no Python"),
        ((changed(DEFINITION, axes={**axes, "rows": {"type": "const"}}),), "the axis rows has no value"),
        ((changed(DEFINITION, axes={**axes, "width": {"type": "expr", "expression": "width + 1"}}),), "by one another"),
        (
            (changed(DEFINITION, axes={**axes, "width": {"type": "expr", "expression": "len(heads)"}}),),
            "neither a number",
        ),
        ((changed(DEFINITION, outputs={"y": {"shape": ["k"], "dtype": "float16"}}),), "has the axis k"),
        (
            (changed(DEFINITION, outputs={"y": {"shape": [], "dtype": "float4_e2m1"}}),),
            "cannot compare",
        ),
        (({"name": "x"},), "is no definition: axes: it is missing"),
        ((DEFINITION, changed(SOLUTION, definition="other")), "solves 'other'"),
        ((DEFINITION, with_spec(language="cuda")), "is written in cuda: the judge runs Python and Triton"),
        ((DEFINITION, with_spec(entry_point="main.py")), "write FILE.py::FUNCTION"),
        ((DEFINITION, with_spec(entry_point="other.py::run")), "sources hold main.py"),
        (
            (DEFINITION, changed(SOLUTION, sources=[*SOLUTION["sources"], {"path": "../x.py", "content": ""}])),
            "leads out of the solution's folder",
        ),
        ((DEFINITION, SOLUTION, ("{",)), "w.json:1 is no JSON"),
        ((DEFINITION, SOLUTION, ()), "holds no workload"),
        ((DEFINITION, SOLUTION, (changed(WORKLOAD, axes={}),)), "gives no size for the axis rows"),
        ((DEFINITION, SOLUTION, (changed(WORKLOAD, axes={"rows": -1}),)), "is -1"),
        ((DEFINITION, SOLUTION, (changed(WORKLOAD, inputs={}),)), "says nothing about the input x"),
        ((DEFINITION, SOLUTION, ({"definition": "other", "workload": WORKLOAD},)), "belongs to 'other'"),
    ]:
        code, _, err = judge(*arguments)
        assert code == 2, part
        assert part in err, err
        assert len(err.splitlines()) == 1


def test_sizes_are_arithmetic_and_nothing_else():
    assert evaluate("a // 2 + b * (3 - 1)", {"a": 9, "b": 5}, "x") == 14
    for text in ("a / 2", "a ** 999", "1 / 0", "__import__('os')", "a.b", "'1'", "True", "a +"):
        with pytest.raises(EvalsError, match=r"^x is "):
            evaluate(text, {"a": 9}, "x")
