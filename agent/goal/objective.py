"""What a run is asked for: fixed before the loop starts, written into the trace, out of a model's reach."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from agent.models.apis import ApiChoice
from agent.models.effort import Effort
from agent.models.waiting import Waiting
from memory.shared_models import Closed
from memory.terms import Metric, Regime, energy_in, speed_in
from tools.session.budget import MAX_EVALS, MAX_SECONDS

MAX_MODEL_SECONDS = 10_800.0
"""Three hours: a model that takes 200 s a turn has 54 turns."""


class Limits(Closed):
    """What a run may spend; the loop ends at the first limit it reaches."""

    max_evals: int = Field(default=MAX_EVALS, ge=1)
    """Configurations measured."""
    max_seconds: float = Field(default=MAX_SECONDS, gt=0)
    """Wall time of the search, without a language model's answers; the final proof has its own time on top."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens in and out of the model together; ``None`` is no limit."""
    max_cost: float | None = Field(default=None, gt=0)
    """US dollars paid for the model; ``None`` is no limit."""
    max_model_calls: int = Field(default=100, ge=1)
    """Messages asked of a language model; the embedded planner's cost nothing and do not count."""
    max_model_seconds: float = Field(default=MAX_MODEL_SECONDS, gt=0)
    """Wall time of a language model's answers, which does not count as ``max_seconds``."""
    max_finalists: int | None = Field(default=None, ge=1)
    """Configs that pass their sitting without a proof, after which no more are tried; ``None``: all within noise of the
    best, up to the loop's own limit."""


class Target(Closed):
    """What the result shall reach, judged by the final sitting."""

    words: str
    """The goal's words: ``800 tflops``."""
    kind: Literal["metric", "roofline", "baseline"]
    metric: Metric | None = None
    """Of kind ``metric``."""
    baseline: str | None = None
    """Of kind ``baseline``: its name."""
    value: float = Field(gt=0)
    """The least (of ``latency`` and ``joules`` the most) in the metric's unit, the share of the roofline, or the least
    speed-up over the baseline."""


class Objective(Closed):
    """One goal, read. ``None`` leaves the choice to the kernel's own default."""

    goal: str
    """The user's words, verbatim; empty where only options were given."""
    kernel: str
    """A registered name, ``path.py:NAME`` or ``module:NAME``."""
    shape: tuple[int, ...] | None = None
    """Dimensions in the kernel's order."""
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Fields of the kernel's problem by name: dtype, activation, bias, or one dimension."""
    metric: Metric | None = None
    targets: tuple[Target, ...] = ()
    """A win that does not reach them stays proven, and the verdict says that they were not reached."""
    against: tuple[str, ...] = ()
    """Names of the only baselines that the verdict is judged by; every equivalent one without it."""
    bitwise: bool = False
    """Whether only a config that gives the bits of the owner's launch may be proven."""
    notices: tuple[str, ...] = ()
    """What the user should know of how the goal was read."""
    regime: Regime = "burst"
    device: str = "auto"
    """``auto``, ``cuda:N``, ``recorded`` or ``recorded:LANDSCAPE``."""
    gpu: str | None = None
    """A GPU model that the goal names (``h100``): the device must be one."""
    model: str = "embedded"
    effort: Effort | None = None
    """How hard a reasoning model is asked to think; ``None`` leaves it to the model."""
    price: tuple[float, float, float] | tuple[float, float, float, float] | None = None
    """US dollars per million tokens of prompt, cached prompt, answer, and prompt put into the cache if that has its
    own price; ``None`` if it is unknown."""
    endpoint: str | None = None
    """Name of the endpoint's profile; ``None`` finds it out."""
    api: ApiChoice = "auto"
    """Through which of OpenAI's APIs the model is asked."""
    waiting: Waiting = Waiting()
    """How long the model's answers are waited for, and how long they may be."""
    approve: bool = False
    """Whether a person is asked before configs run on the device."""
    cold: bool = False
    """Whether the run starts without what other runs know."""
    edit: bool = False
    """Whether the model may send device code."""
    alone: bool = False
    """Whether a model that gets nowhere ends the run, instead of leaving it to the embedded planner."""
    limits: Limits = Limits()
    seed: int = Field(default=0, ge=0)


class Setting(Closed):
    """The objective as it was opened: what is tuned, on what, in which unit. Facts for prompt and report."""

    kernel: str
    problem: dict[str, Any]
    """Every field of the kernel's problem."""
    label: str
    """One line: ``4096x4096x4096 fp16 leaky_relu``."""
    metric: Metric
    """What the search goes by: a rate or a time, also where the goal is energy."""
    unit: str
    regime: Regime
    """Of the search."""
    energy: Metric | None = None
    """What finalists and the proof are judged by, in the sustained regime, where the goal is energy."""
    energy_unit: str = ""
    flops: int
    """Operations of one launch."""
    bytes: int
    """Least traffic with device memory of one launch."""
    floor_ms: float | None
    """No launch can be faster: operations over peak, bytes over bandwidth; ``None`` without hardware facts."""
    bound: str | None
    """Which of the two sets ``floor_ms``: ``compute`` or ``memory``."""
    hardware: str
    """Name in ``kernels.hardware``."""
    device: dict[str, Any]
    """``DeviceInfo``: kind, name, driver, versions."""
    facts: dict[str, Any] = Field(default_factory=dict)
    """The hardware's numbers, by name and unit."""
    baseline_ms: dict[str, float | None] = Field(default_factory=dict)
    """What there is to beat: name of a baseline → ms per launch, ``None`` if that is not known before the final
    sitting."""
    space: dict[str, list[Any]] = Field(default_factory=dict)
    """Config field → values that occur in the space."""
    space_size: int = 0
    """Configs in the space: not every combination of values is one."""
    combinations: int = 0
    """Combinations of those values."""
    space_words: dict[str, Any] = Field(default_factory=dict)
    """What the fields mean, which family has which values, and the static rules (``tools/session``)."""

    @property
    def recorded(self) -> bool:
        return bool(self.device.get("kind") == "recorded")

    def describe_peaks(self) -> str:
        """The rates behind ``floor_ms``, and where they come from."""
        origin = self.facts.get("origin")
        return f"the peaks ({origin})" if origin else f"the peaks of the {self.hardware} datasheet"

    def where(self) -> str:
        """``NVIDIA H200``, or that its readings were recorded and are looked up."""
        name = str(self.device.get("name") or "unknown device")
        if "gpus" in self.facts:
            name = f"{self.facts['gpus']} x {name}"
        if not self.recorded:
            return name
        versions = f" under Triton {self.device['triton']}" if self.device.get("triton") else ""
        return f"recorded {name}{versions} (times are looked up, no GPU is used)"

    def value(self, ms: float) -> float:
        """`ms` per launch in ``unit``."""
        return speed_in(self.metric, ms, self.flops, self.bytes)

    def energy_value(self, joules: float) -> float:
        """`joules` per launch in ``energy_unit``."""
        return energy_in(self.energy, joules, self.flops, self.bytes)

    def tflops(self, ms: float) -> float:
        """TFLOP/s at `ms` per launch."""
        return speed_in("tflops", ms, self.flops, self.bytes)
