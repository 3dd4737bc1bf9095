"""Time the memory-bound kernels and attention on a GPU against eager PyTorch and torch.compile: under two minutes.

    python -m tests.kernels.timed [KERNEL]...

Not a proof: that is ``python -m kernels bench --suite memory``. Everything is in one process; each reading is one
launch after a flush of the L2 with the host ahead; configs and baselines are read in turn, medians of 15."""

import statistics
import sys
import time

import torch

from evals.bench.sweep import spread
from kernels import registry
from kernels.hardware import hardware_for
from tools.harness.checking.verify import fault

SCREENED, ROUNDS = 24, 15


def readings(calls, rounds, scratch):
    """Median ms of each call, read in turn."""
    found = [[] for _ in calls]
    for _ in range(rounds):
        for call, times in zip(calls, found, strict=True):
            scratch.fill_(1)
            torch.cuda._sleep(1_000_000)
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end))
    return [statistics.median(times) for times in found]


def copy_rate(scratch):
    """TB/s read and written by a copy of 1 GiB."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    (ms,) = readings([lambda: target.copy_(source)], 5, scratch)
    return 2 * source.numel() / ms / 1e9


def main(names):
    hardware = hardware_for(torch.cuda.get_device_name())
    scratch = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    copy = copy_rate(scratch)
    print(f"{torch.cuda.get_device_name()}: copy {copy:.2f} TB/s", flush=True)
    for name in names:
        began = time.monotonic()
        spec = registry.get(name)
        problem = spec.default_problem()
        inputs = spec.inputs(problem, torch.Generator("cuda").manual_seed(0), "cuda")
        out = spec.output(problem, "cuda")

        def launch(config, spec=spec, problem=problem, inputs=inputs, out=out):
            return lambda: spec.launch(problem, config, inputs, out, hardware)

        timed, failed = [], []
        for config in spread(spec, problem, hardware, SCREENED):
            try:
                launch(config)()
                timed.append((readings([launch(config)], 3, scratch)[0], config))
            except Exception as e:  # noqa: BLE001 -- a config that does not run is part of the answer
                failed.append((config, f"{type(e).__name__}: {e}".splitlines()[0][:100]))
        timed.sort(key=lambda t: t[0])
        baselines, calls = [], []
        for baseline in spec.baselines(problem):
            try:
                call = baseline.prepare(problem, inputs)
                call()
                baselines.append(baseline)
                calls.append(call)
            except RuntimeError as e:
                failed.append((baseline.name, str(e).splitlines()[0][:100]))
        finalists = [config for _, config in timed[:4]]
        times = readings([*(launch(c) for c in finalists), *calls], ROUNDS, scratch)
        ms, best = min(zip(times, finalists, strict=False), key=lambda t: t[0])
        out.fill_(float("nan"))
        launch(best)()
        why, error, bound = fault(spec, problem, out, inputs)
        rate = spec.bytes(problem) / ms / 1e9
        versus = ", ".join(f"{b.name} {t / ms:.3f}x" for b, t in zip(baselines, times[len(finalists) :], strict=True))
        print(f"{name} {problem.label()}: {ms:.4f} ms, {rate:.2f} TB/s = {rate / copy:.1%} of copy, ", end="")
        print(f"{spec.flops(problem) / ms / 1e9:.0f} TFLOP/s; {versus}; {why or f'error {error / bound:.2f} of bound'}")
        print(f"  best {best}; worst of {len(timed)} {timed[-1][0]:.4f} ms; default {timed_of(timed, spec, problem)}")
        print(f"  failed {failed}; {time.monotonic() - began:.0f} s", flush=True)
        del inputs, out, calls
        torch.cuda.empty_cache()


def timed_of(timed, spec, problem):
    default = spec.default_config(problem, hardware_for(torch.cuda.get_device_name()))
    return next((f"{ms:.4f} ms" for ms, c in timed if c == default), "failed")


if __name__ == "__main__":
    main(sys.argv[1:] or ["softmax", "rms_norm", "layer_norm", "swiglu", "attention"])
