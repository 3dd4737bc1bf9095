"""``python -m evals judge``: verdicts as JSON, exit codes, and one sentence for what cannot be judged."""

import json

import pytest

from evals.commands.commands import main
from evals.judge.judging import Judging, Options
from evals.judge.read_pairs import pairs
from tests.exploits import judged
from tools.harness.process import sandbox

needs_sandbox = pytest.mark.skipif(sandbox.why_not() is not None, reason="this machine cannot shut a process in")

ATTACK = judged.forward(
    """
bad = []
def tried(what, action):
    try:
        action()
    except (OSError, PermissionError, ValueError):
        return
    bad.append(what)

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
for folder in ("problem", "reference", "entry"):
    tried(f"wrote to {folder}", lambda: open(os.path.join(root, folder, "new"), "w"))
    for name in os.listdir(os.path.join(root, folder)):
        tried(f"changed {name}", lambda: open(os.path.join(root, folder, name), "r+b"))
        tried(f"removed {name}", lambda: os.remove(os.path.join(root, folder, name)))
tried("wrote to the temporary folder", lambda: open(os.path.join(os.path.dirname(root), "new"), "w"))
tried("opened a socket", lambda: __import__("socket").socket())
tried("read the judge's memory", lambda: open(f"/proc/{os.getppid()}/mem", "rb").read(1))
tried("wrote to the judge's memory", lambda: open(f"/proc/{os.getppid()}/mem", "r+b"))
if TRACE and ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0:
    bad.append("traced the judge")
if bad:
    raise RuntimeError("; ".join(bad))
return self.honest(x)
"""
)
FORGERY = judged.forward(
    """
import json, struct
text = json.dumps({"status": "correct", "reason": "", "number": 1, "results": [], "flags": [], "threads": 0}).encode()
for fd in range(3, 40):
    try:
        if os.path.realpath(f"/proc/self/fd/{fd}").rpartition("/")[2].startswith("socket"):
            os.write(fd, struct.pack("!i", len(text)) + text)
    except OSError:
        pass
return self.honest(x)
"""
)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "problem.py").write_text(judged.REFERENCE)
    (tmp_path / "candidate.py").write_text(judged.HONEST["by other operators"])
    return tmp_path / "problem.py", tmp_path / "candidate.py"


@pytest.mark.process
@needs_sandbox
def test_a_candidate_that_is_shut_in_reaches_nothing_and_its_verdict_is_one_object(files, capsys):
    reference, candidate = files
    candidate.write_text(f"TRACE = True\n{ATTACK}")
    code = main(["judge", str(reference), str(candidate), "--device", "cpu"])
    verdict = json.loads(capsys.readouterr().out)
    assert (code, verdict["status"]) == (0, "correct"), verdict["reason"]
    assert verdict["not_timed"]
    assert verdict["timing"] is None
    watched = {g["guard"]: g for g in verdict["guards"]}
    assert watched["no network, no writes, no view of other processes"]["ran"]
    assert not watched["the card must have time to write the result"]["ran"]
    assert any("unchanged" in line for line in verdict["in_candidate_process"])
    assert {g["where"] for g in verdict["guards"]} == {"judge", "reference", "candidate"}


@pytest.mark.process
def test_an_answer_that_something_else_wrote_is_named(files, capsys):
    reference, candidate = files
    candidate.write_text(FORGERY)
    code = main(["judge", str(reference), str(candidate), "--device", "cpu", "--no-sandbox"])
    verdict = json.loads(capsys.readouterr().out)
    assert (code, verdict["status"]) == (3, "forged"), verdict
    assert "your rights" in verdict["sandbox"]


@pytest.mark.process
def test_lines_for_people(files, capsys):
    reference, candidate = files
    candidate.write_text(judged.WRONG["zeros"])
    code = main(["judge", str(reference), str(candidate), "--device", "cpu", "--no-sandbox", "--text"])
    lines = capsys.readouterr().out.splitlines()
    assert code == 3
    assert any(line.startswith("verdict") and "correctness: its output: scale-relative error" in line for line in lines)
    assert any(line.startswith("time") and "not timed" in line for line in lines)


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("x = 1", "problem.py has no Model and no get_inputs: a problem defines Model and get_inputs"),
        ("class Model: pass", "problem.py has no get_inputs"),
        ("def f(:", "problem.py is no Python: "),
    ],
)
def test_a_reference_without_its_names_is_refused_before_anything_runs(source, part, files, capsys):
    reference, candidate = files
    reference.write_text(source)
    assert main(["judge", str(reference), str(candidate), "--no-sandbox"]) == 2
    assert part in capsys.readouterr().err


HEAD = "import torch\nfrom torch import nn\n"
MODEL = HEAD + "class Model(nn.Module):\n    def forward(self, x): return {}\n\ndef get_inputs(): return [{}]\n"


@pytest.mark.process
@pytest.mark.parametrize(
    ("source", "part"),
    [
        (
            "raise ImportError('no such thing')\n" + judged.REFERENCE,
            "it raised ImportError: no such thing (problem.py:1",
        ),
        (
            MODEL.format("x", "torch.randn(2)").replace("[torch", "1/0, [torch"),
            "its get_inputs raised ZeroDivisionError",
        ),
        (MODEL.format("x @ x", "torch.randn(2, 3)"), "its forward raised RuntimeError"),
        (MODEL.format("torch.rand(9)", "torch.randn(9)"), "its result out is random"),
        (MODEL.format("x * torch.nan", "torch.randn(9)"), "its result out is random, or NaN"),
        (MODEL.format("None", "torch.randn(9)"), "it returns no tensor"),
    ],
)
def test_a_reference_that_cannot_be_used_ends_the_command_with_one_sentence(source, part, files, capsys):
    reference, candidate = files
    reference.write_text(source)
    assert main(["judge", str(reference), str(candidate), "--device", "cpu", "--no-sandbox", "--json"]) == 2
    out, err = capsys.readouterr()
    assert f"problem.py cannot be a reference: {part}" in err
    assert json.loads(out)["exit_code"] == 2


@pytest.mark.process
def test_a_problem_whose_check_cannot_fail_is_blind(files, capsys):
    reference, candidate = files
    reference.write_text(MODEL.format("x.sum(-1) * 0", "torch.randn(4, 9)"))
    candidate.write_text(MODEL.format("torch.zeros(4)", "0").replace("Model", "ModelNew"))
    assert main(["judge", str(reference), str(candidate), "--device", "cpu", "--no-sandbox"]) == 3
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["status"] == "blind"
    assert "accepts an output of zeros" in verdict["reason"]


@pytest.mark.process
def test_a_gpu_that_does_not_start_says_nothing_of_the_candidate(files):
    (pair,) = pairs(*files, None)
    v = Judging(pair, Options("cuda:7", sandboxed=False)).run()
    assert v.status == "infrastructure"
    assert v.reason.startswith("cuda:7 cannot be used here: ")


def test_what_does_not_go_together_is_refused(files, tmp_path, capsys):
    reference, candidate = map(str, files)
    (tmp_path / "d.json").write_text("{}")
    for arguments, part in [
        ([reference, str(tmp_path / "no.py")], "no.py cannot be read: no such file"),
        ([reference, str(tmp_path / "d.json")], "two .py files"),
        ([reference, candidate, "--workload", str(tmp_path / "d.json")], "--workload belongs to a definition"),
        ([reference, candidate, "--device", "gpu"], "--device gpu is not known"),
        ([reference, candidate, "--text", "--json"], "exclude each other"),
        ([reference, candidate, "--deadline", "0"], "--deadline"),
    ]:
        assert main(["judge", *arguments]) == 2
        assert part in capsys.readouterr().err


@pytest.mark.process
def test_the_same_attack_finds_something_where_nobody_is_shut_in(files, capsys):
    reference, candidate = files
    candidate.write_text(f"TRACE = False\n{ATTACK}")  # who traces its parent for real stops it
    assert main(["judge", str(reference), str(candidate), "--device", "cpu", "--no-sandbox"]) == 3
    reason = json.loads(capsys.readouterr().out)["reason"]
    assert "wrote to reference" in reason
    assert "removed problem.py" in reason


@pytest.mark.process
def test_a_verdict_without_time_for_other_inputs_names_the_time(files):
    (pair,) = pairs(*files, None)
    verdict = Judging(pair, Options(max_seconds=0.0, sandboxed=False)).run()
    assert verdict.status == "unproven"
    assert "no time in 0 s (--max-seconds)" in verdict.reason
