"""The problems that ``bench`` times (a kernel's default one or a named suite), and the targets of the suite
``h200``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from kernels.spec import KernelSpec, Problem

Judged = Literal["burst", "sustained", "energy"]
"""How a result is judged: by time in one of the two regimes, or by joules per launch in the sustained regime."""


@dataclass(frozen=True)
class Case:
    """A kernel on a problem."""

    kernel: str
    shape: tuple[int, ...] | None = None
    """``None``: the kernel's default problem."""
    options: dict[str, Any] = field(default_factory=dict)
    regimes: tuple[str, ...] = ("burst", "sustained")

    def load(self) -> tuple[KernelSpec[Any, Any], Problem]:
        """Raises ValueError with one sentence."""
        from kernels.check_spec import examine
        from kernels.registry import get

        spec = get(self.kernel)
        problem = spec.parse_problem(self.shape, self.options)
        examine(spec, problem)
        return spec, problem


@dataclass(frozen=True)
class Target:
    """A least ratio: the baseline's time (or joules) divided by the kernel's."""

    judged: Judged
    against: str
    """A baseline's name. ``copy`` is a device copy of as many bytes; ``best`` is the fastest baseline that computes the
    same."""
    least: float


@dataclass(frozen=True)
class Entry:
    """A case of the suite, its baselines and its targets."""

    name: str
    case: Case
    judged: tuple[Judged, ...] = ("burst", "sustained")
    against: dict[Judged, tuple[str, ...]] = field(default_factory=dict)
    """Baselines by how they are judged; the kernel's own baselines if there is no entry. The first one has to run."""
    targets: tuple[Target, ...] = ()
    window_s: float = 0.3
    """Seconds of a window of the sustained regime."""
    contest: bool = False
    """Whether the finalists are timed against one another in the sustained regime too. Otherwise the burst regime's
    winner is taken."""

    def baselines(self, judged: Judged) -> tuple[str, ...] | None:
        return self.against.get(judged)


@dataclass(frozen=True)
class Mean:
    """A target for several entries: a least geometric mean of their burst ratios."""

    name: str
    over: tuple[str, ...]
    against: str
    least: float


def _fused(m: int, n: int, k: int, dtype: str) -> Case:
    return Case("fused_matmul", (m, n, k), {"dtype": dtype, "activation": "leaky_relu"})


BOTH: tuple[Judged, ...] = ("burst", "sustained")


def _never_slower(name: str, case: Case, *more: Target, also: tuple[str, ...] = ()) -> Entry:
    """An entry that must be at least as fast as eager PyTorch and torch.compile in both regimes."""
    rivals = ("unfused", "compiled")
    targets = tuple(Target(judged, rival, 1.0) for judged in BOTH for rival in rivals)
    against: dict[Judged, tuple[str, ...]] = {"burst": (*rivals, "cublaslt", "cublas", *also), "sustained": rivals}
    return Entry(name, case, against=against, targets=(*targets, *more))


def _memory_bound(kernel: str) -> Entry:
    """An entry that must come near the bandwidth of a copy, on 256 MiB and more."""
    targets = (Target("burst", "copy", 0.9), Target("burst", "compiled", 1.0), Target("sustained", "compiled", 1.0))
    against: dict[Judged, tuple[str, ...]] = {
        "burst": ("unfused", "compiled", "copy"),
        "sustained": ("compiled", "copy"),
    }
    return Entry(kernel, Case(kernel), against=against, targets=targets)


def norm_backward(name: str, kernel: str, rows: int, judged: tuple[Judged, ...] = ("burst",)) -> Entry:
    """Gradients of a norm of `rows` rows of 4,096 elements, as Llama 3 8B has them."""
    rivals = ("unfused", "compiled", "liger", "copy")
    targets = tuple(Target(j, "compiled", 1.05) for j in judged)
    return Entry(name, Case(kernel, (rows, 4096), {"dtype": "bf16"}), judged, dict.fromkeys(judged, rivals), targets)


def grouped(name: str, shape: tuple[int, ...], judged: tuple[Judged, ...] = ("burst",), **options: Any) -> Entry:
    """Grouped matmul against a loop of single ones and PyTorch's own, which takes no fp16."""
    targets = [Target(j, "loop", 1.1) for j in judged]
    if options.get("dtype") != "fp16":
        targets += [Target(j, "grouped", 1.0) for j in judged]
    return Entry(name, Case("grouped_matmul", shape, options), judged, targets=tuple(targets))


def attention_backward(name: str, judged: tuple[Judged, ...] = ("burst",), **options: Any) -> Entry:
    targets = tuple(Target(j, rival, 1.0) for j in judged for rival in ("cudnn", "flash"))
    return Entry(name, Case("attention_backward", (4, 32, 4096, 128), options), judged, targets=targets)


MAIN = _fused(4096, 4096, 4096, "fp16")
SHAPES = (
    _never_slower("fused-1024-fp16", _fused(1024, 1024, 1024, "fp16")),
    _never_slower("fused-4096-bf16", _fused(4096, 4096, 4096, "bf16")),
    _never_slower("fused-8192-bf16", _fused(8192, 8192, 8192, "bf16")),
    _never_slower("fused-16384x4096x1024-bf16", _fused(16384, 4096, 1024, "bf16")),
    _never_slower("fused-4096x14336x4096-bf16", _fused(4096, 14336, 4096, "bf16")),
    _never_slower(
        "fused-64x8192x8192-bf16", _fused(64, 8192, 8192, "bf16"), Target("burst", "copy", 0.85), also=("copy",)
    ),
)

LOSS = Entry(
    "cross-entropy",
    Case("fused_linear_cross_entropy", (4096, 128256, 4096), {"dtype": "bf16"}),
    ("burst",),
    {"burst": ("unfused", "compiled", "liger", "rounded")},
    (Target("burst", "unfused", 1.0), Target("burst", "compiled", 1.0)),
)
"""The linear layer and the loss of Llama 3 8B for 4,096 tokens."""
TRAINING = (
    norm_backward("rms-norm-backward", "rms_norm_backward", 16384, BOTH),
    norm_backward("layer-norm-backward", "layer_norm_backward", 16384, BOTH),
    LOSS,
    attention_backward("attention-backward", BOTH, causal=True),
    grouped("grouped-matmul", (8192, 14336, 4096, 8), BOTH),
)

ENTRIES = (
    *(_memory_bound(kernel) for kernel in ("softmax", "rms_norm", "layer_norm", "swiglu")),
    Entry(
        "fused-4096-fp16",
        MAIN,
        targets=(
            Target("sustained", "unfused", 1.075),
            Target("sustained", "compiled", 1.07),
            Target("sustained", "cublaslt", 1.01),
            Target("sustained", "cublas", 1.0),
            Target("burst", "unfused", 1.1),
            Target("burst", "cublas", 1.01),
        ),
        window_s=0.6,
        contest=True,
    ),
    Entry("energy", MAIN, ("energy",), {"energy": ("unfused", "cublas")}, window_s=0.6, contest=True),
    *SHAPES,
    Entry(
        "attention",
        Case("attention", (4, 32, 4096, 128), {"causal": True}),
        targets=tuple(Target(judged, "best", 0.9) for judged in BOTH),
    ),
    Entry(
        "fp8-matmul",
        Case("matmul", (4096, 4096, 4096), {"dtype": "fp8"}),
        targets=tuple(Target(judged, "best", 0.9) for judged in BOTH),
    ),
    *TRAINING,
)
"""The entries of ``bench --suite h200``, in this order. The memory-bound kernels come first, because torch.compile
needs half a minute for a matmul and compiles the later entries while these are measured."""

MEANS = (
    Mean("fused-shapes", tuple(e.name for e in SHAPES), "unfused", 1.18),
    Mean("fused-shapes", tuple(e.name for e in SHAPES), "compiled", 1.1),
)

LAUNCH = "ops-launch"
"""The entry that times the host and not a kernel: a call of ``ops`` against one of ``torch.mm``."""
LAUNCH_MOST_US = 2.5

NAMES = (*(e.name for e in ENTRIES), LAUNCH)


def chosen(only: tuple[str, ...]) -> tuple[tuple[Entry, ...], bool]:
    """The entries with these names (all, if there are no names), and whether the host's launch cost is among them.

    Raises ValueError that lists the entries for an unknown name."""
    unknown = [name for name in only if name not in NAMES]
    if unknown:
        raise ValueError(f"the suite has no entry {', '.join(unknown)}; it has {', '.join(NAMES)}")
    return tuple(e for e in ENTRIES if not only or e.name in only), not only or LAUNCH in only


SUITES: dict[str, tuple[Case, ...]] = {
    "memory": tuple(e.case for e in ENTRIES[:4]),
    "fusion": tuple(_fused(n, n, n, "fp16") for n in (1024, 2048, 4096, 8192)),
}
