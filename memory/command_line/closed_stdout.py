"""Ends a command line quietly when the reader of its output has gone, as in ``python -m kernels list | head -1``.

``command.main`` of click turns a write to a closed pipe into exit code 1, which means an error here, and hides which
pipe broke; :func:`run_click` calls the command without it.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import click

P = ParamSpec("P")

CLOSED_STDOUT = 128 + 13
"""Exit code if nobody reads standard output: 128 plus the number of SIGPIPE, as a shell reports a program that SIGPIPE
killed."""


def run_click(command: click.Command, program: str, arguments: Sequence[str] | None = None) -> Any:
    """What `command` returns for `arguments` (``sys.argv`` if there are none), or the code that it exits with. Raises
    click's exceptions and BrokenPipeError."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with command.make_context(program, words) as context:
            return command.invoke(context)
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message())
        return e.exit_code
    except click.exceptions.Exit as e:
        return e.exit_code
    except (EOFError, KeyboardInterrupt) as e:
        click.echo(file=sys.stderr)  # ends the line on which the terminal shows ^C
        raise click.Abort from e


def ends_quietly(main: Callable[P, int]) -> Callable[P, int]:
    """Decorates the function that runs a command line and returns its exit code: CLOSED_STDOUT, without a message, if
    standard output is closed. Another broken pipe, such as a child process's, is raised."""

    @wraps(main)
    def run(*arguments: P.args, **options: P.kwargs) -> int:
        try:
            try:
                return main(*arguments, **options)
            finally:
                _flush()
        except BrokenPipeError:
            if not _is_closed():
                raise
            _drop_output()
            return CLOSED_STDOUT

    return run


def _flush() -> None:
    """Write what standard output still holds. Raises BrokenPipeError. On a full disk it is dropped: the command has
    reported that, or another error."""
    try:
        if sys.stdout is not None:  # as under `>&-`
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        _drop_output()


def _drop_output() -> None:
    """Have what is left to flush at exit go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _is_closed() -> bool:
    """Whether nobody reads standard output."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, event in poll.poll(0))
