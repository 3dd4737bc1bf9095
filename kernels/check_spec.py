"""Checks a kernel's methods on meta tensors, without a GPU, before any time is spent on it.

An error in a user's file is one sentence with the file, the line and what to do. A kernel that passes can still compute
a wrong result: the interpreter and the GPU find that.
"""

from __future__ import annotations

import inspect
import re
import reprlib
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from weakref import WeakKeyDictionary

import torch
from pydantic import ValidationError

from kernels.autotuned import AutotunedKernel
from kernels.defaults import MOST_CONFIGS, Undefined
from kernels.finder import one_line, where_raised
from kernels.hardware import Hardware, hardware_named
from kernels.launches.bound import same_bits
from kernels.launches.domain import KINDS, SHAPES
from kernels.launches.expected import WrongResults, expected, named, results_of
from kernels.launches.leaves import leaves, tensors_in
from kernels.launches.meta_tensors import MetaElementwise
from kernels.launches.owner_launch import name_of
from kernels.quiet import output_to_stderr
from kernels.source.locate import SourceMissing
from kernels.source.waiting_programs import reason_to_wait
from kernels.spec import Baseline, Config, KernelSpec, Problem, sentence
from memory.shared_models import Closed

T = TypeVar("T")

NAME = re.compile(r"\w[\w.-]{0,99}")
"""A kernel's name becomes part of file names, rows and sentences."""
METRICS = ("tflops", "gbps", "latency")
"""The metrics that a kernel may choose as its default."""
MOST_DRAWN = 1 << 24
"""Elements of the reduced inputs that are drawn twice; more would take seconds."""
ROUNDINGS = 2e-6
"""Draws from equal generators may differ by this part of their largest element, or by the rounding to their dtype.
Other draws differ by all of it."""


_waits: WeakKeyDictionary[type, str | None] = WeakKeyDictionary()
"""Why programs of a class's kernels may wait for one another: the walk takes some tenths of a second."""


class KernelError(ValueError):
    """A kernel's file is wrong. The message is one sentence with the file, the line and what to do."""


def examine(spec: KernelSpec[Any, Any], problem: Problem | None = None, hardware: Hardware | None = None) -> None:
    """Raises KernelError for the first mistake in `spec` on `problem` (default: its own default problem)."""
    examiner = _Examiner(spec)
    hardware = hardware or hardware_named("H200")
    _attributes(examiner)
    given = problem if problem is not None else examiner.call("default_problem")
    examiner.require_type("default_problem", given, spec.problem_type)
    examiner.require_valid("default_problem", given)
    examiner.run("problem_type", lambda: given.torch_dtype)
    first, space = _configs(examiner, given, hardware)

    results = _tensors(examiner, given)
    _arguments(examiner, given, results)
    for figure in ("flops", "bytes"):
        count = examiner.call(figure, given)
        if not isinstance(count, int) or not 0 <= count < 2**63 or (figure == "bytes" and count == 0):
            examiner.fail(figure, f"returns {count!r}: return a whole number of {figure}")
        if figure == "flops" and count == 0 and spec.metric == "tflops":
            examiner.fail("flops", 'returns 0 for a kernel scored in TFLOP/s: count them, or set metric = "gbps"')
    bound = examiner.call("tolerance", given)
    unknown = [n for n in bound if n not in results] if isinstance(bound, dict) else []
    if unknown:
        examiner.fail("tolerance", f"bounds {unknown[0]}: the results are {', '.join(results)}")
    for one in bound.values() if isinstance(bound, dict) else [bound]:
        if not isinstance(one, float) or not 0 <= one < 1 or (one == 0 and not isinstance(bound, dict)):
            examiner.fail("tolerance", f"returns {one!r}: return the largest scale-relative error, between 0 and 1")
    baselines = examiner.call("baselines", given)
    if not isinstance(baselines, list | tuple) or not baselines or not all(isinstance(b, Baseline) for b in baselines):
        examiner.fail(
            "baselines", f"returns {reprlib.repr(baselines)}: give a list of Baseline, the eager PyTorch way first"
        )
    _reduced(examiner, given, first, space)
    _waiting(examiner)


def examine_space(spec: KernelSpec[Any, Any], problem: Problem) -> None:
    """Raises KernelError if `spec` has no config for `problem`. That is what can still be wrong with a built-in kernel:
    its tests examine the rest, which takes seconds, because PyTorch imports SymPy for the first product of meta
    tensors."""
    _configs(_Examiner(spec), problem, hardware_named("H200"))


def _tensors(examiner: _Examiner, given: Problem) -> list[str]:
    """Check inputs, outputs and references on meta tensors. Returns the names of the results."""
    spec = examiner.spec
    inputs = examiner.call("inputs", given, None, "meta")
    odd = [x for _, x in leaves(inputs) if not isinstance(x, torch.Tensor | int | float | bool | None)]
    if not isinstance(inputs, tuple | dict) or odd:
        shown = reprlib.repr(odd[0] if odd else inputs)
        examiner.fail("inputs", f"returns {shown}: return a tuple of tensors, or a dict of them by name")
    by_us = type(spec).output is KernelSpec.output
    if by_us and type(spec).eager is not KernelSpec.eager:
        wrong = [x for _, x in leaves(examiner.call("eager", given, inputs)) if not isinstance(x, torch.Tensor)]
        if wrong:
            examiner.require_type("eager", wrong[0], torch.Tensor)
    out = examiner.call("output", given, "meta")
    for _, x in leaves(out):
        examiner.require_type("output", x, torch.Tensor | None)
    effects = examiner.call("effects", given)
    try:
        results = results_of(effects, inputs, out)
    except WrongResults as e:
        examiner.fail("inplace", f"is wrong: {e}")
    if not results:
        examiner.fail("output", "gives nothing to verify: give an output, or name the inputs written in place")
    strays = [
        t.device.type for t in (*tensors_in(inputs).values(), *tensors_in(out).values()) if t.device.type != "meta"
    ]
    if strays:
        examiner.fail("inputs", f"makes a tensor on {strays[0]} where device is meta: pass `device` on to every tensor")
    if type(spec).eager is not KernelSpec.eager:
        _results(examiner, "eager", list(results), examiner.call("eager", given, inputs))
    if type(spec).reference is KernelSpec.reference:
        references = examiner.run("eager", lambda: expected(spec, given, inputs, list(results)))
    else:
        references = _results(examiner, "reference", list(results), examiner.call("reference", given, inputs))
    for name, reference in references.items():
        what = "is" if len(results) == 1 else f"gives {name} as"
        if reference.dtype != torch.float64:
            examiner.fail("reference", f"{what} {reference.dtype}: compute it in float64")
        if tuple(reference.shape) != tuple(results[name].shape):
            which = "" if len(results) == 1 else f" {name}"
            examiner.fail(
                "output",
                f"has shape {tuple(results[name].shape)}{which}, the reference {tuple(reference.shape)}: "
                "make them the same",
            )
    return list(results)


def _arguments(examiner: _Examiner, given: Problem, results: list[str]) -> None:
    """Check that an autotuned kernel is given every parameter, and no tensor that nobody looks after."""
    spec = examiner.spec
    if isinstance(spec, AutotunedKernel):
        several = f"; out holds the {len(results)} results as eager() gives them" if len(results) > 1 else ""
        found = examiner.run("arguments", lambda: spec.undeclared(given), several)
        if found:
            examiner.fail(
                "arguments",
                f"makes the tensor {found[0]} itself, which nobody would verify: let output() make it, beside the "
                f"others, and eager() give it, or name it in scratch",
            )
        if missing := examiner.run("arguments", lambda: spec.missing(given)):
            cure = f'return a dict by name, or (arguments, {{"{missing[0]}": …}})'
            examiner.fail("arguments", f"gives no {', '.join(missing)} of {name_of(spec.kernel)}: {cure}")


def _waiting(examiner: _Examiner) -> None:
    """Check that no program waits for another one. A captured launch has its own rule (``kernels/captured``)."""
    kind = type(examiner.spec)
    if kind.source_hash is not KernelSpec.source_hash:
        return
    if kind not in _waits:
        try:
            _waits[kind] = reason_to_wait(examiner.spec)
        except SourceMissing:  # whoever asks for the source hash reports it
            _waits[kind] = None
    why = _waits[kind]
    if why is not None:
        examiner.fail(
            "launch",
            f"starts programs that may wait for one another ({why}): it ends only if those that are waited for run at "
            "the same time, and how many do changes with the config, so it cannot be tuned",
        )


def _results(examiner: _Examiner, method: str, names: list[str], value: Any) -> dict[str, torch.Tensor]:
    for _, x in leaves(value):
        examiner.require_type(method, x, torch.Tensor)
    try:
        return named(names, value)
    except WrongResults as e:
        examiner.fail(method, str(e))


def _attributes(examiner: _Examiner) -> None:
    """Check the attributes of the class."""
    spec = examiner.spec
    for attribute, base in (("problem_type", Problem), ("config_type", Config)):
        found = examiner.run(attribute, partial(getattr, spec, attribute))
        if not (isinstance(found, type) and issubclass(found, base)):
            examiner.fail(attribute, f"is {reprlib.repr(found)}: make it a subclass of {base.__name__}")
    dims = getattr(spec.problem_type, "dims", None)
    if not isinstance(dims, tuple) or any(d not in spec.problem_type.model_fields for d in dims):
        examiner.fail("problem_type", f"has dims {dims!r}: give it dims, a tuple of names of its fields")
    if not isinstance(spec.name, str) or not NAME.fullmatch(spec.name):
        examiner.fail("name", f"is {reprlib.repr(spec.name)}: give it letters, digits, _, . and -, at most 100 of them")
    if spec.metric not in METRICS:
        examiner.fail("metric", f"is {reprlib.repr(spec.metric)}: choose {', '.join(METRICS)}")
    if not isinstance(spec.domain, tuple):
        examiner.fail("domain", f"is {reprlib.repr(spec.domain)}: make it a tuple of kinds")
    strange = [kind for kind in spec.domain if kind not in (*KINDS, *SHAPES)]
    if strange:
        known = f"the kinds of inputs are {', '.join(KINDS)}; those of shapes are {', '.join(SHAPES)}"
        examiner.fail("domain", f"names {strange[0]!r}: {known}")
    if not isinstance(spec.aliases, tuple) or not all(isinstance(a, str) for a in spec.aliases):
        examiner.fail("aliases", f"is {reprlib.repr(spec.aliases)}: make it a tuple of words")


def _configs(examiner: _Examiner, given: Problem, hardware: Hardware) -> tuple[Config, list[Config]]:
    """The default config and the space, after a check of each of their configs."""
    spec = examiner.spec
    found = examiner.call("candidates", given, hardware)
    if not isinstance(found, Iterable):
        examiner.fail("candidates", f"returns {reprlib.repr(found)}: yield configs, or return a list of them")
    for config in examiner.run("candidates", lambda: list(islice(found, MOST_CONFIGS + 1))):
        examiner.require_type("candidates", config, spec.config_type)
        why = examiner.call("constraint", given, config, hardware)
        if not isinstance(why, str | None):
            examiner.fail("constraint", f"gives {why!r}: return what is broken in words, or None where nothing is")
    first = examiner.call("default_config", given, hardware)
    examiner.require_type("default_config", first, spec.config_type)
    space = examiner.call("space", given, hardware)
    examiner.require_type("space", space, list)
    if not space:
        examiner.fail("candidates", f"leaves no config for {given.label()} on {hardware.name}: loosen constraint()")
    for config in space:
        examiner.require_type("space", config, spec.config_type)
        examiner.require_valid("candidates", config)
    examiner.require_valid("default_config", first)
    broken = examiner.call("constraint", given, first, hardware)
    if broken is not None:
        examiner.fail("default_config", f"breaks a constraint ({broken}): choose one that holds on {hardware.name}")
    return first, space


def _reduced(examiner: _Examiner, given: Problem, first: Config, space: list[Config]) -> None:
    """Check the reduced problem of every config, and that equal seeds give equal inputs for the first one."""
    for config in space:
        reduced = examiner.call("reduced", given, config)
        examiner.require_type("reduced", reduced, examiner.spec.problem_type)
        examiner.require_valid("reduced", reduced)
        why_not = examiner.call("interpretable", config)
        if not isinstance(why_not, str | None):
            examiner.fail("interpretable", f"gives {why_not!r}: return why not in words, or None")
    problem = examiner.call("reduced", given, first)
    shapes = tensors_in(examiner.call("inputs", problem, None, "meta"))
    if sum(t.numel() for t in shapes.values()) > MOST_DRAWN:
        return
    drawn = [tensors_in(examiner.call("inputs", problem, torch.Generator().manual_seed(0), "cpu")) for _ in range(2)]
    for path in dict.fromkeys((*drawn[0], *shapes)):
        kinds = [
            f"{t.dtype} {tuple(t.shape)}" if (t := x.get(path)) is not None else "None" for x in (drawn[0], shapes)
        ]
        if kinds[0] != kinds[1]:
            examiner.fail(
                "inputs", f"makes input {path} {kinds[0]} on the CPU and {kinds[1]} on meta: make them the same"
            )
        a, b = (x[path] for x in drawn)
        if same_bits(a, b) or _rounded_apart(a, b):
            continue
        if _addresses(drawn[0], a):
            examiner.fail(
                "inputs", f"gives input {path} the addresses of other inputs: hand those over as PointerTable(tensors)"
            )
        examiner.fail("inputs", f"draws another input {path} from an equal generator: pass `generator` on")


def _rounded_apart(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two draws differ by roundings alone: on a busy machine a product of matrices on the CPU may be added up
    in another order."""
    if not a.is_floating_point() or a.element_size() == 1:
        return False
    bound = max(ROUNDINGS, torch.finfo(a.dtype).eps) * a.double().abs().max()
    return bool((a.double() - b.double()).abs().max() <= bound)


def _addresses(drawn: dict[str, torch.Tensor], table: torch.Tensor) -> bool:
    """Whether `table` holds nothing but addresses of other inputs."""
    if table.dtype != torch.int64 or not table.numel():
        return False
    return set(table.flatten().tolist()) <= {t.data_ptr() for t in drawn.values() if t is not table}


class _Examiner:
    """Calls a spec's methods, and raises KernelError with the line of the method that failed."""

    def __init__(self, spec: KernelSpec[Any, Any]) -> None:
        self.spec = spec

    def call(self, method: str, *arguments: Any) -> Any:
        return self.run(method, lambda: getattr(self.spec, method)(*arguments))

    def run(self, method: str, call: Callable[[], T], hint: str = "") -> T:
        """The result of `call`. An exception becomes a KernelError about the user's method that raised it, or about
        `method`, with a `hint`; its prints go to stderr."""
        kind = type(self.spec)
        try:
            with output_to_stderr(), MetaElementwise():
                return call()
        except Undefined as e:
            raise KernelError(f"{self._line(method)}: {e}") from e
        except (Exception, SystemExit) as e:  # a user's method may raise anything at all
            path = Path(inspect.getfile(kind))
            where = where_raised(e, path)
            where = self._line(method) if where == str(path) else where
            words = f"ValidationError: {sentence(e)}" if isinstance(e, ValidationError) else one_line(e)
            blamed = next((name for name in called_in(e, path) if hasattr(kind, name)), method)
            raise KernelError(f"{where}: {kind.__name__}.{blamed}() raised {words}{hint}") from e

    def require_type(self, method: str, value: Any, kind: Any) -> None:
        if not isinstance(value, kind):
            name = getattr(kind, "__name__", "Tensor")
            self.fail(method, f"gives {reprlib.repr(value)}: it must be a {name}")

    def require_valid(self, method: str, value: Closed) -> None:
        """Raises KernelError if `value` does not survive JSON, in which it travels to other processes."""
        try:
            type(value).model_validate(value.model_dump(mode="json", warnings=False))
        except ValidationError as e:
            self.fail(method, f"gives {reprlib.repr(value)}, which {type(value).__name__} refuses ({sentence(e)})")

    def fail(self, method: str, why: str) -> NoReturn:
        raise KernelError(f"{self._line(method)}: {type(self.spec).__name__}.{method} {why}")

    def _line(self, method: str) -> str:
        """``path:line`` at which the user defines `method`; that of the class for an attribute or a default of ours."""
        kind = type(self.spec)
        found = getattr(kind, method, None)
        target: Any = found if inspect.isfunction(found) and not _ours(found.__module__, kind.__module__) else kind
        try:
            return f"{inspect.getfile(target)}:{inspect.getsourcelines(target)[1]}"
        except (OSError, TypeError):
            return inspect.getfile(kind)


def called_in(error: BaseException, path: Path) -> Iterator[str]:
    """Names of the functions of the file at `path` that `error` went through, the outermost first."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if Path(frame.f_code.co_filename) == path:
            yield frame.f_code.co_name


def _ours(module: str, kinds: str) -> bool:
    return module != kinds and module.startswith("kernels.")
