"""Runs a command line; whatever the user or the world does wrong ends it with one sentence and an exit code.

Errors of this program's own code are not caught: they are exceptions that somebody has to see."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from memory.command_line.closed_stdout import ends_quietly, run_click
from memory.command_line.door import NO_FOLDER
from memory.file import MemoryFileError

FAILED = 1
"""The world does not let the command end: a full disk, a folder that cannot be written."""
USAGE = 2
"""A wrong command line or a wrong file."""
INTERRUPTED = 130
"""Ctrl-C: 128 plus the number of SIGINT, as a shell reports a program that SIGINT ended."""
WORLD = frozenset(
    getattr(errno, name)
    for name in (
        "ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM", "ENOTDIR", "EISDIR", "ENOENT", "EEXIST",
        "ENAMETOOLONG", "ELOOP", "EMFILE", "ENFILE", "EBADF", "ENXIO", "ETXTBSY", "ENOTEMPTY",
    )
)  # fmt: skip
"""Errors of files and disks. Any other OSError is taken for a mistake of ours."""
MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EBADF})
"""Those for which the machine is to blame, whatever path is named."""


@ends_quietly
def run_command_line(
    command: click.Command,
    program: str,
    arguments: Sequence[str] | None = None,
    sentences: tuple[type[Exception], ...] = (),
) -> int:
    """The exit code of a command line.

    `sentences` are exceptions whose message is for the user; their ``exit_code``, or 2, ends the command. With
    ``--json`` an error is an object on stdout too."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    known: tuple[type[Exception], ...] = (MemoryFileError, *sentences)
    try:
        try:
            code = run_click(command, program, arguments)
        finally:
            flush()
    except click.ClickException as e:
        return report_error(f"{e.format_message()}{help_hint(e)}", e.exit_code, words)
    except known as e:
        return report_error(str(e), getattr(e, "exit_code", USAGE), words)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except UnicodeEncodeError as e:
        if "surrogates" not in e.reason:
            raise
        return report_error("an argument is not UTF-8: write paths and words in UTF-8", USAGE, words)
    except OSError as e:
        if e.errno not in WORLD:
            raise
        return report_error(describe_world(e), FAILED if e.errno in MACHINE else USAGE, words)
    return code if isinstance(code, int) else 0


def flush() -> None:
    """Write what standard output still holds, so that a full disk is noticed here and not when Python ends."""
    if sys.stdout is not None:
        sys.stdout.flush()


def describe_world(error: OSError) -> str:
    """One sentence: what cannot be read or written, why, and what to do."""
    what = str(error.filename) if error.filename else "the output"
    why = (error.strerror or str(error)).lower()
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{what} cannot be written ({why}): free some space, then run the same command again"
    if error.errno == errno.ENOENT and not error.filename and "temporary" in why:  # the words of `tempfile`
        return f"{why}: free some space, or set TMPDIR to a folder that can be written"
    if error.errno == errno.ENOENT and not error.filename:
        return NO_FOLDER
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{what} cannot be opened ({why}): raise the limit, by ulimit -n 1024 for instance"
    return f"{what} cannot be used ({why}): give another path, or change its permissions"


def help_hint(error: click.ClickException) -> str:
    """Where what exists is listed, for a name that does not exist and for one that is missing."""
    context = getattr(error, "ctx", None)
    asks = isinstance(error, (click.NoSuchOption, click.MissingParameter)) or error.message.startswith(
        "No such command"
    )
    return f" {context.command_path} --help lists what there is." if asks and context is not None else ""


def report_error(message: str, exit_code: int, arguments: Sequence[str]) -> int:
    """Print an error on stderr and, if the command was to print JSON, as an object on stdout; the exit code."""
    text = " ".join(message.split())
    click.echo(f"error: {text}", err=True)
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--json" in options:
        with suppress(OSError):  # stderr has the sentence; nothing may be writable on stdout
            click.echo(json.dumps({"error": text, "exit_code": exit_code}))
    return exit_code
