"""Definitions, solutions and workloads as flashinfer-bench and SOL-ExecBench write them.

A *definition* names axes, inputs, outputs and a reference with a function ``run``; a *solution* holds source files and
an entry point; a *workload* file gives one line for each binding of the variable axes. The two dialects differ in
details (an axis may be an expression, a shape may be null, languages may be a list, a line may hold the bare workload),
and both are read.
"""

from __future__ import annotations

import ast
import json
import operator
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from evals.errors import EvalsError
from evals.judge.pair import Pair, names_in, read_text
from memory.shared_models import explain_refusal

T = TypeVar("T", bound=BaseModel)

LANGUAGES = ("python", "triton", "pytorch", "torch")
DTYPES = frozenset(
    "float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 int64 int32 int16 int8 uint8 bool".split()  # noqa: SIM905 -- a list of words
)
OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
MOST_EXPONENT = 64


class Axis(BaseModel):
    type: Literal["const", "var", "expr"]
    value: int | None = None
    expression: str | None = None


class TensorSpec(BaseModel):
    shape: list[str | int] | None
    dtype: str


class Definition(BaseModel):
    name: str
    axes: dict[str, Axis]
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    reference: str
    custom_inputs_entrypoint: str | None = None
    constraints: list[str] | None = None


class Source(BaseModel):
    path: str
    content: str


class BuildSpec(BaseModel):
    entry_point: str
    language: str | None = None
    languages: list[str] = Field(default_factory=list)
    destination_passing_style: bool = True


class Solution(BaseModel):
    name: str
    definition: str
    spec: BuildSpec
    sources: list[Source]


class InputSpec(BaseModel):
    type: str
    value: bool | int | float | None = None
    path: str | None = None
    tensor_key: str | None = None


class Workload(BaseModel):
    uuid: str
    axes: dict[str, int]
    inputs: dict[str, InputSpec]
    tolerance: dict[str, Any] | None = None


def definition_pairs(definition: Path, solution: Path, workload: Path | None) -> list[Pair]:
    """One pair for each line of the workload file. Raises EvalsError."""
    about = _read(Definition, definition)
    answer = _read(Solution, solution)
    if answer.definition != about.name:
        raise EvalsError(f"{solution} solves {answer.definition!r}, and {definition} defines {about.name!r}")
    if workload is None:
        raise EvalsError(f"{definition} leaves axes open: add --workload FILE with one workload a line")
    try:
        known = names_in(ast.parse(about.reference))
    except (SyntaxError, ValueError) as e:
        raise EvalsError(f"the reference in {definition} is no Python ({e})") from e
    if "run" not in known:
        raise EvalsError(f"the reference in {definition} has no function run")
    file, entry = _entry(answer, solution)
    return [
        Pair(
            form="function",
            title="definition, solution and workload",
            reference=str(definition),
            candidate=str(solution),
            reference_name="reference.py",
            reference_source=about.reference,
            candidate_sources={s.path: s.content for s in answer.sources},
            candidate_file=file,
            entry=entry,
            described=_described(about, line, definition, workload),
            outputs=_outputs(about, line, definition) if answer.spec.destination_passing_style else [],
            named={name: spec.dtype for name, spec in about.outputs.items()},
            workload=line.uuid,
            notes=_notes(about, line),
        )
        for line in _workloads(workload, about)
    ]


def _entry(solution: Solution, path: Path) -> tuple[str, str]:
    spec = solution.spec
    languages = [x.lower() for x in [*([spec.language] if spec.language else []), *spec.languages]]
    odd = [x for x in languages if x not in LANGUAGES]
    if odd:
        raise EvalsError(f"{path} is written in {odd[0]}: the judge runs Python and Triton")
    file, mark, entry = spec.entry_point.partition("::")
    paths = [s.path for s in solution.sources]
    if not mark or not entry.isidentifier():
        raise EvalsError(f"{path}: entry_point is {spec.entry_point!r}: write FILE.py::FUNCTION")
    if file not in paths:
        raise EvalsError(f"{path}: entry_point names {file}, and sources hold {', '.join(paths) or 'nothing'}")
    outside = [p for p in paths if PurePosixPath(p).is_absolute() or ".." in PurePosixPath(p).parts or not p]
    if outside:
        raise EvalsError(f"{path}: the source path {outside[0]!r} leads out of the solution's folder")
    return file, entry


def _workloads(path: Path, about: Definition) -> list[Workload]:
    lines = [(n, line) for n, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    found = []
    for n, line in lines:
        value = _json(line, f"{path}:{n}")
        if isinstance(value, dict) and isinstance(value.get("workload"), dict):
            if value.get("definition") not in (None, about.name):
                raise EvalsError(f"{path}:{n} belongs to {value['definition']!r}, and the definition is {about.name!r}")
            value = value["workload"]
        found.append(_checked(Workload, value, f"{path}:{n}"))
    if not found:
        raise EvalsError(f"{path} holds no workload: write one JSON object a line")
    return found


def _described(about: Definition, line: Workload, definition: Path, workload: Path) -> dict[str, Any]:
    axes = _axes(about, line, definition)
    missing = [n for n in about.inputs if n not in line.inputs]
    if missing:
        raise EvalsError(f"workload {line.uuid} in {workload} says nothing about the input {missing[0]}")
    custom = [n for n in about.inputs if line.inputs[n].type == "custom"]
    if custom and (len(custom) < len(about.inputs) or not about.custom_inputs_entrypoint):
        raise EvalsError(
            f"workload {line.uuid}: custom inputs are made all together by the definition's custom_inputs_entrypoint"
        )
    inputs = [_input(name, about, line, axes, definition, workload) for name in about.inputs]
    return {"inputs": inputs, "axes": axes, "custom": about.custom_inputs_entrypoint if custom else None}


def _input(
    name: str, about: Definition, line: Workload, axes: dict[str, int], definition: Path, workload: Path
) -> dict[str, Any]:
    spec, given = about.inputs[name], line.inputs[name]
    found = {"name": name, "kind": given.type, **_tensor(name, spec, axes, definition)}
    if given.type == "scalar":
        if given.value is None:
            raise EvalsError(f"workload {line.uuid}: the scalar {name} has no value")
        return found | {"value": given.value}
    if given.type == "safetensors":
        if given.path is None or given.tensor_key is None:
            raise EvalsError(f"workload {line.uuid}: the input {name} needs path and tensor_key")
        return found | {"path": str((workload.parent / given.path).resolve()), "key": given.tensor_key}
    if given.type not in ("random", "custom"):
        raise EvalsError(f"workload {line.uuid}: the input {name} has the unknown type {given.type!r}")
    return found


def _outputs(about: Definition, line: Workload, definition: Path) -> list[dict[str, Any]]:
    axes = _axes(about, line, definition)
    found = []
    for name, spec in about.outputs.items():
        tensor = _tensor(name, spec, axes, definition)
        found.append({"name": name, "dtype": tensor["dtype"], "shape": tensor["shape"] or []})
    return found


def _tensor(name: str, spec: TensorSpec, axes: dict[str, int], definition: Path) -> dict[str, Any]:
    if spec.dtype not in DTYPES:
        raise EvalsError(f"{definition}: {name} is {spec.dtype}, which the judge cannot compare")
    if spec.shape is None:
        return {"dtype": spec.dtype, "shape": None}
    unknown = [a for a in spec.shape if isinstance(a, str) and a not in axes and not a.isdecimal()]
    if unknown:
        raise EvalsError(f"{definition}: {name} has the axis {unknown[0]}, which is not among axes")
    return {"dtype": spec.dtype, "shape": [axes[a] if a in axes else int(a) for a in map(str, spec.shape)]}


def _axes(about: Definition, line: Workload, definition: Path) -> dict[str, int]:
    """Sizes by name: constants, the workload's, then expressions of both."""
    found: dict[str, int] = {}
    for name, axis in about.axes.items():
        if axis.type == "const":
            if axis.value is None:
                raise EvalsError(f"{definition}: the axis {name} has no value")
            found[name] = axis.value
        elif axis.type == "var":
            if name not in line.axes:
                raise EvalsError(f"workload {line.uuid} gives no size for the axis {name}")
            found[name] = line.axes[name]
    waiting = {n: a.expression or "" for n, a in about.axes.items() if a.type == "expr"}
    while waiting:
        ready = [n for n, text in waiting.items() if not _names(text, definition) & waiting.keys()]
        if not ready:
            raise EvalsError(f"{definition}: the axes {', '.join(waiting)} are defined by one another")
        for name in ready:
            found[name] = evaluate(waiting.pop(name), found, f"{definition}: the axis {name}")
    wrong = [n for n, size in found.items() if size < 0]
    if wrong:
        raise EvalsError(f"workload {line.uuid}: the axis {wrong[0]} is {found[wrong[0]]}, and a size is not negative")
    return found


def _names(text: str, definition: Path) -> set[str]:
    try:
        return {n.id for n in ast.walk(ast.parse(text, mode="eval")) if isinstance(n, ast.Name)}
    except (SyntaxError, ValueError) as e:
        raise EvalsError(f"{definition}: {text!r} is no expression of axes") from e


def evaluate(text: str, sizes: dict[str, int], what: str) -> int:
    """A whole number: arithmetic over axes and nothing else. Raises EvalsError."""

    def value(node: ast.AST) -> Any:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return node.value
        if isinstance(node, ast.Name) and node.id in sizes:
            return sizes[node.id]
        if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](value(node.operand))
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            left, right = value(node.left), value(node.right)
            if isinstance(node.op, ast.Pow) and abs(right) > MOST_EXPONENT:
                raise ValueError("the exponent is too large")
            return OPERATORS[type(node.op)](left, right)
        raise ValueError(f"{ast.unparse(node)} is neither a number nor an axis")

    try:
        found = value(ast.parse(text, mode="eval").body)
        if found != int(found):
            raise ValueError(f"{found} is no whole number")
        return int(found)
    except (SyntaxError, ValueError, ArithmeticError) as e:
        raise EvalsError(f"{what} is {text!r}: {e}") from e


def _notes(about: Definition, line: Workload) -> tuple[str, ...]:
    found = []
    if line.tolerance:
        stated = ", ".join(f"{k} {v}" for k, v in line.tolerance.items())
        found.append(f"the workload's own tolerance ({stated}) is not used: the bound is derived from the dtype")
    if any(x.type == "random" for x in line.inputs.values()):
        found.append(
            "random inputs are standard normal, whole numbers of -1,024 to 1,023; SOL-ExecBench's own harness chooses "
            "by an input's name"
        )
    if about.constraints:
        found.append("the definition's constraints are not checked")
    return tuple(found)


def _read(kind: type[T], path: Path) -> T:
    return _checked(kind, _json(read_text(path), str(path)), str(path))


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise EvalsError(f"{where} is no JSON: {e}") from e


def _checked(kind: type[T], value: Any, where: str) -> T:
    try:
        return kind.model_validate(value)
    except ValidationError as e:
        raise EvalsError(f"{where} is no {kind.__name__.lower()}: {explain_refusal(e)[0]}") from e
