"""Where two proven gains go in a program: ``python -m tests.bench.bench_promise OUT``, 40 s on an H200 at most.

Two launches of Liger in a Llama step (SwiGLU backward, RoPE forward), each with the owner's config and with the one
that ``bench_llama`` had proven, are read in turns in these situations:

    burst            the proof's own sample (``tools.harness.measuring.timing``), of a launch captured here
    side by side     ``tools.harness.checking.side_by_side``
    cold events      inputs reset, L2 flushed by a write of 256 MiB, 2 ms spin, event, launch, event
    clean events     the same with a flush that ends with reads: the L2 holds nothing that has to be written back
    warm events      inputs reset last, right before the first event
    program events   inputs reset, L2 flushed, the GEMMs that stand before the launch in the program, event, launch,
                     event
    loaded events    the same after 2 ms of GEMMs in place of the spin: power and clock are those of a program
    … profiler       GPU time of the launch alone in the same five situations, by PyTorch's profiler
    graph program    CUDA graph of (reset, flush, GEMMs, launch) x 4, less the graph without the launch
    graph cold       CUDA graph of (reset, flush, launch) x 4, less the graph without the launch

and the cold events again at other addresses and in another process. Prints a table, and writes OUT/promise.json after
each part. Needs ``liger-kernel``.
"""

from __future__ import annotations

import json
import math
import random
import select
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from tools.harness.measuring.arena import Arena

BEGAN = time.monotonic()
DEADLINE = 37.0
CHILD = "--child" in sys.argv
OUT = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
FOUND: dict[str, Any] = {"readings": [], "errors": {}}


def left() -> float:
    return DEADLINE - (time.monotonic() - BEGAN)


def write() -> None:
    FOUND["seconds"] = time.monotonic() - BEGAN
    (OUT / "promise.json").write_text(json.dumps(FOUND, indent=1))


other = None
if __name__ == "__main__" and not CHILD:  # it imports while this process does
    other = subprocess.Popen(
        [sys.executable, __file__, str(OUT), "--child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

import torch  # noqa: E402
import triton  # noqa: E402
from liger_kernel.ops.rope import _triton_rope  # noqa: E402
from liger_kernel.ops.swiglu import _swiglu_backward_kernel  # noqa: E402

ROWS, HIDDEN, FEED = 4096, 2048, 8192
SCRATCH: torch.Tensor
OTHER: torch.Tensor
SUM: torch.Tensor
LOAD: list[torch.Tensor]
LOADED: torch.Tensor
"""Made when the GPU is used: by :func:`main` and :func:`serve`."""
SPIN = int(2.0 * 2_000_000)
GRAPHED = 4


def bf16(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device="cuda").to(torch.bfloat16)


Configs = dict[str, dict[str, int]]
"""Launch options of the owner's config and of the tuned one."""


class Launch:
    """One launch with its configs, its inputs and what stands before it in the program."""

    name: ClassVar[str]
    configs: ClassVar[Configs]

    def allocate(self) -> None:
        """Place the tensors that the launch gets anew."""

    def reset(self) -> None:
        """Give them their contents again; what was written last lies in the L2."""

    def produce(self) -> None:
        """The GEMMs before it."""

    def launch(self, config: str) -> object:
        raise NotImplementedError


class Swiglu(Launch):
    name = "_swiglu_backward_kernel"
    configs: ClassVar[Configs] = {
        "owner": {"num_warps": 16},
        "tuned": {"num_warps": 16, "num_stages": 3, "maxnreg": 32},
    }

    def __init__(self) -> None:
        self.given = [bf16(ROWS, FEED) for _ in range(3)]
        self.dy, self.down, self.act = bf16(ROWS, HIDDEN), bf16(HIDDEN, FEED), bf16(ROWS, FEED)
        self.dw = torch.empty(HIDDEN, FEED, device="cuda", dtype=torch.bfloat16)
        self.allocate()

    def allocate(self) -> None:
        self.dc, self.a, self.b = (torch.empty_like(t) for t in self.given)

    def reset(self) -> None:
        for to, t in zip((self.a, self.b, self.dc), (*self.given[1:], self.given[0]), strict=True):
            to.copy_(t)

    def produce(self) -> None:
        """The gradients of the layer behind it: of its input, which this launch reads, then of its weight."""
        torch.matmul(self.dy, self.down, out=self.dc)
        torch.matmul(self.dy.t(), self.act, out=self.dw)

    def launch(self, config: str) -> object:
        return _swiglu_backward_kernel[(ROWS,)](
            self.dc, self.a, self.b, FEED, 1.0, n_cols=FEED, BLOCK_SIZE=FEED, **self.configs[config]
        )


class Rope(Launch):
    name = "_triton_rope"
    configs: ClassVar[Configs] = {
        "owner": {},
        "tuned": {"num_warps": 8, "num_stages": 3, "maxnreg": 128},
    }

    def __init__(self) -> None:
        self.given = [bf16(ROWS, 2048), bf16(ROWS, 1024)]
        angle = torch.randn(1, ROWS, 128, device="cuda")
        self.cos, self.sin = angle.cos().bfloat16(), angle.sin().bfloat16()
        self.x, self.weights = bf16(ROWS, HIDDEN), [bf16(HIDDEN, n) for n in (2048, 1024, 1024)]
        self.v = torch.empty(ROWS, 1024, device="cuda", dtype=torch.bfloat16)
        self.allocate()

    def allocate(self) -> None:
        self.q, self.k = (torch.empty_like(t) for t in self.given)

    def reset(self) -> None:
        self.q.copy_(self.given[0])
        self.k.copy_(self.given[1])

    def produce(self) -> None:
        """The projections."""
        for weight, to in zip(self.weights, (self.q, self.k, self.v), strict=True):
            torch.matmul(self.x, weight, out=to)

    def launch(self, config: str) -> object:
        return _triton_rope[(ROWS,)](
            self.q, 2048, self.k, 1024, self.cos, 128, self.sin, 128, ROWS, 1, 1, 16, 8, 128, 16, 8, 128, 128, 128,
            BLOCK_SIZE=16, BACKWARD_PASS=False, **self.configs[config],
        )  # fmt: skip


CONFIGS = ("owner", "tuned")
SITUATIONS = ("cold", "clean", "warm", "program", "loaded")


def median_ci(values: Sequence[float]) -> tuple[float, float, float]:
    """Median and its 95 % interval by order statistics."""
    x = sorted(values)
    n = len(x)
    half = 1.96 * math.sqrt(n) / 2
    low, high = max(0, math.floor(n / 2 - half)), min(n - 1, math.ceil(n / 2 + half))
    return statistics.median(x), x[low], x[high]


def keep(part: str, launch: str, owner: Iterable[float], tuned: Iterable[float], **more: float) -> None:
    """Readings in us, by config, paired."""
    owner, tuned = list(owner), list(tuned)
    saved = median_ci([a - b for a, b in zip(owner, tuned, strict=True)])
    ratio = median_ci([a / b for a, b in zip(owner, tuned, strict=True)])
    row: dict[str, Any] = {
        "reading": part, "launch": launch, "n": len(owner), "owner_us": median_ci(owner), "tuned_us": median_ci(tuned),
        "saved_us": saved, "ratio": ratio, **more,
    }  # fmt: skip
    FOUND["readings"].append(row)
    o, t = row["owner_us"][0], row["tuned_us"][0]
    print(
        f"{part:26} {launch:24} {o:8.3f} {t:8.3f}  {saved[0]:+7.3f} [{saved[1]:+7.3f}, {saved[2]:+7.3f}]"
        f"  {ratio[0]:.4f} [{ratio[1]:.4f}, {ratio[2]:.4f}] {len(owner):4}",
        flush=True,
    )
    write()


def flush() -> None:
    SCRATCH.fill_(1)


def flush_clean() -> None:
    """The L2 is filled by reads: nothing in it has to be written back."""
    SCRATCH.fill_(1)
    torch.sum(OTHER, 0, out=SUM)


def before(launch: Launch, situation: str) -> None:
    """What stands before the launch, without the spin."""
    if situation == "warm":
        flush()
        launch.reset()
        return
    launch.reset()
    flush_clean() if situation == "clean" else flush()
    if situation in ("program", "loaded"):
        launch.produce()


def sample(launch: Launch, config: str, situation: str, events: bool = True) -> tuple[Any, Any] | None:
    """One launch. The events, to be read after a synchronisation. The spin comes first: what stands before the launch
    follows it without a gap, as in a program that keeps the GPU busy."""
    if situation == "loaded":
        for _ in range(12):
            torch.matmul(*LOAD, out=LOADED)
    else:
        torch.cuda._sleep(SPIN)
    before(launch, situation)
    if not events:
        launch.launch(config)
        return None
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    launch.launch(config)
    end.record()
    return start, end


def in_turns(n: int) -> Iterator[str]:
    """Configs in turns, each pair in an order drawn anew."""
    draw = random.Random(1)
    for _ in range(n):
        yield from draw.sample(CONFIGS, 2)


def events_of(launch: Launch, situation: str, n: int) -> list[list[float]]:
    """Readings by config, us."""
    kept: dict[str, list[Any]] = {c: [] for c in CONFIGS}
    for config in in_turns(n):
        kept[config].append(sample(launch, config, situation))
        if len(kept[config]) % 8 == 0:
            torch.cuda.synchronize()
    torch.cuda.synchronize()
    return [[s.elapsed_time(e) * 1e3 for s, e in kept[c]] for c in CONFIGS]


def keep_events(launch: Launch, situation: str, n: int) -> None:
    keep(f"{situation} events", launch.name, *events_of(launch, situation, n))


def event_floor(situation_launch: Launch, n: int = 60) -> None:
    """Two events around nothing, and around a kernel of one element, after the same flush."""
    one = torch.zeros(1, device="cuda")
    for name, work in (("nothing", lambda: None), ("one element", lambda: one.add_(1))):
        pairs = []
        for _ in range(n):
            torch.cuda._sleep(SPIN)
            before(situation_launch, "cold")
            s, e = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            s.record()
            work()
            e.record()
            pairs.append((s, e))
        torch.cuda.synchronize()
        FOUND.setdefault("events around", {})[name] = median_ci([s.elapsed_time(e) * 1e3 for s, e in pairs])
    print("events around", FOUND["events around"], flush=True)


def profiled(launches: list[Launch], n: int) -> None:
    """GPU time of each launch by CUPTI, in all situations, in one session."""
    from torch.profiler import ProfilerActivity, profile

    order: dict[str, list[tuple[str, str]]] = {x.name: [] for x in launches}
    with profile(activities=[ProfilerActivity.CUDA]) as prof:
        for situation in SITUATIONS:
            for x in launches:
                for config in in_turns(n):
                    sample(x, config, situation, events=False)
                    order[x.name].append((situation, config))
                torch.cuda.synchronize()
    times: dict[str, list[tuple[float, float]]] = {x.name: [] for x in launches}
    for e in prof.events() or ():
        if e.name in times and "CUDA" in str(e.device_type):
            times[e.name].append((e.time_range.start, e.time_range.elapsed_us()))
    for name, found in times.items():
        found.sort()
        if len(found) != len(order[name]):
            raise RuntimeError(f"the profiler has {len(found)} launches of {name}, {len(order[name])} were made")
        by: dict[tuple[str, str], list[float]] = {}
        for (situation, config), (_, us) in zip(order[name], found, strict=True):
            by.setdefault((situation, config), []).append(us)
        for situation in SITUATIONS:
            keep(f"{situation} profiler", name, by[situation, "owner"], by[situation, "tuned"])


def graph_of(launch: Launch, config: str | None, situation: str) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(GRAPHED):
            before(launch, situation)
            if config is not None:
                launch.launch(config)
    return graph


def graphs(launch: Launch, situation: str, n: int) -> None:
    """Replays with the launch less replays without it, us a launch, each round the three graphs in an order drawn
    anew."""
    made = {c: graph_of(launch, c, situation) for c in (*CONFIGS, None)}
    for g in made.values():
        g.replay()
    torch.cuda.synchronize()
    draw = random.Random(2)
    times: dict[str | None, list[tuple[Any, Any]]] = {c: [] for c in made}
    for _ in range(n):
        for c in draw.sample(list(made), 3):
            s, e = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda._sleep(SPIN // 4)
            s.record()
            made[c].replay()
            e.record()
            times[c].append((s, e))
        torch.cuda.synchronize()
    us = {c: [s.elapsed_time(e) * 1e3 / GRAPHED for s, e in pairs] for c, pairs in times.items()}
    empty = statistics.median(us[None])
    keep(f"graph {situation}", launch.name, *([t - empty for t in us[c]] for c in CONFIGS), without_us=empty)


def call_of(arena: Arena, config: Any) -> Callable[[], Any]:
    """A launch of `config` on the arena's memory, for the proof's sample."""

    def call() -> Any:
        spec: Any = arena.spec
        spec.launch(arena.problem, config, arena.bound.inputs, arena.bound.out, None)
        return arena.bound.results

    return call


def repository_burst(launches: list[Launch], rounds: int) -> None:
    """The proof's own samples of both configs, in this one process, at addresses that change three times."""
    from agent.programs import capture
    from kernels.capture.reading.captured_launches import read_capture
    from kernels.captured.captured_kernels import captured_kernel, reference_of
    from tools.harness.checking.side_by_side import LiveGpu, read_side_by_side
    from tools.harness.measuring.arena import Arena
    from tools.harness.measuring.timing import burst

    path = OUT / "promise.capture"
    path.unlink(missing_ok=True)
    with capture(path):
        for x in launches:
            x.reset()
            x.launch("owner")
        torch.cuda.synchronize()
    for captured in read_capture(str(path)).launches:
        spec = captured_kernel(reference_of(str(path), captured.digest))
        own = spec.owner_config()
        wanted = next(x for x in launches if x.name == captured.name).configs["tuned"]
        tuned = spec.config_type(**{**own.model_dump(), **wanted})
        problem = spec.problem_of()
        arena = Arena(spec, problem, "cuda:0")
        found: dict[str, list[float]] = {c: [] for c in CONFIGS}
        for place in range(3):
            if place:
                arena.move()
            calls = {"owner": call_of(arena, own), "tuned": call_of(arena, tuned)}
            draw = random.Random(3)
            for _ in range(rounds):
                for c in draw.sample(CONFIGS, 2):
                    samples, _ = burst(arena, calls[c], 2, 0, False)
                    found[c] += [ms * 1e3 for ms in samples]
        keep("burst", captured.name, found["owner"], found["tuned"])
        drawn = {n: t.clone() for n, t in arena.inputs.items()}
        beside = read_side_by_side(spec, problem, tuned, drawn, LiveGpu("cuda:0"))
        FOUND.setdefault("side by side", {})[captured.name] = beside
        for state, times in beside.items():
            print(f"side by side, {state:12} {captured.name:24} {json.dumps(times)}", flush=True)
        write()


def compiled(launch: Launch) -> None:
    for config in CONFIGS:
        launch.reset()
        kernel: Any = launch.launch(config)
        about = {n: getattr(kernel, n, None) for n in ("n_regs", "n_spills")}
        about["shared"] = kernel.metadata.shared
        about["cubin bytes"] = len(kernel.asm["cubin"])
        FOUND.setdefault("compiled", {}).setdefault(launch.name, {})[config] = about
    print(launch.name, FOUND["compiled"][launch.name], flush=True)


def first(launch: Launch) -> None:
    """Every situation once: modules are loaded, cuBLAS chooses."""
    for config in CONFIGS:
        for situation in SITUATIONS:
            sample(launch, config, situation)
    torch.cuda.synchronize()


def attempt(name: str, work: Callable[..., None], *given: Any) -> None:
    """One part; what it raises is kept, and the next part follows."""
    if left() < 1:
        FOUND["errors"][name] = "no time left"
        return
    began = time.monotonic()
    try:
        work(*given)
    except Exception:  # noqa: BLE001 -- the other parts are worth having
        FOUND["errors"][name] = traceback.format_exc().strip().splitlines()[-1]
        print(f"{name} failed: {FOUND['errors'][name]}", flush=True)
    FOUND.setdefault("parts, s", {})[name] = round(time.monotonic() - began, 2)
    write()


def places(launch: Launch, n: int) -> None:
    """Cold events at other addresses."""
    held: list[object] = []
    for i in range(5):
        held.append(torch.empty((3 << 20) * (i + 1) + 512, dtype=torch.uint8, device="cuda"))
        kept = [x for x in (getattr(launch, n, None) for n in ("dc", "a", "b", "q", "k")) if x is not None]
        launch.allocate()  # the old tensors are still held, so that the new ones lie elsewhere
        keep(f"cold events, place {i + 1}", launch.name, *events_of(launch, "cold", n))
        held.append(kept)


def in_the_other(launches: list[Launch], n: int) -> None:
    assert other is not None
    assert other.stdin is not None
    assert other.stdout is not None
    if left() < 5:
        raise RuntimeError("no time left for the other process")
    other.stdin.write("go\n")
    other.stdin.flush()
    line = ""
    while not line.startswith("{"):
        if not select.select([other.stdout], [], [], max(1.0, left()))[0]:
            raise RuntimeError("the other process gives no answer")
        line = other.stdout.readline()
        if not line:
            raise RuntimeError("the other process ended")
    for name, (owner, tuned) in json.loads(line).items():
        keep("cold events, process 2", name, owner, tuned)
    for x in launches:
        keep("cold events, process 1", x.name, *events_of(x, "cold", n))


def main() -> None:
    global SCRATCH, OTHER, SUM, LOAD, LOADED
    OUT.mkdir(parents=True, exist_ok=True)
    torch.cuda.set_device(0)
    SCRATCH = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    LOAD, LOADED = [bf16(4096, 4096), bf16(4096, 4096)], bf16(4096, 4096)
    OTHER, SUM = torch.ones(64 << 20, device="cuda"), torch.empty((), device="cuda")
    launches: list[Launch] = [Swiglu(), Rope()]
    FOUND["about"] = {
        "gpu": torch.cuda.get_device_name(0), "torch": torch.__version__, "triton": triton.__version__,
        "imported, s": round(time.monotonic() - BEGAN, 2),
    }  # fmt: skip
    for x in launches:
        attempt(f"compile {x.name}", compiled, x)
        attempt(f"first {x.name}", first, x)
    print(f"{FOUND['about']}\n{'reading':26} {'launch':24} {'owner us':>8} {'tuned us':>8}  saved us", flush=True)
    attempt("floor", event_floor, launches[0])
    for situation in SITUATIONS:
        for x in launches:
            attempt(f"{situation} events {x.name}", keep_events, x, situation, 100)
    attempt("profiler", profiled, launches, 60)
    attempt("burst", repository_burst, launches, 12)
    attempt("other process", in_the_other, launches, 80)
    for situation in ("program", "cold"):
        for x in launches:
            attempt(f"graph {situation} {x.name}", graphs, x, situation, 80)
    for x in launches:
        attempt(f"places {x.name}", places, x, 40)
    write()


def serve() -> None:
    """The other process: cold events once it is told to go."""
    global SCRATCH, OTHER, SUM
    sys.stdin.readline()
    torch.cuda.set_device(0)
    SCRATCH = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    found = {}
    for x in (Swiglu(), Rope()):
        for config in CONFIGS:
            sample(x, config, "cold")
        torch.cuda.synchronize()
        found[x.name] = events_of(x, "cold", 80)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    if CHILD:
        serve()
    else:
        try:
            main()
        finally:
            write()
            if other is not None:
                other.kill()
        print(f"{time.monotonic() - BEGAN:.1f} s; errors: {list(FOUND['errors'])}")
