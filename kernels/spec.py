"""The contract between a kernel and everything that tunes it.

A kernel is a subclass of :class:`KernelSpec`. Its ``launch`` is the single source of truth: the compile pool runs it on
meta tensors under a stub driver, the interpreter on CPU tensors, the device worker on the GPU. The same call is
therefore compiled, checked and timed.

A kernel defines ``name``, ``problem_type``, ``config_type``, ``inputs``, ``launch`` and ``eager``, which computes its
result by PyTorch. Everything else has a default for plain kernels (``kernels/defaults.py``). A kernel overrides a
default that does not hold for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

from pydantic import ValidationError

from kernels import defaults
from kernels.hardware import Hardware
from kernels.launches.effects import Effects
from kernels.source.closure import source_hash
from memory.shared_models import Closed, explain_refusal
from memory.terms import Metric

if TYPE_CHECKING:
    import torch

Inputs: TypeAlias = "tuple[torch.Tensor | None, ...]"
"""A kernel's input tensors in a fixed order; ``None`` for an optional input that this problem does not have. A kernel
may as well have a dict of them by name, tuples of tensors inside, numbers that are drawn (a seed) and a
:class:`kernels.launches.leaves.PointerTable`."""

DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
"""PyTorch's names of our dtypes."""


def sentence(error: Exception) -> str:
    """The error as one line. For a problem or config that was refused, it names each wrong field."""
    if isinstance(error, ValidationError):
        return "; ".join(explain_refusal(error))
    return " ".join(str(error).split())


class Problem(Closed):
    """What a launch computes: dimensions, dtype and the kernel's own options. Tuning choices belong to
    :class:`Config`."""

    dims: ClassVar[tuple[str, ...]]
    """Names of the fields that ``--shape`` sets, in order, e.g. ``("M", "N", "K")``."""

    dtype: Literal["fp16", "bf16"] = "fp16"

    @property
    def torch_dtype(self) -> torch.dtype:
        import torch

        found = getattr(torch, DTYPES.get(self.dtype, self.dtype), None)
        if not isinstance(found, torch.dtype):
            raise defaults.Undefined(
                f"{type(self).__name__} has the dtype {self.dtype!r}, which PyTorch has not: use {', '.join(DTYPES)} "
                "or PyTorch's own name, e.g. int32, or define torch_dtype"
            )
        return found

    def shape(self) -> tuple[int, ...]:
        """The dimensions, in the order of ``dims``."""
        return tuple(getattr(self, d) for d in self.dims)

    def label(self) -> str:
        """The problem as one line: ``4096x4096x4096 fp16 leaky_relu``. A switch that is on is named; another option is
        shown if it differs from the problem type's default."""
        differing = self.model_dump(exclude={*self.dims, "dtype"}, exclude_defaults=True)
        options = []
        for name, value in self.model_dump(exclude={*self.dims, "dtype"}).items():
            if value is True:
                options.append(name)
            elif name in differing:
                options.append(value if isinstance(value, str) else f"{name}={value}")
        return " ".join(["x".join(map(str, self.shape())), self.dtype, *options])


class Config(Closed):
    """Tuning choices of one kernel. Each field has a closed set of values (``Literal``)."""


P = TypeVar("P", bound=Problem)
C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class Baseline(Generic[P]):
    """A way to the same result that a PyTorch user has today."""

    name: str
    """Short and stable: ``unfused``, ``compiled``, ``cublas``, ``cublaslt``."""
    title: str
    """What it calls, in PyTorch's words."""
    prepare: Callable[[P, Inputs], Callable[[], torch.Tensor]]
    """Does all one-time work (``torch.compile`` included) and returns a call of no arguments that is timed."""
    equivalent: bool = True
    """False if it computes less than the kernel (a ceiling, e.g. the matmul without its epilogue)."""
    missing: Callable[[P], str | None] = lambda problem: None
    """Why this torch or this problem cannot run it; ``None`` if it can run."""
    own_code: bool = False
    """Whether it launches the kernel's own Triton code, which the compile pool may have compiled already."""
    config: Config | None = None
    """The config that it is, if it is one of the kernel's: a sitting launches it where candidates are launched. What a
    launch takes depends on where its arguments lie, and two processes hold them at different addresses."""
    choices: Callable[[P], Mapping[str, Callable[[P, Inputs], Callable[[], torch.Tensor]]]] = lambda problem: {}
    """If ``prepare`` chooses by measuring: the ways that can be forced, by name, each as ``prepare``. The fastest of
    them all is the baseline."""


class KernelSpec(ABC, Generic[P, C]):
    """One tunable kernel. Instances hold no state."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    """Other words a goal may use for this kernel."""
    problem_type: type[P]
    config_type: type[C]
    metric: ClassVar[Metric] = "tflops"
    """The metric of an objective that names none."""
    deterministic: ClassVar[bool] = True
    """Whether two launches on equal inputs must give equal bits."""
    inplace: ClassVar[tuple[int | str, ...]] = ()
    """Places (or names) of the inputs that the launch writes. Each is a result: ``eager`` gives its new contents after
    the outputs."""
    scratch: ClassVar[tuple[int | str, ...]] = ()
    """Outputs that nobody reads after the launch: they are not verified, and ``eager`` does not give them."""
    unwritten: ClassVar[tuple[int | str, ...]] = ()
    """Outputs of which the launch leaves elements as they are; ``eager`` gives NaN for those."""
    domain: ClassVar[tuple[str, ...]] = ()
    """Kinds of inputs and shapes that the kernel does not take, of those in ``kernels/launches/domain.py``, e.g.
    ``("large", "odd sizes")``. A finalist is not tried on them, and the verdict names them."""
    ordered_ties: ClassVar[bool] = False
    """Whether of the configs within noise of the fastest the first by its text is the result, so that runs agree,
    instead of the one that read fastest."""
    one_size: ClassVar[str] = ""
    """Why a problem without dimensions has no other shapes, as the end of a sentence."""
    shut_in: ClassVar[bool] = False
    """Whether its code is compiled and interpreted by processes alone that have no network and write nowhere."""
    found_as: str | None = None
    """The name under which ``kernels.registry`` found this instance, and finds it again in another process."""

    def default_problem(self) -> P:
        """The problem tuned when a goal names none: the problem type's own defaults."""
        return defaults.problem(self)

    def default_config(self, problem: P, hardware: Hardware) -> C:
        """A sound config without tuning. The default is the first config of the space."""
        return defaults.config(self, problem, hardware)

    def candidates(self, problem: P, hardware: Hardware) -> Iterator[C]:
        """Every config to consider for this problem, in a fixed order, before constraints. The default is every
        combination of the config fields' values."""
        return defaults.candidates(self.config_type)

    def promising(self, problem: P, hardware: Hardware) -> list[C]:
        """Configs to measure before all others, best first: what the kernel's owner knows. The default is none."""
        return []

    def constraint(self, problem: P, config: C, hardware: Hardware) -> str | None:
        """The first static constraint that `config` breaks, named with its numbers; ``None`` if it breaks none."""
        return None

    def space(self, problem: P, hardware: Hardware) -> list[C]:
        """The candidates that break no static constraint, in order, without repeats."""
        return [c for c in defaults.listed(self, problem, hardware) if self.constraint(problem, c, hardware) is None]

    @abstractmethod
    def inputs(self, problem: P, generator: torch.Generator | None, device: str) -> Inputs:
        """Random inputs (never zeros) on `device`; `generator` is on that device. ``device="meta"`` gives shapes only
        (`generator` is then ``None``)."""

    def arrange(self, problem: P, config: C, inputs: Inputs) -> Inputs:
        """What the launch of `config` is given for `inputs`, e.g. weights reordered for its block size. It is made
        before the clock starts; ``eager`` sees `inputs` themselves."""
        return inputs

    def output(self, problem: P, device: str) -> torch.Tensor:
        """An uninitialised tensor with the exact shape, dtype and strides that the kernel must fill; or a tuple or a
        dict of them, or None if the kernel writes its inputs alone. The default is those of ``eager``'s results,
        contiguous."""
        return defaults.output(self, problem, device)

    def effects(self, problem: P) -> Effects:
        """Which inputs the launch writes, and which results are not compared."""
        return Effects(tuple(map(str, self.inplace)), tuple(map(str, self.scratch)), tuple(map(str, self.unwritten)))

    @abstractmethod
    def launch(self, problem: P, config: C, inputs: Inputs, out: torch.Tensor, hardware: Hardware) -> None:
        """Launch the kernel or kernels once and write `out`. Do nothing else: allocate nothing that a user's call would
        not need, do not synchronise, call no library in the kernel's place."""

    def eager(self, problem: P, inputs: Inputs) -> torch.Tensor:
        """The result as a PyTorch user writes it, in the precision of `inputs`: a tensor, or a tuple or dict of several
        (outputs, then inputs written in place). It is the default reference (on float64 copies) and the default
        baselines (as it is, and through torch.compile)."""
        raise NotImplementedError(f"{self.name} defines no eager(problem, inputs)")

    def reference(self, problem: P, inputs: Inputs) -> torch.Tensor:
        """The result in float64 (same shape as the output) by PyTorch operations on any device."""
        return defaults.reference(self, problem, inputs)

    def tolerance(self, problem: P) -> float:
        """Largest accepted scale-relative error ``max|out - ref| / max|ref|``; the docstring derives it.

        The default is for kernels that compute in fp32 and round once, see :func:`kernels.defaults.tolerance`."""
        return defaults.tolerance(problem.dtype)

    def flops(self, problem: P) -> int:
        """Operations that the result needs (a multiply-add counts two); 0 for a kernel that is not scored in
        TFLOP/s."""
        return defaults.flops(self)

    def bytes(self, problem: P) -> int:
        """Fewest bytes through device memory: each input read once, each output written once."""
        return defaults.moved(self, problem)

    def baselines(self, problem: P) -> list[Baseline[P]]:
        """PyTorch's ways to the same result. The first is the one that a user would write (eager)."""
        return [
            Baseline("unfused", f"eager {self.name}", partial(defaults.prepare_eager, self)),
            Baseline(
                "compiled",
                f"torch.compile({self.name})",
                partial(defaults.prepare_compiled, self),
                choices=partial(defaults.compiled_choices, self),
            ),
        ]

    def reduced(self, problem: P, config: C) -> P:
        """A small problem for the interpreter that keeps this problem's edges for `config`: at least two tiles along
        each tiled dimension and, where the true shape has a ragged edge, a ragged edge."""
        return defaults.reduced(problem, config)

    def interpretable(self, config: C) -> str | None:
        """Why Triton's interpreter cannot run this config, as a clause; ``None`` if it can."""
        return None

    def samplable(self, config: C) -> str | None:
        """Why it cannot run some of this config's programs either; ``None`` if a check may run a sample of them."""
        return self.interpretable(config)

    def not_made(self, problem: P, config: C, hardware: Hardware) -> str | None:
        """Why the owner's own way of making configs does not make this one for `problem`, as a clause; ``None`` if it
        does, or makes the same for every problem."""
        return None

    def other_launches(self, problem: P, config: C) -> tuple[list[Any], str]:
        """Launches of the same function with other shapes on which `config` must be right too, for a kernel whose
        problem has no dimensions (:class:`kernels.captured.other_launches.OtherLaunch`), or why there are none."""
        return [], ""

    def registers(self, config: C) -> int:
        """Accumulator registers per thread that the config implies; 0 for a kernel without accumulators."""
        return 0

    def source_hash(self) -> str:
        """Hash of the code that decides times and verdicts, wherever it stands (``kernels/source/closure.py``): what is
        known of older source is not trusted for newer. Raises ValueError if some of that code has no source file."""
        return source_hash(self)

    def parse_problem(self, shape: tuple[int, ...] | None, options: dict[str, Any]) -> P:
        """A problem from ``--shape`` numbers and named options. What is not given comes from the default problem.

        Raises ValueError with one sentence that says what to do."""
        dims = self.problem_type.dims
        values = self.default_problem().model_dump()
        if shape is not None:
            if len(shape) != len(dims):
                raise ValueError(
                    f"{self.name} takes a shape of {len(dims)} numbers ({'x'.join(dims)}), got {len(shape)}: "
                    f"write e.g. --shape {'x'.join(str(values[d]) for d in dims)}"
                )
            values.update(zip(dims, shape, strict=True))
        unknown = sorted(set(options) - set(values))
        if unknown:
            raise ValueError(f"{self.name} has no option {', '.join(unknown)}; it has {', '.join(values)}")
        return self.problem_type.model_validate({**values, **options})
