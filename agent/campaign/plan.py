"""A campaign as its TOML file says it."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from agent.errors import UsageError
from agent.goal.goal_targets import resolve_rival
from agent.goal.limits import LONGEST, MOST
from agent.goal.objective import Limits, Objective
from agent.models.apis import ApiChoice
from agent.models.effort import Effort
from agent.models.prices import priced
from kernels.registry import get
from kernels.spec import KernelSpec, Problem
from memory.command_line.input_files import read_text_input
from memory.shared_models import Closed, explain_refusal
from memory.terms import Metric, Regime

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]


def _numbers(value: object) -> object:
    """``"4096x4096x4096"`` as numbers."""
    if isinstance(value, str) and re.fullmatch(r"\d+(x\d+)*", value):
        return tuple(int(number) for number in value.split("x"))
    return value


class Layer(Closed):
    """One problem, and how often a forward pass solves it."""

    kernel: str
    shape: Annotated[tuple[int, ...], BeforeValidator(_numbers)]
    """``"MxNxK"``, in the kernel's order."""
    dtype: str = "fp16"
    options: dict[str, str | int | bool] = Field(default_factory=dict)
    """Further fields of the kernel's problem."""
    count: int = Field(default=1, ge=1)
    """Calls in a forward pass."""
    name: str = ""
    """What the model calls it, for the report."""
    device: str | None = None
    """Another device than the campaign's."""

    @property
    def label(self) -> str:
        return " ".join([self.kernel, "x".join(map(str, self.shape)), self.dtype, *_said(self.options)])


class Campaign(Closed):
    """Everything that the file says."""

    name: Name
    """Names the runs: another name starts anew."""
    problem: tuple[Layer, ...] = Field(min_length=1)
    device: str = "auto"
    """As ``--device``; ``cuda:all`` and ``ray:ADDRESS`` for several GPUs."""
    device_types: tuple[str, ...] = ()
    """Of a mixed fleet, the types of GPU: every problem is tuned for each of them."""
    metric: Metric | None = None
    against: tuple[str, ...] = ()
    """As ``--against``: names of the only baselines that verdicts are judged by."""
    bitwise: bool = False
    """As ``--bitwise``: only what gives the bits of the owner's launch is proven."""
    regime: Regime = "burst"
    model: str = "embedded"
    effort: Effort | None = None
    """As ``--effort``, for a language model."""
    api: ApiChoice = "auto"
    """As ``--api``, for a language model."""
    max_evals: int = Field(default=400, ge=1, le=MOST)
    """Configs measured, of all problems together."""
    max_seconds: float = Field(default=3600.0, gt=0, le=LONGEST)
    """Time of all runs, proofs included; the run under way ends as it would."""
    slice: int = Field(default=40, ge=1, le=MOST)
    """Configs of one run; after it the campaign chooses anew where to go on."""
    seed: int = Field(default=0, ge=0, lt=2**32)

    def jobs(self) -> list[Job]:
        """Every problem on every type of device."""
        return [Job(self, layer, t) for layer in self.problem for t in self.device_types or (None,)]


class Job:
    """One problem for one type of device: what runs are made of."""

    def __init__(self, campaign: Campaign, layer: Layer, device_type: str | None) -> None:
        self.campaign, self.layer = campaign, layer
        device = layer.device or campaign.device
        self.device = f"{device},type={device_type}" if device_type else device

    @property
    def label(self) -> str:
        return self.layer.label + (f" on {self.device}" if self.campaign.device_types else "")

    def run_id(self, number: int) -> str:
        """Of this job's run `number`: the same job, the same id, so that a campaign that was killed finds its runs."""
        c, layer = self.campaign, self.layer.model_dump_json(exclude={"count", "name", "device"})
        who = " ".join([c.model, *([c.effort] if c.effort else []), *([c.api] if c.api != "auto" else [])])
        parts = [c.name, layer, self.device, str(c.metric), c.regime, who, str(c.slice), str(c.seed), *c.against]
        said = "\n".join([*parts, "bitwise"] if c.bitwise else parts)
        return f"{c.name.replace('.', '-')}-{hashlib.sha256(said.encode()).hexdigest()[:10]}-{number}"

    def against(self) -> tuple[str, ...]:
        """The baselines' own names. Raises UsageError for one that the kernel is not compared to."""
        if not self.campaign.against:
            return ()
        spec, problem = problem_of(self.layer)
        rivals = {baseline.name: baseline.equivalent for baseline in spec.baselines(problem)}
        return tuple(resolve_rival(name, self.layer.kernel, rivals) for name in self.campaign.against)

    def objective(self, evaluations: int, seconds: float) -> Objective:
        c, layer = self.campaign, self.layer
        objective = Objective(
            goal=f"campaign {c.name}: {layer.label}",
            kernel=layer.kernel,
            shape=layer.shape,
            options={"dtype": layer.dtype, **layer.options},
            metric=c.metric,
            against=self.against(),
            bitwise=c.bitwise,
            regime=c.regime,
            device=self.device,
            model=c.model,
            effort=c.effort,
            api=c.api,
            limits=Limits(max_evals=evaluations, max_seconds=seconds),
            seed=c.seed,
        )
        return priced(objective)


def read_campaign(path: Path) -> Campaign:
    """Raises UsageError with one sentence, also where a kernel refuses one of the problems."""
    try:
        said = tomllib.loads(read_text_input(path))
    except OSError as e:
        raise UsageError(f"Cannot read {path}: {e.strerror or e}.") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UsageError(f"{path} is no TOML: {e}.") from e
    except RecursionError as e:
        raise UsageError(f"{path} is no campaign: its arrays are nested too deep.") from e
    if "edit" in said:
        raise UsageError(
            f"{path}: a campaign edits no device code, because kernels.ops reads its table and launches its own "
            "kernels: leave edit out. Use python -m agent run --edit for one kernel, or improve --edit for captured "
            "launches."
        )
    try:
        campaign = Campaign.model_validate(said)
    except ValidationError as e:
        raise UsageError(f"{path}: {explain_refusal(e)[0]}; docs/FLEET.md has an example.") from e
    examined: set[str] = set()
    for layer in campaign.problem:
        spec, problem = problem_of(layer)
        if layer.kernel not in examined:
            examined.add(layer.kernel)
            _examine(layer, spec, problem)
    for job in campaign.jobs():
        job.against()
    labels = [job.label for job in campaign.jobs()]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise UsageError(f"{path} names {twice} twice: add the counts up in one entry.")
    return campaign


def problem_of(layer: Layer) -> tuple[KernelSpec[Any, Any], Problem]:
    """The kernel and its problem. Raises UsageError where the kernel refuses it."""
    try:
        spec = get(layer.kernel)
        return spec, spec.parse_problem(layer.shape, {"dtype": layer.dtype, **layer.options})
    except ValidationError as e:
        raise UsageError(f"{layer.label}: {explain_refusal(e)[0]}.") from e
    except ValueError as e:
        raise UsageError(f"{layer.label}: {e}") from e


def _examine(layer: Layer, spec: KernelSpec[Any, Any], problem: Problem) -> None:
    """Raises UsageError for what is wrong with the kernel itself."""
    from kernels.check_spec import examine

    try:
        examine(spec, problem)
    except ValueError as e:
        raise UsageError(f"{layer.label}: {e}") from e


def fields_of(job: Job) -> dict[str, Any]:
    """Every field of the job's problem."""
    fields: dict[str, Any] = problem_of(job.layer)[1].model_dump(mode="json")
    return fields


def _said(options: dict[str, str | int | bool]) -> list[str]:
    return [value if isinstance(value, str) else f"{key}={value}" for key, value in options.items()]
