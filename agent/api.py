"""The agent in Python: one function, no global state, importable without PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import UsageError
from agent.loop.progress import Standing, Watch
from kernels.registry import get, names

if TYPE_CHECKING:
    from agent.result import Result

Progress = Callable[[Standing], object]


def optimise(
    goal: str,
    *,
    kernel: str | type | object | None = None,
    shape: Sequence[int] | str | None = None,
    dtype: str | object | None = None,
    options: Mapping[str, str | int | float | bool] | None = None,
    device: str | None = None,
    model: str | None = None,
    base_url: str | None = None,
    effort: str | None = None,
    api: str | None = None,
    max_evals: int | None = None,
    max_seconds: float | None = None,
    max_tokens: int | None = None,
    max_cost: float | None = None,
    max_model_calls: int | None = None,
    max_model_seconds: float | None = None,
    memory: str | os.PathLike[str] | None = None,
    cold: bool = False,
    edit: bool = False,
    against: str | Sequence[str] = (),
    bitwise: bool = False,
    yes: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Result:
    """Work on `goal` as ``python -m agent`` does, and give back the result, proven or not.

    `goal` is a sentence such as ``maximise fused TFLOPS``; the other arguments overrule its words.

    - `kernel`: a registered name, ``path.py:NAME``, ``module:NAME``, or a KernelSpec that can be imported.
    - `shape`: the problem's dimensions in the kernel's order, ``(4096, 4096, 4096)``; `dtype`: ``fp16``, or
      ``torch.float16``; `options`: other fields of the problem by name, ``{"causal": False}``.
    - `device`: ``auto`` (a GPU where there is one, else a recorded one), ``cuda:N``, ``recorded[:LANDSCAPE]``.
    - `model`: who decides: a language model's name, or a model of yours as ``path.py:NAME`` or ``module:NAME``;
      ``None`` is AUTOKERNEL_MODEL, else the embedded planner, which needs no key and no network.
      `base_url`: a server that speaks the OpenAI protocol; the key is OPENAI_API_KEY. `effort`: how hard a reasoning
      model thinks, ``none`` to ``max``; ``None`` is AUTOKERNEL_EFFORT, else the model's own default. `api`: ``auto``,
      ``responses`` or ``chat``; ``None`` is AUTOKERNEL_API, else ``auto``.
    - `max_evals` (40 configs measured), `max_seconds` (600 of search, without a language model's answers),
      `max_model_seconds` (10800 of answers), `max_tokens`, `max_cost` (US dollars), `max_model_calls` (100): the search
      ends at the first limit it reaches.
    - `memory`: the SQLite file of all attempts; `cold`: start without what earlier runs know.
    - `edit`: whether device code may be edited too, by known rewrites or by the model (docs/EDITING.md).
    - `against`: the names of the only baselines that the verdict is judged by; every equivalent one without it.
    - `bitwise`: prove only what gives the bits of the owner's launch. This needs a GPU.
    - `yes`: leave words of the goal out that are not understood, with a notice, instead of refusing the goal.
    - `progress` is called in the calling thread with a :class:`~agent.loop.progress.Standing` for every line and every
      step; what it raises ends the run.

    Raises UsageError for what cannot be used as it is and AgentError where the run could not go on, with one sentence
    each. Ctrl-C stops at the next safe point with an AgentError that names the run; in other threads than the main one
    no signal handler is set. ``.env`` is not read."""
    from agent.goal.early import named_device, start_early
    from agent.goal.goal import Given
    from agent.goal.request import requested
    from agent.loop.run import begin
    from agent.models.choose import api_name, model_name
    from agent.models.effort import read_effort
    from agent.result import Result

    if not isinstance(goal, str):
        raise UsageError(f"The goal is a sentence, such as 'maximise fused TFLOPS', not {goal!r}.")
    words = {"device": device, "model": model, "base_url": base_url, "effort": effort, "api": api}
    for argument, text in words.items():
        require(text is None or isinstance(text, str), f"{argument} is a word or None", text)
    for argument, flag in {"cold": cold, "edit": edit, "bitwise": bitwise, "yes": yes}.items():
        require(isinstance(flag, bool), f"{argument} is True or False", flag)
    require(memory is None or isinstance(memory, str | os.PathLike), "memory is the path of a file", memory)
    require(options is None or isinstance(options, Mapping), "options is a mapping, such as {'causal': False}", options)
    require(progress is None or callable(progress), "progress is a function of one Standing", progress)
    require(isinstance(against, Iterable), "against is the name of a baseline, or several", against)
    baselines = (against,) if isinstance(against, str) else tuple(against)
    require(all(isinstance(b, str) for b in baselines), "against is the name of a baseline, or several", against)
    name = model_name(model, base_url)
    given = Given(
        kernel=kernel_name(kernel),
        shape=shape_text(shape),
        dtype=dtype_name(dtype),
        options=tuple(f"{name}={value}" for name, value in (options or {}).items()),
        device=device,
        model=name,
        effort=read_effort(effort),
        api=api_name(api, name),
        max_evals=whole("max_evals", max_evals),
        max_seconds=positive("max_seconds", max_seconds),
        max_tokens=whole("max_tokens", max_tokens),
        max_cost=positive("max_cost", max_cost),
        max_model_calls=whole("max_model_calls", max_model_calls),
        max_model_seconds=positive("max_model_seconds", max_model_seconds),
        against=baselines,
        bitwise=bitwise,
        yes=yes,
        seed=whole("seed", seed, least=0) or 0,
    )
    path = Path(memory) if memory is not None else None
    with start_early(named_device(device, goal), given.kernel or goal, edit) as started:
        objective, notices = requested(goal, given, cold, edit)
        watch = CallbackWatch(progress)
        return Result.of(begin(objective, path, base_url, watch, notices=notices, started=started))


class CallbackWatch(Watch):
    """A watch that calls a function for every line and every change."""

    def __init__(self, progress: Progress | None) -> None:
        super().__init__()
        self._progress = progress

    def notify(self, line: str) -> None:
        if self._progress is not None:
            self._progress(replace(self.standing, line=line))

    def on_change(self) -> None:
        if self._progress is not None:
            self._progress(self.standing)


def kernel_name(kernel: str | type | object | None) -> str | None:
    """`kernel` as the registry names it, so that child processes can load it. Raises UsageError."""
    if kernel is None or isinstance(kernel, str):
        return kernel
    import inspect

    kind = kernel if isinstance(kernel, type) else type(kernel)
    if not hasattr(kind, "problem_type"):
        raise UsageError(f"kernel is a name or a KernelSpec, not {kernel!r}.")
    if any(type(get(name)) is kind for name in names()):
        return str(getattr(kind, "name", ""))
    try:
        path = inspect.getfile(kind)
    except (TypeError, OSError):
        path = ""
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__ or not path.endswith(".py"):
        raise UsageError(
            f"{kind.__qualname__} was defined where child processes cannot import it: put it into a file and give "
            f"kernel='path.py:{kind.__name__}'."
        )
    return f"{path}:{kind.__name__}"


TORCH_NAMES = {"float16": "fp16", "bfloat16": "bf16", "float8_e4m3fn": "fp8", "float32": "fp32"}
"""PyTorch's names of dtypes, and ours."""


def dtype_name(dtype: str | object | None) -> str | None:
    """A dtype as a kernel's problem names it; ``torch.float16`` is ``fp16``. Raises UsageError."""
    if dtype is None or isinstance(dtype, str):
        return dtype
    name = str(dtype).removeprefix("torch.")
    if name not in TORCH_NAMES:
        raise UsageError(f"dtype is a word such as 'fp16' or 'bf16', or torch.float16 or torch.bfloat16, not {dtype}.")
    return TORCH_NAMES[name]


def shape_text(shape: Sequence[int] | str | None) -> str | None:
    """``4096x4096x4096``. Raises UsageError."""
    if shape is None or isinstance(shape, str):
        return shape
    dims = tuple(shape) if isinstance(shape, Iterable) else ()
    if not dims or not all(isinstance(d, int) and not isinstance(d, bool) and d > 0 for d in dims):
        raise UsageError(f"A shape is positive whole numbers, such as (4096, 4096, 4096), not {shape!r}.")
    return "x".join(map(str, dims))


def require(usable: bool, what: str, value: object) -> None:
    """Raises UsageError for an argument that is not `what`."""
    if not usable:
        raise UsageError(f"{what}, not {value!r}.")


def whole(name: str, value: Any, least: int = 1) -> int | None:
    """Raises UsageError for what is no whole number of at least `least`."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise UsageError(f"{name} is a whole number of at least {least}, not {value!r}.")
    return value


def positive(name: str, value: Any) -> float | None:
    """Raises UsageError for what is no positive, finite number."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise UsageError(f"{name} is a positive number, not {value!r}.")
    return float(value)
