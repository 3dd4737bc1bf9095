"""Traces of tritonparse, in their exact form, are captures with less in them."""

import gzip
import inspect
import json
import math

import pytest
import triton
import triton.language as tl

from agent.cli.commands import main
from agent.errors import UsageError
from agent.programs.improvement.improve_plan import plan
from kernels.capture.capture_file import NotACapture
from kernels.capture.reading.captured_launches import read_capture
from kernels.capture.reading.live_functions import identity_of
from kernels.hardware import hardware_named

FACTOR = 2


@triton.jit(do_not_specialize=["n"])
def scaled(x_ptr, out_ptr, n, scale, BLOCK: tl.constexpr):
    """Doubles x."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at, x * scale * math.pi, mask=at < n)


@triton.jit
def with_constant(x_ptr, out_ptr, n, scale, BLOCK: tl.constexpr):
    tl.store(out_ptr, tl.load(x_ptr) * FACTOR)


@triton.autotune([triton.Config({"BLOCK": 64})], key=["n"])
@triton.jit
def tuned(x_ptr, out_ptr, n, scale, BLOCK: tl.constexpr):
    tl.store(out_ptr, tl.load(x_ptr))


TTIR = """module {
  tt.func public @scaled(%x_ptr: !tt.ptr<f32>, %out_ptr: !tt.ptr<f32>, %n: i32, %scale: f32) {
    %0 = tt.get_program_id x : i32
    %1 = tt.splat %out_ptr : !tt.ptr<f32> -> tensor<64x!tt.ptr<f32>>
    %2 = tt.splat %x_ptr : !tt.ptr<f32> -> tensor<64x!tt.ptr<f32>>
    %3 = tt.load %2 : tensor<64x!tt.ptr<f32>>
    tt.store %1, %3 : tensor<64x!tt.ptr<f32>>
    tt.return
  }
}
"""


def compilation(function, digest, **changed):
    while not inspect.isfunction(function):
        function = function.fn
    lines, start = inspect.getsourcelines(function)
    metadata = {"hash": digest, "name": function.__name__, "num_warps": 4, "num_stages": 3, "num_ctas": 1}
    return {
        "event_type": "compilation",
        "pid": 17,
        "stack": [],
        "timestamp": "2026-08-06T10:27:51.%fZ",
        "payload": {
            "metadata": metadata,
            "file_path": {},
            "file_content": {f"{function.__name__}.ttir": TTIR, f"{function.__name__}.json": "{}"},
            "python_source": {"file_path": __file__, "start_line": start, "code": "".join(lines)},
            **changed,
        },
    }


def tensor(address, shape=(100,), dtype="float32", offset=0):
    stride = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    return {
        "type": "tensor",
        "shape": list(shape),
        "dtype": f"torch.{dtype}",
        "device": "cuda:0",
        "stride": stride,
        "numel": math.prod(shape),
        "storage_offset": offset,
        "data_ptr": hex(address),
    }


def launch(digest, grid=(2,), name="scaled", arguments=None, stack=(), **metadata):
    about = {
        "hash": digest,
        "name": name,
        "num_warps": 4,
        "num_stages": 3,
        "num_ctas": 1,
        "maxnreg": None,
        "target": {"backend": "cuda", "arch": 90, "warp_size": 32},
        "triton_version": triton.__version__,
        **metadata,
    }
    own = {
        "x_ptr": tensor(0x7F0000000000),
        "out_ptr": tensor(0x7F0000001000),
        "n": {"type": "int", "value": 100},
        "scale": {"type": "float", "value": 1.5},
        "BLOCK": {"type": "int", "value": 64},
    }
    return {
        "event_type": "launch",
        "pid": 17,
        "name": name,
        "function": 94777959325904,
        "stream": 0,
        "grid": list(grid),
        "compilation_metadata": about,
        "extracted_args": own if arguments is None else arguments,
        "extracted_inductor_args": {},
        "stack": [{"line": 1, "name": n, "filename": "x.py", "loc": ""} for n in stack],
        "timestamp": "2026-08-06T10:27:51.%fZ",
    }


def written(path, events, pack=False):
    text = "".join(f"{e if isinstance(e, str) else json.dumps(e)}\n" for e in events).encode()
    path.write_bytes(gzip.compress(text) if pack else text)
    return str(path)


@pytest.mark.parametrize("pack", [False, True])
def test_launches_have_their_functions_arguments_and_writes(tmp_path, pack):
    other = launch("a", grid=(3, 1, 1), num_warps=8)
    events = [
        launch("a"),
        compilation(scaled, "a"),
        launch("a"),
        other,
        {"event_type": "launch_diff", "name": "scaled"},
    ]
    capture = read_capture(written(tmp_path / ("t.ndjson.gz" if pack else "t.ndjson"), events, pack))
    first, second = capture.launches
    assert (first.count, second.count) == (2, 1)
    assert first.function["identity"] == identity_of(scaled)
    assert first.writes == {"out_ptr": ["store"]}
    assert (first.grid["came_out"], second.grid["came_out"]) == ([2], [3, 1, 1])
    assert (first.options, second.options["num_warps"]) == ({}, 8)
    assert first.arguments["x_ptr"]["alignment"] == 16
    assert first.arguments["BLOCK"] == {"type": "int", "value": 64, "constexpr": True}
    assert [s["bytes"] for s in first.storages] == [400, 400]
    assert first.device["name"] is None
    assert first.ms is None
    assert "no values" in capture.notes[0]


def test_tensors_that_share_memory_are_told(tmp_path):
    arguments = launch("a")["extracted_args"] | {
        "x_ptr": tensor(0x7F0000000100, (4, 16), offset=64),
        "out_ptr": tensor(0x7F0000000000, (64,)),
    }
    events = [compilation(scaled, "a"), launch("a", arguments=arguments)]
    (found,) = read_capture(written(tmp_path / "t.ndjson", events)).launches
    assert found.arguments["x_ptr"]["storage"] == found.arguments["out_ptr"]["storage"] == 0
    assert [s["bytes"] for s in found.storages] == [512]


def test_what_cannot_be_kept_is_listed_with_its_reason(tmp_path):
    events = [
        compilation(scaled, "a"),
        launch("a", stack=("run", "_bench", "do_bench")),
        launch("b"),
        launch("a", arguments={"_note": "argument extraction skipped during CUDA graph capture"}),
        "{cut off",
    ]
    capture = read_capture(written(tmp_path / "t.ndjson", events))
    assert not capture.launches
    assert capture.damaged == 1
    reasons = {reason.partition(":")[0] for reason, _ in capture.unseen}
    assert reasons == {
        "the autotuner's benchmark",
        "the trace holds no compilation of it",
        "the trace holds no arguments of it",
    }


def test_files_that_are_no_trace_are_refused(tmp_path):
    for name, content, part in [
        ("z.ndjson", b"\x28\xb5\x2f\xfd1234", "unpack it first"),
        ("other.ndjson", b'{"a": 1}\n', "is no capture"),
        ("empty.ndjson", b"", "is no capture"),
        ("cut.ndjson.gz", gzip.compress(b'{"event_type": "launch"}\n')[:6], "is no capture"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NotACapture, match=part):
            read_capture(str(tmp_path / name))


def test_a_trace_is_shown_with_what_it_lacks(tmp_path, capsys):
    path = written(tmp_path / "t.ndjson", [compilation(scaled, "a"), launch("a")])
    assert main(["captures", "show", path]) == 0
    out = capsys.readouterr().out
    assert "1 launch, 1 distinct, of 1 function" in out
    assert "no values, no times" in " ".join(out.split())


def three_kernels(path):
    events = [compilation(scaled, "a"), launch("a"), compilation(with_constant, "b"), launch("b", name="with_constant")]
    return written(path, [*events, compilation(tuned, "c"), launch("c", name="tuned")])


def test_a_plan_takes_what_a_trace_holds_enough_of(tmp_path):
    found = plan(read_capture(three_kernels(tmp_path / "t.ndjson")), 1.0, None, None, None)
    (job,) = found.jobs
    assert (job.launch.name, job.key["options"]) == ("scaled", {})
    untuned = {u.kernel.partition(" ")[0]: u.reason for u in found.untuned}
    assert "name outside the kernel's own source" in untuned["with_constant"]
    assert "does not hold its autotune" in untuned["tuned"]


def test_a_trace_belongs_to_the_gpus_of_its_architecture(tmp_path):
    capture = read_capture(three_kernels(tmp_path / "t.ndjson"))
    assert plan(capture, 1.0, None, "NVIDIA H100 80GB HBM3", hardware_named("H100")).jobs
    with pytest.raises(UsageError, match="of the architecture 90, and this is NVIDIA A100"):
        plan(capture, 1.0, None, "NVIDIA A100", hardware_named("A100"))


@pytest.mark.process
@pytest.mark.long
def test_a_trace_is_improved(tmp_path, capsys):
    path = three_kernels(tmp_path / "t.ndjson")
    table = tmp_path / "tuned.json"
    assert main(["improve", path, "--device", "interpreter", "-o", str(table), "--json"]) == 3, capsys.readouterr().out
    (row,) = json.loads(table.read_text())["decisions"]
    assert row["function"]["identity"] == identity_of(scaled)
