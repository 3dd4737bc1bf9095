"""``validate``: checks every kernel and family against its float64 reference, in the interpreter or on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kernels.check_spec import examine
from kernels.defaults import Undefined, field_values
from kernels.hardware import Hardware, hardware_named
from kernels.registry import get
from kernels.spec import Config, KernelSpec, Problem
from tools.harness.results import CheckResult

Row = dict[str, Any]
Given = tuple[tuple[int, ...] | None, dict[str, Any]]
"""A problem that a person asks for: its shape, or None for the default one, and its other fields."""


@dataclass(frozen=True)
class Check:
    """Configs of one kernel to check on one problem."""

    spec: KernelSpec[Any, Any]
    problem: Problem
    configs: list[Config]


def plan(names: list[str], hardware: Hardware, given: Given | None = None) -> Iterator[Check]:
    """The checks of each kernel: of the problem that is `given`; otherwise, of each dtype, the default problem and one
    with every dimension odd, so that tiles are cut at the edges. The configs are the default one and the first, middle
    and last config of each family. Raises ValueError."""
    for name in names:
        spec = get(name)
        examine(spec, hardware=hardware)
        for problem in _problems(spec, hardware) if given is None else [_given(spec, hardware, given)]:
            examine(spec, problem, hardware)
            yield Check(spec, problem, _select_configs(spec, problem, hardware))


def _problems(spec: KernelSpec[Any, Any], hardware: Hardware) -> Iterator[Problem]:
    own = spec.default_problem()
    for dtype in _dtypes(spec):
        here = own.model_copy(update={"dtype": dtype})
        for problem in dict.fromkeys((here, _odd(spec, here, hardware))):
            if spec.space(problem, hardware):  # otherwise the kernel's constraint excludes it
                yield problem


def _given(spec: KernelSpec[Any, Any], hardware: Hardware, given: Given) -> Problem:
    problem: Problem = spec.parse_problem(*given)
    if not spec.space(problem, hardware):
        raise ValueError(f"{spec.name} has no config for {problem.label()}: its constraint excludes them all")
    return problem


def validate(
    names: list[str], device: str | None, progress: Callable[[str], None], given: Given | None = None
) -> list[Row]:
    """A row per config, on the problem that is `given` or on those of ``plan``. `device` is ``cuda:N``, or ``None`` for
    the interpreter, which runs reduced problems.

    Raises ValueError for a kernel that does not exist or is not valid, DeviceError for a GPU that does not exist."""
    if device is None:
        from tools.harness.checking.interpreter import Interpreter

        hardware, interpreter = hardware_named("H200"), Interpreter()
        try:
            rows, stressed = [], set()
            for check in plan(names, hardware, given):
                progress(f"{check.spec.name} {check.problem.label()}: {len(check.configs)} configs in the interpreter")
                found = interpreter.check(check.spec, check.problem, check.configs, hardware.name)
                if check.spec.name not in stressed and found[0].status == "correct":
                    stressed.add(check.spec.name)
                    found[0] = _stressed(
                        found[0], interpreter.stress(check.spec, check.problem, check.configs[0], "H200")
                    )
                rows += [_row(check, r) for r in found]
            return rows
        finally:
            interpreter.close()

    from tools.harness.devices.live import LiveDevice

    rows = []
    for name in names:
        spec = get(name)
        examine(spec)
        probe = LiveDevice.open(device, spec, spec.default_problem())
        probe.close()
        for check in plan([name], probe.hardware, given):
            progress(f"{spec.name} {check.problem.label()}: {len(check.configs)} configs on {probe.info.name}")
            live = LiveDevice.open(device, spec, check.problem)
            try:
                found = live.check(check.configs)
                if found[0].status == "correct":
                    found[0] = _stressed(found[0], live.stress(check.configs[0]))
                rows += [_row(check, r) for r in found]
            finally:
                live.close()
    return rows


def _stressed(nominal: CheckResult, stressed: CheckResult) -> CheckResult:
    """The verdict on nominal inputs, or what other inputs and shapes showed to be wrong."""
    return stressed if stressed.status in ("correctness", "runtime") else nominal


def _row(check: Check, result: Any) -> Row:
    return {
        "kernel": check.spec.name,
        "problem": check.problem.label(),
        "where": result.where,
        "status": result.status,
        "error": result.error,
        "bound": result.bound,
        "reason": result.reason or result.programs or "",
        "seconds": result.seconds,
        "config": result.config,
    }


def _dtypes(spec: KernelSpec[Any, Any]) -> tuple[str, ...]:
    try:
        return tuple(map(str, field_values(spec.problem_type, "dtype")))
    except Undefined:
        return (spec.default_problem().dtype,)


def _odd(spec: KernelSpec[Any, Any], own: Problem, hardware: Hardware) -> Problem:
    """`own` with every even dimension one shorter. A dimension that may not be odd is not changed."""
    odd = own
    for dim in own.dims:
        size = getattr(own, dim)
        if not isinstance(size, int) or size < 2 or size % 2:
            continue
        try:
            shorter = spec.problem_type.model_validate({**odd.model_dump(), dim: size - 1})
        except ValueError:
            continue
        if spec.space(shorter, hardware):
            odd = shorter
    return odd


def _select_configs(spec: KernelSpec[Any, Any], problem: Problem, hardware: Hardware) -> list[Config]:
    families: dict[Any, list[Config]] = {}
    for config in spec.space(problem, hardware):
        families.setdefault(getattr(config, "family", None), []).append(config)
    chosen = [spec.default_config(problem, hardware)]
    for members in families.values():
        chosen += [members[0], members[len(members) // 2], members[-1]]
    return list(dict.fromkeys(chosen))
