"""A kernel with a small space and a GPU that is a formula: what recording and look-up are tested on."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import torch

from kernels.hardware import Hardware
from kernels.spec import Baseline, Config, Inputs, KernelSpec, Problem
from memory.shared_models import DeviceInfo
from memory.terms import Regime
from tools.harness.results import CompileResult, Measurement, Telemetry

TOY_GPU = Hardware(
    name="H200", device_names=("NVIDIA H200",), backend="cuda", arch=90, warp_size=32, sms=132, shared_per_block=232448,
    shared_per_sm=233472, registers_per_sm=65536, threads_per_sm=2048, blocks_per_sm=32, l2_bytes=60 << 20,
    memory_bytes=141 << 30, bandwidth=4.8e12, peak={"fp16": 989e12, "bf16": 989e12}, sources=("a test",),
)  # fmt: skip


class ToyProblem(Problem):
    dims: ClassVar[tuple[str, ...]] = ("N",)
    N: int = 1000
    twist: Literal["none", "double"] = "none"


class ToyConfig(Config):
    BLOCK: Literal[16, 32, 64, 128] = 16
    num_warps: Literal[1, 2, 4, 8] = 4
    num_stages: Literal[1, 2, 3] = 1


class Toy(KernelSpec[ToyProblem, ToyConfig]):
    """Doubles a vector. Configs with BLOCK 128 and 8 warps get it wrong."""

    name = "toy"
    problem_type = ToyProblem
    config_type = ToyConfig

    def default_problem(self) -> ToyProblem:
        return ToyProblem()

    def default_config(self, problem: ToyProblem, hardware: Hardware) -> ToyConfig:
        return ToyConfig()

    def candidates(self, problem: ToyProblem, hardware: Hardware) -> Iterator[ToyConfig]:
        for block in (16, 32, 64, 128):
            for warps in (1, 2, 4, 8):
                for stages in (1, 2, 3):
                    yield ToyConfig(BLOCK=block, num_warps=warps, num_stages=stages)

    def constraint(self, problem: ToyProblem, config: ToyConfig, hardware: Hardware) -> str | None:
        return None

    def inputs(self, problem: ToyProblem, generator: torch.Generator | None, device: str) -> Inputs:
        return (torch.randn(problem.N, generator=generator, device=device, dtype=problem.torch_dtype),)

    def output(self, problem: ToyProblem, device: str) -> torch.Tensor:
        return torch.empty(problem.N, device=device, dtype=problem.torch_dtype)

    def launch(
        self, problem: ToyProblem, config: ToyConfig, inputs: Inputs, out: torch.Tensor, hardware: Hardware
    ) -> None:
        assert inputs[0] is not None
        out.copy_(inputs[0] * (3 if config.BLOCK == 128 and config.num_warps == 8 else 2))

    def reference(self, problem: ToyProblem, inputs: Inputs) -> torch.Tensor:
        assert inputs[0] is not None
        return inputs[0].double() * 2

    def tolerance(self, problem: ToyProblem) -> float:
        return 1e-3

    def flops(self, problem: ToyProblem) -> int:
        return problem.N

    def bytes(self, problem: ToyProblem) -> int:
        return 4 * problem.N

    def baselines(self, problem: ToyProblem) -> list[Baseline[ToyProblem]]:
        def prepare(p: ToyProblem, inputs: Inputs) -> Callable[[], torch.Tensor]:
            return lambda: inputs[0] * 2  # type: ignore[operator]

        return [
            Baseline("unfused", "x * 2", prepare),
            Baseline("cublas", "a bare call", prepare, equivalent=False),
            Baseline("compiled", "torch.compile", prepare, missing=lambda p: "this torch has no compiler"),
        ]

    def reduced(self, problem: ToyProblem, config: ToyConfig) -> ToyProblem:
        return ToyProblem(N=3 * config.BLOCK + 1, dtype=problem.dtype)


def true_ms(config: ToyConfig) -> float:
    """What a launch takes on the toy GPU, without noise and drift."""
    return 0.1 * (1 + abs(math.log2(config.BLOCK / 64)) + 0.3 * abs(config.num_warps - 4) + 0.05 * config.num_stages)


UNFUSED_MS, CUBLAS_MS = 0.12, 0.11


class ToyGpu:
    """Deterministic: times follow :func:`true_ms`, drift by 30 % over the recording, and scatter by 0.2 %."""

    def __init__(self, stop_after: int | None = None, name: str = "NVIDIA H200", spoil: Iterable[str] = ()) -> None:
        self.info = DeviceInfo(
            kind="live", name=name, hardware="H200", torch="2.11.0", triton="3.6.0", power_limit_w=700
        )
        self.asked: list[tuple[ToyConfig, str]] = []
        self.rounds = 0
        self.stop_after = stop_after
        self.spoil = list(spoil)
        self._noise = random.Random(7)

    def measure_beside(self, config: Config, reference: str, samples: int) -> tuple[Measurement, Measurement]:
        assert isinstance(config, ToyConfig)
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append((config, reference))
        beside = self._read({"baseline": reference}, UNFUSED_MS, samples)
        if config.key() in self.spoil:
            self.spoil.remove(config.key())
            return Measurement(config={}, status="infrastructure", reason="the worker was killed"), beside
        if config.BLOCK == 128 and config.num_warps == 8:
            wrong = Measurement(config={}, status="correctness", reason="error 0.5 above 0.001", error=0.5, bound=0.001)
            return wrong, beside
        return self._read(config.model_dump(), true_ms(config), samples), beside

    def measure_baselines(
        self, regime: Regime, samples: int
    ) -> Sequence[tuple[Baseline[Any], str | None, Measurement | None]]:
        self.rounds += 1
        times = {"unfused": UNFUSED_MS, "cublas": CUBLAS_MS}
        baselines = Toy().baselines(ToyProblem())
        return [
            (b, None, self._read({}, times[b.name], samples, regime))
            if b.name in times
            else (b, b.missing(ToyProblem()), None)
            for b in baselines
        ]

    def ceilings(self) -> dict[str, float]:
        return {"copy_bytes_per_s": 4.27e12}

    def _read(self, config: dict[str, Any], ms: float, samples: int, regime: Regime = "burst") -> Measurement:
        drift = 1 + 0.3 * len(self.asked) / 90
        readings = [ms * drift * self._noise.gauss(1, 0.002) for _ in range(samples)]
        return Measurement(
            config=config, status="correct", regime=regime, samples_ms=readings, error=1e-4, bound=1e-3, seconds=0.05,
            telemetry=Telemetry(sm_mhz=1980, power_w=300.0),
        )  # fmt: skip


class ToyCompiler:
    """Configs of three stages with one warp do not compile."""

    def __init__(self) -> None:
        self.compiled: list[ToyConfig] = []

    def compile_iter(
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Iterable[Config]
    ) -> Iterator[tuple[Config, CompileResult]]:
        for c in sorted(configs, key=lambda c: c.key()):
            assert isinstance(c, ToyConfig)
            self.compiled.append(c)
            failed = c.num_stages == 3 and c.num_warps == 1
            yield (
                c,
                CompileResult(
                    config=c.model_dump(),
                    status="compile" if failed else "correct",
                    reason="PassManager::run failed" if failed else "",
                    seconds=0.5,
                    registers=None if failed else 32,
                ),
            )
