"""Checks all parts of a capture, each by its model and then against the parts that it refers to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from kernels.capture.capture_file import Json, NotACapture
from kernels.capture.reading.parts.argument_parts import TensorArgument
from kernels.capture.reading.parts.function_parts import Decorators, Function
from kernels.capture.reading.parts.launch_parts import Counts, Launch, Note, Observed, Process, Program, Unseen
from kernels.capture.reading.parts.plain_fields import Part
from kernels.capture.reading.parts.value_parts import IntValues, fault_of_relation, fault_of_values

MODELS: dict[str, type[Part]] = {
    "capture": Program,
    "process": Process,
    "function": Function,
    "decorators": Decorators,
    "launch": Launch,
    "observed": Observed,
    "counts": Counts,
    "unseen": Unseen,
    "note": Note,
}
LONGEST = 120
"""Characters of what is wrong."""


def check_parts(path: str, parts: Sequence[tuple[str, str, Json]]) -> None:
    """Raises NotACapture, which names the part and the field, if a part has not the shape that its kind has. Parts of
    kinds that this version does not know are left alone."""
    bodies = {digest: body for digest, _, body in parts}
    functions: dict[str, Function] = {}
    launches: dict[str, Launch] = {}
    observed: list[Observed] = []
    for digest, kind, body in parts:
        model = MODELS.get(kind)
        if model is None:
            continue
        try:
            part = model.model_validate(body)
        except ValidationError as e:
            found = e.errors(include_url=False, include_context=False)[0]
            raise _refused(path, kind, digest, bodies, _field(body, found), _why(found)) from e
        if isinstance(part, Launch):
            launches[digest] = part
        elif isinstance(part, Function):
            functions[digest] = part
        elif isinstance(part, Observed):
            observed.append(part)
    for digest, launch in launches.items():
        if launch.function in functions and (fault := _fault_of_names(launch, functions[launch.function])) is not None:
            raise _refused(path, "launch", digest, bodies, "arguments", fault)
    for each in observed:
        tensors = dict(launches[each.launch].tensors()) if each.launch in launches else {}
        if each.launch in launches and (wrong := _fault_of_observed(each, tensors)) is not None:
            raise _refused(path, "launch", each.launch, bodies, f"values.{wrong[0]}", wrong[1])


def _fault_of_names(launch: Launch, function: Function) -> str | None:
    """Why these are not arguments of the function; None if they are."""
    names = {p.name for p in function.parameters}
    unknown, missing = sorted(launch.arguments.keys() - names), sorted(names - launch.arguments.keys())
    if unknown:
        return f"{function.name} has no parameter {unknown[0]}"
    return f"there is none for the parameter {missing[0]}" if missing else None


def _fault_of_observed(observed: Observed, tensors: dict[str, TensorArgument]) -> tuple[str, str] | None:
    """Path and fault of values that are none of the launch's tensors."""
    for path, values in observed.values.items():
        tensor = tensors.get(path)
        if tensor is None:
            return path, "the launch has no tensor there"
        fault = fault_of_values(values, tensor.dtype, tensor.elements, tensor.places)
        if fault is not None:
            return path, fault
    for path, values in observed.values.items():
        seen, at = {path}, values
        while isinstance(at, IntValues) and at.source is not None:
            source = observed.values.get(at.source)
            if not isinstance(source, IntValues) or at.source in seen:
                return path, f"{at.source} holds no whole numbers that it could be made of"
            seen.add(at.source)
            at = source
        if isinstance(values, IntValues) and values.source is not None:
            fault = fault_of_relation(values, tensors[path].places, tensors[values.source].places)
            if fault is not None:
                return path, fault
    return None


def _refused(path: str, kind: str, digest: str, bodies: dict[str, Json], field: str, why: str) -> NotACapture:
    digest = str(bodies[digest].get("launch")) if kind == "observed" else digest
    name = bodies.get(digest, {}).get("name")
    named = f" ({name})" if isinstance(name, str) else ""
    what = "launch" if kind == "observed" else "part" if kind == "capture" else kind
    place = f", field {field}" if field else ""
    return NotACapture(
        f"{path} cannot be used: {what} {digest[:8]}{named}{place}: {why[:LONGEST]}. Capture the program again."
    )


def _field(body: Any, error: Mapping[str, Any]) -> str:
    """The path of the field in the part. pydantic names the model of a union in between, which no field is."""
    found: list[str] = []
    *before, last = error["loc"] or ("",)
    for step in before:
        inside = isinstance(body, dict) and step in body
        if inside or (isinstance(body, list) and isinstance(step, int) and step < len(body)):
            found.append(str(step))
            body = body[step]
    held = isinstance(body, dict) and (last in body or error["type"] == "missing")
    if held or isinstance(last, int):
        found.append(str(last))
    return ".".join(found)


def _why(error: Mapping[str, Any]) -> str:
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return "it should be an object of one of the kinds that the format has"
    text = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ").partition(" or instance of ")[0]
    text = {"Field required": "it is missing"}.get(text, text)
    return f"it {text}" if text.startswith("should") else text
