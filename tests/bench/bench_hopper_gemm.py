"""The matmul family ``warp_specialized`` on one GPU in under 100 s: right, and how fast in which arrangement.

    python -m tests.bench.bench_hopper_gemm | tee docs/data/hopper-gemm.txt

Compiles everything on all cores, checks each variant in a child with a deadline (a hang or an illegal access stops that
variant alone), then times what passed, in a child too: burst and sustained, interleaved, against cuBLAS and Triton.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

STARTED = float(os.environ.setdefault("PROBE_STARTED", str(time.time())))
BUDGET = 100.0
os.environ.setdefault("TRITON_CACHE_DIR", tempfile.mkdtemp(prefix="gluon_probe_"))
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

import torch  # noqa: E402

from kernels import registry  # noqa: E402
from kernels.gemm import gluon, launch  # noqa: E402
from kernels.gemm.gluon_space import constraint, takes_turns  # noqa: E402
from kernels.gemm.space import GemmConfig  # noqa: E402
from kernels.hardware import Hardware, hardware_for, hardware_named  # noqa: E402
from kernels.triton import activations  # noqa: E402

if TYPE_CHECKING:
    from tools.harness.measuring.telemetry import Nvml

FUSED = registry.get("fused_matmul")
Mix = tuple[str, str, bool, str]
"""Layout of B, dtype, whether there is a bias, activation."""
Snake = Literal[0, 1, 2]
Calls = dict[str, Callable[[], object]]
Window = tuple[float, float, float]
"""ms, watts, MHz."""


def left() -> float:
    return BUDGET - (time.time() - STARTED)


def ws(
    bm: int, bn: int, stages: int, subtile: Any, warps: int = 8, group: int = 16, consumers: int = 1, bk: int = 64
) -> GemmConfig:
    return GemmConfig(
        family="warp_specialized",
        BLOCK_M=bm,
        BLOCK_N=bn,
        BLOCK_K=bk,
        GROUP_M=group,
        num_warps=warps,
        num_stages=stages,
        EPILOGUE_SUBTILE=subtile,
        CONSUMERS=consumers,
    )


def plain(subtile: Any) -> GemmConfig:
    return GemmConfig(
        family="persistent_tma",
        BLOCK_M=128,
        BLOCK_N=256,
        BLOCK_K=64,
        GROUP_M=8,
        num_warps=8,
        num_stages=3,
        EPILOGUE_SUBTILE=subtile,
        FLATTEN=True,
    )


# Simplest first.
VARIANTS = {
    "one whole s3": ws(128, 256, 3, 1),
    "one /4 s4": ws(128, 256, 4, 4),
    "one /4 s4 g8": ws(128, 256, 4, 4, group=8),
    "one /2 s3": ws(128, 256, 3, 2),
    "halves whole s3": ws(128, 256, 3, 1, consumers=2),
    "halves /4 s4": ws(128, 256, 4, 4, consumers=2),
    "halves /4 s4 g8": ws(128, 256, 4, 4, consumers=2, group=8),
    "halves 256x128 /2 s3": ws(256, 128, 3, 2, consumers=2),
    "turns 128x128 /2 s5": ws(128, 128, 5, 2, consumers=2),
    "turns 64x256 /4 s4": ws(64, 256, 4, 4, consumers=2),
    "one 128x128 /2 s6": ws(128, 128, 6, 2),
    "one 64x128 w4 s7": ws(64, 128, 7, 1, warps=4),
    "one 64x64 bk128 w4 s5": ws(64, 64, 5, 1, warps=4, bk=128),
}
SHAPES = [(256, 512, 64), (1000, 1096, 520), (72, 8, 8), (2048, 4096, 1032), (4096, 4096, 4096)]
MIXES: list[Mix] = [("row", "fp16", False, "leaky_relu"), ("col", "bf16", True, "gelu"), ("row", "bf16", True, "silu")]
SNAKED = ("one /4 s4", "halves /4 s4", "turns 128x128 /2 s5")
GROUPS = [[n] for n in list(VARIANTS)[:2]] + [list(VARIANTS)[i : i + 3] for i in range(2, len(VARIANTS), 3)]
BURST_SHAPES = [(8192, 4096, 4096), (16384, 4096, 1024)]


def problem(shape: tuple[int, ...], mix: Mix) -> Any:
    layout, dtype, bias, activation = mix
    return FUSED.parse_problem(shape, {"b_layout": layout, "dtype": dtype, "bias": bias, "activation": activation})


def matrices(
    p: Any, generator: torch.Generator | None, device: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    a, b, bias = FUSED.inputs(p, generator, device)
    assert a is not None
    assert b is not None
    return a, b, bias


def compile_one(job: tuple[str, Mix, Snake]) -> tuple[str, int, str | None]:
    """In a forked child of a process without a CUDA context."""
    from triton.runtime import driver

    from kernels.triton.stub_driver import StubDriver
    from tools.harness.compiling.compiler import warm_ups_only

    driver.set_active(StubDriver(hardware_named("H200")))
    name, mix, snake = job
    h = hardware_named("H200")
    try:
        with warm_ups_only() as compiled:
            p = problem((4096, 4096, 4096), mix)
            a, b, bias = matrices(p, None, "meta")
            out = FUSED.output(p, "meta")
            if name.startswith("plain"):
                launch.launch_gemm(a, b, bias, out, p.activation, plain(int(name[-1])), h)
            else:
                gluon.launch(a, b, bias, out, p.activation, VARIANTS[name], h, snake=snake)
        return name, compiled[0][0].metadata.shared, None
    except Exception as e:  # noqa: BLE001 -- what the compiler says of a variant is the answer
        return name, 0, f"{type(e).__name__}: {e}"[-300:]


def check(names: list[str]) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    h = hardware_for(torch.cuda.get_device_name()) or hardware_named("H200")
    from tools.harness.checking.verify import fault

    for name in names:
        for shape in SHAPES:
            for mix in MIXES if shape != SHAPES[-1] else MIXES[:1]:
                p = problem(shape, mix)
                inputs = matrices(p, torch.Generator("cuda").manual_seed(1), "cuda")
                snakes: tuple[Snake, ...] = (2, 1, 0) if name in SNAKED and shape == SHAPES[-1] else (2,)
                for snake in snakes:
                    outs = []
                    for _ in range(3):
                        out = FUSED.output(p, "cuda").fill_(float("nan"))
                        gluon.launch(*inputs, out, p.activation, VARIANTS[name], h, snake=snake)
                        torch.cuda.synchronize()
                        outs.append(out)
                    reason = fault(FUSED, p, outs[-1], inputs)[0]
                    if not reason and not all(torch.equal(outs[0], o) for o in outs):
                        reason = "three launches differ"
                    if reason:
                        print(f"WRONG\t{name}\t{shape} {mix} snake {snake}: {reason}", flush=True)
                        break
                else:
                    continue
                break
            else:
                continue
            break
        else:
            print(f"OK\t{name}\t", flush=True)


def checks() -> tuple[list[str], dict[str, str]]:
    children = []
    for names in GROUPS:
        log = tempfile.NamedTemporaryFile("w+", suffix=".log", delete=False)  # noqa: SIM115 -- read when the child ends
        args = [sys.executable, "-m", "tests.bench.bench_hopper_gemm", "check", json.dumps(names)]
        children.append((names, log, subprocess.Popen(args, stdout=log, stderr=subprocess.STDOUT)))
    deadline = time.time() + 35
    good, bad = list[str](), dict[str, str]()
    for names, log, child in children:
        try:
            child.wait(max(0.1, deadline - time.time()))
            end = f"exit {child.returncode}"
        except subprocess.TimeoutExpired:
            child.kill()
            end = "HANG (timeout)"
        log.seek(0)
        text = log.read()
        said = {
            line.split("\t")[1]: line.split("\t") for line in text.splitlines() if line.startswith(("OK\t", "WRONG\t"))
        }
        for name in names:
            if name not in said:
                tail = [x for x in text.splitlines() if x.strip()][-2:]
                bad[name] = f"{end}: {' | '.join(tail)[-260:]}"
            elif said[name][0] == "OK":
                good.append(name)
            else:
                bad[name] = said[name][2]
    return good, bad


def contenders(p: Any, h: Hardware, names: list[str]) -> Calls:
    """name -> call, on one set of inputs."""
    a, b, _ = inputs = matrices(p, torch.Generator("cuda").manual_seed(2), "cuda")
    out = FUSED.output(p, "cuda")
    zero = torch.zeros(p.N, dtype=a.dtype, device="cuda")
    act = p.activation
    calls: Calls = {
        "cuBLAS bare": lambda: torch.mm(a, b, out=out),
        "unfused": lambda: activations.activate_torch(torch.mm(a, b), act),
        "cublasLt relu": lambda: torch._addmm_activation(zero, a, b, use_gelu=False),
        "plain /2": lambda: launch.launch_gemm(*inputs, out, act, plain(2), h),
        "plain /4": lambda: launch.launch_gemm(*inputs, out, act, plain(4), h),
    }
    for name in names:
        snakes: tuple[Snake, ...] = (0, 1, 2) if name in SNAKED else (2,)
        for snake in snakes:
            calls[f"{name} n{snake}"] = partial(gluon.launch, *inputs, out, act, VARIANTS[name], h, snake=snake)
    return calls


def burst(calls: Calls, samples: int, scratch: torch.Tensor) -> dict[str, float]:
    """Median ms: idle 4 ms, L2 flushed, a spin that outlasts the host's launch; interleaved sample by sample."""
    for call in calls.values():
        call()
    torch.cuda.synchronize()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(samples):
        for name, call in calls.items():
            torch.cuda.synchronize()
            time.sleep(0.004)
            scratch.zero_()
            torch.cuda._sleep(3_600_000)  # 2 ms at 1.8 GHz
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times[name].append(start.elapsed_time(end))
    return {name: median(t) for name, t in times.items()}


def sustained(calls: Calls, rounds: int, window: float, nvml: "Nvml | None") -> dict[str, list[Window]]:
    """name -> [(ms, watts, MHz)]: a graph of 64 launches back to back, warmed up, interleaved in rounds."""
    from tools.harness.measuring.telemetry import Meter

    graphs: dict[str, torch.cuda.CUDAGraph] = {}
    found: dict[str, list[Window]] = {name: [] for name in calls}
    for name, call in calls.items():
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            call()
        torch.cuda.synchronize()
        graphs[name] = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graphs[name]):
            for _ in range(64):
                call()
    for _ in range(rounds):
        for name, graph in graphs.items():
            if left() < 2.5:
                return found
            until = time.time() + 0.25
            while time.time() < until:
                graph.replay()
                torch.cuda.synchronize()
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            meter = Meter(nvml.joules if nvml else lambda: None)
            replays = max(1, round(window / (0.22e-3 * 64)))
            with meter:
                start.record()
                for _ in range(replays):
                    graph.replay()
                end.record()
                mhz = 0.0
                if nvml:
                    time.sleep(window / 2)
                    mhz = nvml.read().sm_mhz or 0.0
                torch.cuda.synchronize()
            found[name].append((start.elapsed_time(end) / replays / 64, meter.watts() or float("nan"), mhz))
    return found


def row(name: str, ms: float, bare: float, unfused: float, flops: float, extra: str = "") -> str:
    return (
        f"{name:28s} {ms:8.4f} ms {flops / ms / 1e9:7.1f} TF  bare {bare / ms:6.4f}  unfused {unfused / ms:6.4f}{extra}"
    )


def timings(names: list[str]) -> None:
    h = hardware_for(torch.cuda.get_device_name()) or hardware_named("H200")
    from tools.harness.measuring.telemetry import Nvml

    try:
        nvml = Nvml.open(str(torch.cuda.get_device_properties(0).uuid))
    except ImportError:
        nvml = None
    scratch = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    p = problem((4096, 4096, 4096), MIXES[0])
    flops = FUSED.flops(p)
    calls = contenders(p, h, names)
    ms = burst(calls, 25, scratch)
    print(f"\n== burst, fp16 4096^3, median of 25, interleaved ({left():.0f} s left)")
    for name in sorted(ms, key=ms.__getitem__):
        print(row(name, ms[name], ms["cuBLAS bare"], ms["unfused"], flops), flush=True)

    first = ms
    for shape in BURST_SHAPES:
        if left() < 26:
            print(f"no time left for {shape}")
            continue
        p = problem(shape, ("row", "bf16", False, "leaky_relu"))
        keep = ("one /4 s4", "halves /4 s4", "halves 256x128", "turns", "one /2")
        others = contenders(p, h, [n for n in names if n.startswith(keep)])
        others = {n: c for n, c in others.items() if not n.endswith("n1")}
        ms = burst(others, 15, scratch)
        print(f"\n== burst, bf16 {'x'.join(map(str, shape))}, median of 15, interleaved ({left():.0f} s left)")
        for name in sorted(ms, key=ms.__getitem__):
            print(row(name, ms[name], ms["cuBLAS bare"], ms["unfused"], FUSED.flops(p)), flush=True)
        del others
        torch.cuda.empty_cache()

    own = [n for n in calls if n[-2:] in ("n0", "n1", "n2")]
    chosen = sorted(own, key=first.__getitem__)[:4]
    chosen += [n for n in own if n.startswith(("one /4 s4 n", "halves /4 s4 n")) and n not in chosen][: 6 - len(chosen)]
    base = ["cuBLAS bare", "unfused", "cublasLt relu", min(("plain /2", "plain /4"), key=first.__getitem__)]
    found = sustained({n: calls[n] for n in base + chosen}, 2, 0.6, nvml)
    rates = {n: sum(t for t, _, _ in x) / len(x) for n, x in found.items() if x}
    print(f"\n== sustained, fp16 4096^3, mean of 2 windows of 0.6 s, interleaved ({left():.0f} s left)")
    for name in sorted(rates, key=rates.__getitem__):
        watts, mhz = [w for _, w, _ in found[name]], [m for _, _, m in found[name]]
        joules = sum(t * w for t, w, _ in found[name]) / len(watts)
        spread = (max(t for t, _, _ in found[name]) / min(t for t, _, _ in found[name]) - 1) * 100
        extra = f"  {sum(watts) / len(watts):5.0f} W {sum(mhz) / len(mhz):5.0f} MHz {joules:7.2f} mJ/launch"
        extra += f"  spread {spread:.1f}%"
        print(row(name, rates[name], rates["cuBLAS bare"], rates["unfused"], flops, extra), flush=True)


def main() -> None:
    h = hardware_named("H200")
    p = problem((4096, 4096, 4096), MIXES[0])
    for name, c in VARIANTS.items():
        assert constraint(p, c, h) is None, (name, constraint(p, c, h))
    bf16: Mix = ("row", "bf16", False, "leaky_relu")
    jobs: list[tuple[str, Mix, Snake]] = [(n, m, 2) for n in VARIANTS for m in [*MIXES, bf16]]
    turned: tuple[Snake, ...] = (0, 1)
    jobs += [(n, m, s) for n in SNAKED for m in (MIXES[0], bf16) for s in turned]
    jobs += [(f"plain /{s}", m, 0) for s in (2, 4) for m in (MIXES[0], bf16)]
    with multiprocessing.get_context("fork").Pool(min(16, os.cpu_count() or 1)) as pool:
        done = pool.map(compile_one, jobs, chunksize=1)
    failed = {n: e for n, _, e in done if e}
    print(f"compiled {len(jobs)} in {BUDGET - left():.1f} s; failed: {failed or 'none'}", flush=True)
    if "compile" in sys.argv:
        return
    good, bad = checks()
    print(f"checked after {BUDGET - left():.1f} s", flush=True)
    status = [
        f"{n:28s} {'turns' if takes_turns(VARIANTS[n]) else ''} {'ok' if n in good else 'FAILED ' + bad[n]}"
        for n in VARIANTS
    ]
    args = [sys.executable, "-m", "tests.bench.bench_hopper_gemm", "time", json.dumps(good)]
    try:
        subprocess.run(args, timeout=max(5, left() + 3))
    except subprocess.TimeoutExpired:
        print("timing child ran out of time: what it printed stands")
    print("\n== correctness (5 shapes x 3 mixes, three equal launches each)")
    print("\n".join(status), flush=True)
    print(f"total {BUDGET - left():.1f} s")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["check", names]:
            check(json.loads(names))
        case ["time", names]:
            timings(json.loads(names))
        case _:
            main()
