"""Finished runs in a file, a line each, appended when a run ends: an interrupted contest continues from there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

import click

from agent.models.waiting import VARIABLES
from evals.agents.registry import MODEL, source_file
from evals.contest.contest import Job
from evals.contest.ledger import Ledger, library_versions
from evals.errors import EvalsError
from memory.command_line.input_files import read_input

PACKAGES = ("agent", "evals", "kernels", "memory", "tools")


LINE = b'{"code":'
"""How every line begins."""


class Results:
    """Ledgers by job. A run made with other code is another run."""

    def __init__(self, path: Path) -> None:
        """Read `path` if it is there. Raises EvalsError if it holds something else or cannot be written."""
        self.path = path
        self._lines: dict[str, tuple[str, Ledger]] = {}
        if path.exists() and not path.is_file():
            raise EvalsError(f"cannot write {path}: it is no file")
        for fingerprint, ledger in self._read():
            self._lines[job_key(ledger)] = (fingerprint, ledger)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._append():
                pass
        except OSError as e:
            raise EvalsError(f"cannot write {path}: {(e.strerror or str(e)).lower()}") from e

    def finished(self, job: Job, fingerprint: str) -> Ledger | None:
        made = self._lines.get(job_key(_unplayed(job)))
        # A landscape's name depends on which others it is played with; its file does not.
        if made is None or made[0] != fingerprint:
            return None
        return replace(made[1], landscape=job.landscape.name)

    def keep(self, ledger: Ledger, fingerprint: str) -> None:
        """Append a run. Raises EvalsError if it cannot be written; the file then ends with the run before it."""
        try:
            with self._append() as f:
                left = _line(fingerprint, ledger).encode()
                while left:  # a full disk takes a part
                    left = left[f.write(left) :]
        except OSError as e:
            raise EvalsError(
                f"cannot write {self.path}: {(e.strerror or str(e)).lower()}; free some space, then run the same "
                "command again: it goes on after the runs that were written"
            ) from e
        self._lines[job_key(ledger)] = (fingerprint, ledger)

    @contextmanager
    def _append(self) -> Iterator[FileIO]:
        """The file, open behind its last whole line. Another command that writes to it waits."""
        with FileIO(self.path, "ab") as f:
            with suppress(OSError):  # some file systems have no locks
                fcntl.flock(f, fcntl.LOCK_EX)
            data = self.path.read_bytes()
            torn = data[data.rfind(b"\n") + 1 :]
            if torn and _is_json(torn):
                f.write(b"\n")
            elif torn:  # a kill cut it off: nobody is writing it
                os.truncate(self.path, len(data) - len(torn))
            whole = self.path.stat().st_size
            try:
                yield f
            except OSError:
                with suppress(OSError):
                    os.truncate(self.path, whole)
                raise

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)

    def _read(self) -> list[tuple[str, Ledger]]:
        """If a kill cut the last line off, its run is made again. Raises EvalsError where a line is none of ours: a
        file of something else is left as it is."""
        try:
            data = read_input(self.path)
        except FileNotFoundError:
            return []
        except OSError as e:
            why = (e.strerror or str(e)).lower()
            raise EvalsError(f"cannot read {self.path}: {why}; name another file with --out") from e
        return parse(data, self.path)[0]


def read_results(*paths: Path) -> list[Ledger]:
    """The ledgers in these files, the last of each job. A last line that was cut off is left out, and reported on
    stderr. Raises EvalsError in one sentence."""
    ledgers: dict[str, Ledger] = {}
    for path in paths:
        try:
            data = read_input(path)
        except OSError as e:
            raise EvalsError(f"cannot read {path}: {(e.strerror or str(e)).lower()}") from e
        runs, torn = parse(data, path)
        found = [x for _, x in runs]
        if torn:
            click.echo(f"{path}: line {len(found) + 1}, the last one, is cut off and left out", err=True)
        if not found:
            raise EvalsError(f"{path} holds no finished run: make one with `python -m evals run --out {path}`")
        ledgers |= {job_key(x): x for x in found}
    return list(ledgers.values())


def parse(data: bytes, path: Path) -> tuple[list[tuple[str, Ledger]], bool]:
    """Each line's fingerprint and ledger, and whether a kill cut the last line off; a last line that lacks only its end
    is whole. Raises EvalsError, which names the first line that is none of ours."""
    *lines, last = data.removeprefix(BOM_UTF8).split(b"\n")
    found = [_parse_line(line, path, number) for number, line in enumerate(lines, 1)]
    if last[: len(LINE)] != LINE[: len(last)]:
        raise _not_ours(path, len(lines) + 1)
    if not last:
        return found, False
    if not _is_json(last):
        return found, True
    return [*found, _parse_line(last, path, len(lines) + 1)], False


def _parse_line(line: bytes, path: Path, number: int) -> tuple[str, Ledger]:
    try:
        raw = json.loads(line)
        return str(raw["code"]), Ledger.from_json(raw["ledger"])
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise _not_ours(path, number) from e


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _not_ours(path: Path, number: int) -> EvalsError:
    return EvalsError(f"{path} is not a file of `python -m evals run --out`: line {number} cannot be read")


def _line(fingerprint: str, ledger: Ledger) -> str:
    return json.dumps({"code": fingerprint, "ledger": ledger.as_json()}, separators=(",", ":")) + "\n"


def job_key(x: Ledger) -> str:
    return json.dumps([x.agent, x.file, x.variant, x.seed, x.max_evals])


def _unplayed(job: Job) -> Ledger:
    return Ledger(job.agent, job.landscape.name, job.source, job.landscape.file, job.variant, job.seed, job.max_evals)


def fingerprint(agent: str) -> str:
    """Hash of everything that decides what a run does."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    own = source_file(agent)
    if own is not None:
        digest.update(own.read_bytes())
    if agent.startswith(MODEL):
        for variable in ("OPENAI_BASE_URL", "AUTOKERNEL_EFFORT", "AUTOKERNEL_API", *VARIABLES.values()):
            digest.update(f"{variable}={os.environ.get(variable, '')}".encode())
    for library, version in library_versions().items():
        digest.update(f"{library} {version}".encode())
    return digest.hexdigest()[:16]


def request_digest(jobs: Iterable[Job], prints: Sequence[str]) -> str:
    """Names the journal of one request."""
    about: list[Any] = [*(job_key(_unplayed(j)) for j in jobs), *prints]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
