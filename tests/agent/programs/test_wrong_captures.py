"""A capture whose lines are whole and whose parts have not the shape of the format: one sentence from every command.

Each test changes one field of a real capture and gives the line the digest that it then has."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from agent.cli.commands import main
from kernels.capture.capture_file import line_of, read

OPEN = {"kwargs", "values", "options", "constant"}
"""What holds texts, numbers and truth values alike."""
OPTIONAL = {
    "command", "pid", "parent", "argv", "rank", "python", "at", "triton", "torch", "constexpr", "reads", "table",
    "minus_inf", "quantiles", "mean", "std", "all", "mask", "where", "writes", "changed", "values", "num_ctas",
    "num_warps", "num_stages",
}  # fmt: skip
"""Fields that may be missing in some part."""
SOME_ITEMS = {"launches", "ms", "arguments", "bindings", "values", "writes", "kwargs", "options"}
"""Objects whose keys are names: one of them may be missing."""
NULLABLE = {("decorators",), ("config",), ("writes",), ("device", "kind"), ("device", "triton"), ("device", "torch")}
HUGE = 10**30


def fields(body, path=()):
    """Every field, of lists the first item only."""
    if path:
        yield path
    inside = body.items() if isinstance(body, dict) else enumerate(body[:1]) if isinstance(body, list) else ()
    for key, value in inside:
        yield from fields(value, (*path, key))


def wrong_values(path, value):
    """Values of kinds that the field does not take."""
    if isinstance(value, bool):
        return ["text", 3, [], {"a": 1}]
    if isinstance(value, int | float):
        return [[], {"a": 1}] if OPEN & set(path) and path[0] != "values" else ["text", [], {"a": 1}, HUGE, True]
    if isinstance(value, str):
        return [3, [], {"a": 1}, True, None]
    if isinstance(value, list):
        return ["text", 3, {"a": 1}, None, [{}]]
    if isinstance(value, dict):
        return ["text", 3, [], None]
    return [[], 3.5]


def changed(parts, index, path, value):
    """The parts with another value of a field, or without it if `value` is ``...``."""
    digest, kind, body = parts[index]
    body = copy.deepcopy(body)
    inside = body
    for key in path[:-1]:
        inside = inside[key]
    if value is ...:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    return [*parts[:index], (digest, kind, body), *parts[index + 1 :]]


def write(parts, path):
    path.write_bytes(b"".join(line_of(kind, body)[1] for _, kind, body in parts))
    return path


def cases(parts, every):
    """(part's number, path, value): each field of each kind of part once, with one wrong value; or with `every` one."""
    seen = set()
    for index, (_, kind, body) in enumerate(parts):
        for path in fields(body):
            if kind == "capture" and path[0] in ("format", "version"):
                continue  # which say whether it is a capture at all
            title = (kind, *(None if isinstance(key, int) else key for key in path))
            if title in seen and not every:
                continue
            seen.add(title)
            value = body
            for key in path:
                value = value[key]
            found = [x for x in wrong_values(path, value) if x is not None or path not in NULLABLE]
            named = len(path) > 1 and path[-2] in SOME_ITEMS
            if isinstance(path[-1], str) and path[-1] not in OPTIONAL and not named:
                found.append(...)
            yield from ((index, path, x) for x in (found if every else found[len(seen) % len(found) :][:1]))


def refuses(words, path, capsys):
    """The sentence with which the command refuses the file."""
    assert (
        main([*words[:2], str(path), *words[2:]] if words[0] == "captures" else [words[0], str(path), *words[1:]]) == 2
    )
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    (line,) = said.err.splitlines()
    assert line.startswith(f"error: {path} cannot be used: ")
    assert line.endswith(". Capture the program again.")
    return line


def check_all(parts, every, tmp_path, capsys):
    found = list(cases(parts, every))
    for index, path, value in found:
        file = write(changed(parts, index, path, value), tmp_path / "wrong.capture")
        try:
            line = refuses(["captures", "show"], file, capsys)
        except AssertionError as e:
            raise AssertionError(f"{parts[index][1]}: {path} = {value!r}: {e}") from e
        assert parts[index][1] in line or parts[index][1] in ("observed", "capture"), line
    return len(found)


def test_each_field_of_the_format_is_refused_if_it_is_of_another_kind(captured_example, tmp_path, capsys):
    parts, _ = read(str(captured_example))
    assert check_all(parts, False, tmp_path, capsys) > 100


@pytest.mark.long
def test_every_field_is_refused_with_every_wrong_kind(captured_example, tmp_path, capsys):
    parts, _ = read(str(captured_example))
    assert check_all(parts, True, tmp_path, capsys) > 1500


def part_of(parts, kind, name=None):
    return next(i for i, (_, k, body) in enumerate(parts) if k == kind and name in (None, body.get("name")))


TENSOR = ("arguments", "x_ptr")
WRONG = [
    ("launch", ("arguments",), [], r"launch [0-9a-f]{8} \(gated\), field arguments: it should be a valid dictionary"),
    ("launch", (*TENSOR, "dtype"), "float99", "field arguments.x_ptr.dtype: 'float99' is no dtype of a tensor"),
    ("launch", (*TENSOR, "shape"), [64, -300], "arguments.x_ptr.shape.1: it should be greater than or equal to 0"),
    ("launch", (*TENSOR, "shape"), [64, HUGE], "arguments.x_ptr.shape.1: it should be less than or equal to 9223"),
    ("launch", (*TENSOR, "shape"), [64, 2**40], "x_ptr ends at byte .* of a storage that has 76,800"),
    ("launch", (*TENSOR, "stride"), [1], "arguments.x_ptr: the shape has 2 dimensions, and there are 1 strides"),
    ("launch", (*TENSOR, "storage"), 7, "x_ptr lies in storage 7, and there are 2"),
    ("launch", (*TENSOR, "type"), "matrix", "field arguments.x_ptr: it should be an object of one of the kinds"),
    ("launch", ("arguments", "n", "value"), "many", "field arguments.n.value: it should be a valid integer"),
    ("launch", ("arguments", "n"), ..., "field arguments: there is none for the parameter n"),
    ("launch", ("arguments", "m"), {"type": "none"}, "field arguments: gated has no parameter m"),
    ("launch", ("grid", "came_out"), ["75"], "field grid.came_out.0: it should be a valid integer"),
    ("launch", ("grid", "came_out"), [], "field grid.came_out: "),
    ("launch", ("storages", 0, "bytes"), ..., "field storages.0.bytes: it is missing"),
    ("launch", ("options", "num_warps"), "four", "field options.num_warps: it should be a valid integer"),
    ("launch", ("config", "kwargs", "BLOCK"), HUGE, "field config.kwargs.BLOCK"),
    ("function", ("source",), 5, r"function [0-9a-f]{8} \(gated\), field source: it should be a valid string"),
    ("function", ("bindings", "tl"), {}, "field bindings.tl: it should be one of the kinds of bindings"),
    ("function", ("bindings", "x"), {"record": None}, "field bindings.x.record: it should not be null"),
    ("observed", ("values", "x_ptr", "elements"), 5, r"launch .*, field values.x_ptr: elements should be 19200"),
    ("observed", ("values", "x_ptr", "kind"), "bool", "field values.x_ptr"),
    ("observed", ("values", "y_ptr"), {"elements": 0}, "field values.y_ptr: the launch has no tensor there"),
    ("decorators", ("chain", 0, "configs", 0, "num_warps"), ..., "chain.0.configs.0: the field num_warps is missing"),
    ("counts", ("ms",), {"a": [float("nan")]}, "field ms.a.0: it should be "),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "path", "value", "says"), WRONG, ids=[f"{w[0]} {w[1][-1]}" for w in WRONG])
def test_the_sentence_names_the_launch_and_the_field(captured_example, tmp_path, capsys, kind, path, value, says):
    parts, _ = read(str(captured_example))
    index = part_of(parts, kind, "gated" if kind in ("launch", "function") else None)
    file = write(changed(parts, index, path, value), tmp_path / "wrong.capture")
    assert re.search(says, refuses(["captures", "show"], file, capsys))


def test_every_command_that_reads_a_capture_refuses_it(captured_example, tmp_path, capsys):
    parts, _ = read(str(captured_example))
    file = write(changed(parts, part_of(parts, "launch"), ("grid",), 5), tmp_path / "wrong.capture")
    out = str(tmp_path / "tuned.json")
    known = tmp_path / "device=NVIDIA_H200.json"
    for words in (
        ["captures", "show", "--json"],
        ["captures", "compile", "--for", "H200"],
        ["improve", "--device", "interpreter", "-o", out],
    ):
        assert "(gated), field grid: it should be a valid dictionary" in refuses(words, file, capsys)
    known.write_text("{}")
    assert main(["table", "import", str(known), "--capture", str(file), "--kernel", "gated", "-o", out]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not Path(out).exists()


def test_a_sound_capture_is_read_as_before(captured_example, capsys):
    assert main(["captures", "show", str(captured_example)]) == 0
    assert "6 launches, 4 distinct, of 2 functions" in capsys.readouterr().out
