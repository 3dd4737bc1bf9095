"""Reads and writes ``tuned.json``.

    {"format": "autokernel-tuned", "version": 1, "digest": …, "decisions": [row, …],
     "evidence": {row name: {…}}, "untuned": [{"kernel": …, "reason": …}], "held_out": [{…}, …]}

``held_out`` is missing if no launch was held out.

``digest`` is the SHA-256 of the canonical JSON of ``decisions``. A file whose digest is another one is refused as a
whole: somebody changed a row by hand. A row that contradicts itself or its evidence is kept in ``faults``.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .tuned_table import Decision, Json, TunedEnvironment, TunedFunction, TunedRow, TunedTable, digest_of, fault_of

FORMAT = "autokernel-tuned"
VERSION = 1
MAY_BE_MISSING = ("assembler", "overrides")
"""Of an environment."""
FIELDS = ("format", "version", "digest", "decisions", "evidence", "untuned", "held_out")


class NotATable(ValueError):
    """The file cannot be used; the message is one sentence for the user."""


def read_table(path: str | Path) -> TunedTable:
    """The table in a file. Raises NotATable."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise NotATable(f"{path} cannot be read (it is no regular file): check the path")
        text = Path(path).read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except OSError as e:
        raise NotATable(f"{path} cannot be read ({e.strerror}): check the path") from e
    except UnicodeDecodeError as e:
        raise NotATable(f"{path} is no table of tuned launches: it is not text") from e
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as e:
        if text.lstrip().startswith("{"):
            raise NotATable(f"{path} is cut off or damaged ({e}): write it again or copy it again") from e
        raise NotATable(f"{path} is no table of tuned launches: name a file that `agent improve` wrote") from e
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise NotATable(f"{path} is no table of tuned launches: name a file that `agent improve` wrote")
    if found.get("version") != VERSION:
        raise NotATable(
            f"{path} has format version {found.get('version')!r}, and this program reads version {VERSION}: "
            "write the table again with this program"
        )
    try:
        return _table(found)
    except NotATable as e:
        raise NotATable(f"{path} {e}") from e


def write_table(table: TunedTable, path: str | Path) -> None:
    """Write the table so that a reader finds the old file or the whole new one. Raises OSError."""
    names = {row.name for row in table.rows}
    body = {
        "format": FORMAT,
        "version": VERSION,
        "digest": table.digest,
        "decisions": table.decisions,
        "evidence": {name: table.evidence[name] for name in sorted(table.evidence) if name in names},
        "untuned": table.untuned,
        **({"held_out": table.held_out} if table.held_out else {}),
    }
    text = json.dumps(body, indent=1) + "\n"
    if Path(path).exists() and not Path(path).is_file():  # a device or a pipe is written to, never replaced
        Path(path).write_text(text, encoding="utf-8")
        return
    target = Path(path).resolve()  # a link stays one
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def alone(path: str | Path) -> Iterator[None]:
    """Whoever reads a table and writes it again does both inside the block: of two commands that add rows to one file
    at once, none undoes what the other has written. The folder is locked, because the file is replaced."""
    try:
        descriptor = os.open(Path(path).resolve().parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # to write there will fail, and that is reported
        yield
        return
    try:
        with suppress(OSError):  # some network file systems lock no folder
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # gives the lock back


def _table(found: Json) -> TunedTable:
    _only(found, FIELDS, "the file")
    found = {"held_out": [], **found}
    for name, kind in (("digest", str), ("decisions", list), ("evidence", dict), ("untuned", list), ("held_out", list)):
        if not isinstance(found.get(name), kind):
            raise NotATable(f"lacks the field {name}, or it is no {kind.__name__}: write the table again")
    if found["digest"] != digest_of(found["decisions"]):
        raise NotATable(
            "was changed after it was written (its decisions have another digest): write it again, or import "
            "configs of your own as unproven rows"
        )
    for name, entries in (("evidence", found["evidence"].values()), *((n, found[n]) for n in ("untuned", "held_out"))):
        if not all(isinstance(entry, dict) for entry in entries):
            raise NotATable(f"has an entry in the field {name} that is no object: write the table again")
    evidence = found["evidence"]
    table = TunedTable(evidence=evidence, untuned=found["untuned"], held_out=found["held_out"])
    for i, body in enumerate(found["decisions"]):
        row = _row(body, f"decision {i}")
        fault = fault_of(row, evidence.get(row.name))
        if any(r.name == row.name for r in table.rows):
            fault = "stands twice in the file"
        if fault is None:
            table.rows.append(row)
        else:
            table.faults[row.name] = f"row {row.name} of {row.function.qualname} {fault}"
    return table


def _row(body: Any, where: str) -> TunedRow:
    fields = _fields(TunedRow, body, where)
    _typed(fields, {"status": str, "also": list, "tie": bool}, where)
    function = TunedFunction(**_texts(TunedFunction, fields["function"], f"{where}: function"))
    stated = fields["environment"]
    complete = {"overrides": None, **stated} if isinstance(stated, dict) else stated
    environment = TunedEnvironment(**_texts(TunedEnvironment, complete, f"{where}: environment", MAY_BE_MISSING))
    if not isinstance(fields["key"], dict):
        raise NotATable(f"has a key that is no object in {where}: write the table again")
    decision = fields["decision"]
    return TunedRow(
        function,
        environment,
        fields["key"],
        fields["status"],
        None if decision is None else _decision(decision, where),
        tuple(_decision(d, where) for d in fields["also"]),
        fields["tie"],
    )


def _decision(body: Any, where: str) -> Decision:
    fields = _fields(Decision, body, f"{where}: decision")
    for name in ("constexprs", "options"):
        if not isinstance(fields[name], dict):
            raise NotATable(f"has {name} that are no object in {where}: write the table again")
    return Decision(**fields)


def _texts(kind: Any, body: Any, where: str, optional: tuple[str, ...] = ()) -> Json:
    """The fields of a dataclass, all of them texts; those that are `optional` may be null."""
    fields = _fields(kind, body, where)
    _typed(fields, {n: str for n in fields if n not in optional or fields[n] is not None}, where)
    return fields


def _typed(body: Json, kinds: dict[str, type], where: str) -> None:
    for name, kind in kinds.items():
        if not isinstance(body[name], kind):
            raise NotATable(f"has a {name} in {where} that is no {kind.__name__}: write the table again")


def _fields(kind: Any, body: Any, where: str) -> Json:
    """The fields of a dataclass, all of them and no other."""
    names = [f.name for f in dataclasses.fields(kind)]
    if not isinstance(body, dict):
        raise NotATable(f"has no object as {where}: write the table again")
    _only(body, names, where)
    missing = [n for n in names if n not in body]
    if missing:
        raise NotATable(f"lacks the field {missing[0]} in {where}: write the table again")
    return body


def _only(body: Json, names: Any, where: str) -> None:
    unknown = sorted(set(body) - set(names))
    if unknown:
        raise NotATable(
            f"has the field {unknown[0]!r} in {where}, which this version does not know: use the version that wrote it"
        )
