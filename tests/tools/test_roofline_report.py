"""What is said of a launch's roofline, and what is not."""

from types import SimpleNamespace

from kernels.capture.reading.captured_launches import read_capture
from kernels.captured.captured_kernels import captured_kernel
from kernels.hardware import hardware_named
from tools.evidence.answer import traffic
from tools.roofline_report import run


def reported(spec, problem):
    task = SimpleNamespace(spec=spec, problem=problem, hardware=hardware_named("H200"))
    best = SimpleNamespace(ms=1e-4, config={"BLOCK": 256})
    session = SimpleNamespace(task=task, best=lambda: best, ceilings=dict, config=lambda values: values)
    return run(session, SimpleNamespace(config=None), "call")


def test_of_a_captured_launch_whose_bytes_are_not_known_nothing_is_claimed(captured_example, monkeypatch):
    monkeypatch.setattr("tools.roofline_report.limit_of", lambda session, config: {})
    launch = read_capture(str(captured_example)).launches[0]
    spec = captured_kernel(f"{captured_example}#{launch.digest}")
    unknown, known = spec.problem_of(), spec.problem_of(moved=launch.bytes)
    assert "the bytes that it needs" in reported(spec, unknown)["why"]
    report = reported(spec, known)
    assert report["bytes"] == launch.bytes
    assert report["share_of_floor"] > 0


def test_what_code_asks_for_is_compared_with_known_bytes_alone():
    work = SimpleNamespace(l2_bytes=4000, asked_bytes=3000, matrix={})
    one = SimpleNamespace(work=work, launch=SimpleNamespace(blocks=2))
    assert traffic(SimpleNamespace(launches=[one], bytes=1)) == {"through_l2_mb": 0.008}
    assert traffic(SimpleNamespace(launches=[one], bytes=2000)) == {
        "problem_mb": 0.002, "through_l2_mb": 0.008, "rereads": 3
    }  # fmt: skip
