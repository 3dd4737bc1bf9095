"""A table on a GPU: the same numbers, no benchmark, CUDA graphs, threads and streams, GPU time by kernel."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest
import torch

from agent.cli.commands import main
from agent.programs import apply, capture
from kernels.capture.reading.captured_launches import read_capture
from kernels.tuned.compiler_variables import ASSEMBLER, torch_assembler
from kernels.tuned.key import key_of_captured
from kernels.tuned.tuned_environment import environment_of
from kernels.tuned.tuned_file import write_table
from kernels.tuned.tuned_table import Decision, TunedFunction, TunedRow, TunedTable

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def table_from(path, decision):
    """A row with `decision` for each launch of a capture."""
    found, table = read_capture(str(path)), TunedTable()
    for launch in found.launches:
        f = launch.function
        function = TunedFunction(f["module"], f["qualname"], f["identity"])
        key = key_of_captured(launch, found.functions())
        table.add(TunedRow(function, environment_of(0), key, "proven", decision), {"speedup": 1.0})
    return table


@pytest.fixture(scope="module")
def program():
    from tests.kernels.tuned import gpu_program

    return gpu_program


@pytest.fixture
def assembler_of_inductor(monkeypatch, tmp_path):
    """The variables that Inductor sets when it first compiles, from the start."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    if path := torch_assembler():
        monkeypatch.setenv(ASSEMBLER, path)


@pytest.fixture
def tuned_json(program, tmp_path):
    x = torch.arange(4096.0, device="cuda")
    with capture(tmp_path / "run.capture"):
        program.step(x, torch.empty_like(x))
    write_table(table_from(tmp_path / "run.capture", Decision({"BLOCK": 512}, {"num_warps": 2})), tmp_path / "t.json")
    return tmp_path / "t.json"


def test_launches_take_their_rows_and_give_the_same_numbers(program, tuned_json, monkeypatch):
    x = torch.arange(4096.0, device="cuda")
    program.tuned.cache.clear()
    monkeypatch.setattr(type(program.tuned), "_bench", lambda *a, **k: pytest.fail("the autotuner timed a config"))
    with apply(tuned_json) as applied:
        out = torch.empty_like(x)
        compiled = program.step(x, out)
    assert torch.equal(out, 2 * x + 1)
    assert compiled.metadata.num_warps == 2
    assert sorted((r["kernel"], r["launches"]) for r in applied.report()["used"]) == [("in_place", 1), ("tuned", 1)]


def test_a_graph_is_recorded_with_the_rows(program, tuned_json):
    x = torch.arange(4096.0, device="cuda")
    out = torch.empty_like(x)
    with apply(tuned_json) as applied:
        program.step(x, out)  # compiled before the graph, which takes no loading
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            program.step(x, out)
    out.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(out, 2 * x + 1)
    assert sum(r["launches"] for r in applied.report()["used"]) == 4


def test_a_compiled_program_has_the_rows_and_inductors_kernels_stay(
    program, assembler_of_inductor, tuned_json, tmp_path, monkeypatch
):
    """Without, with and again without a table on one cache of compiled graphs: none takes the other's code."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))

    def step(x):
        out = torch.empty_like(x)
        program.step(x, out)
        return torch.relu(out) * 3 + 1

    def compiled(x):
        from torch._inductor.runtime.triton_heuristics import CachingAutotuner

        warps, run = {}, CachingAutotuner.run

        def launch(tuner, *args, **kwargs):
            result = run(tuner, *args, **kwargs)
            if tuner.heuristic_type.name == "USER_AUTOTUNE":
                name = tuner.inductor_meta["kernel_name"].rsplit("_", 1)[0]
                warps[name] = (tuner.launchers[0].config.kwargs.get("BLOCK"), tuner.launchers[0].config.num_warps)
            return result

        torch._dynamo.reset()
        with monkeypatch.context() as patched:
            patched.setattr(CachingAutotuner, "run", launch)
            assert torch.equal(torch.compile(step)(x), torch.relu(2 * x + 1) * 3 + 1)
        return warps

    x = torch.arange(4096.0, device="cuda")
    before = compiled(x)
    with apply(tuned_json) as applied:
        found = compiled(x)
        report = applied.report()["compiled"]
    assert found.keys() == {"tuned", "in_place"}
    assert (found["tuned"], found["in_place"][1]) == ((512, 2), 2)
    assert before["tuned"][0] in (256, 1024)
    assert before["in_place"][1] == 4
    assert {r["kernel"] for r in report["rows"]} == {"in_place", "tuned"}
    assert {one["whose"] for one in report["launched"]} == {"the program", "Inductor"}
    after = compiled(x)
    assert after["tuned"][0] in (256, 1024)
    assert after["in_place"][1] == 4


def test_threads_on_their_own_streams(program, tuned_json):
    wrong = []

    def work():
        x = torch.arange(4096.0, device="cuda")
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(50):
                out = torch.empty_like(x)
                program.step(x, out)
                torch.cuda.current_stream().synchronize()
                wrong.extend([] if torch.equal(out, 2 * x + 1) else [1])

    torch.cuda.synchronize()
    with apply(tuned_json) as applied:
        started = [threading.Thread(target=work) for _ in range(4)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
    assert not wrong
    assert sum(r["launches"] for r in applied.report()["used"]) == 400


def test_a_program_is_compared_by_kernel_and_by_what_it_saves(tmp_path, capfd):
    program = [sys.executable, str(Path(__file__).parent / "gpu_program.py"), str(tmp_path / "out.pt")]
    assert main(["capture", "-o", str(tmp_path / "run.capture"), "--", *program]) == 0
    write_table(table_from(tmp_path / "run.capture", Decision({"BLOCK": 512}, {"num_warps": 2})), tmp_path / "t.json")
    capfd.readouterr()
    options = ["--kernels", "--same", str(tmp_path / "out.pt"), "--json"]
    assert main(["compare", str(tmp_path / "t.json"), *options, "--", *program]) in (0, 3)
    found = json.loads(capfd.readouterr().out)
    assert found["same"]["same"]
    kernels = {k["kernel"]: k for k in found["kernels"]}
    assert {"all kernels", "tuned", "in_place"} <= kernels.keys()
    assert all(kernels[n]["without"] > 0 and kernels[n]["with_"] > 0 for n in ("tuned", "in_place"))
    # The autotuner's benchmark is gone, which launches `tuned` hundreds of times.
    assert kernels["tuned"]["saved"]["low"] > 0
    assert sum(r["launches"] for r in found["rows_used"]["used"]) == 5 * 20
