"""Click commands that every door uses: an option counts once, options that exclude each other are refused, and
``--version`` is everywhere."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import click

DISTRIBUTION = "triton-autokernel"
LARGEST = 10**9
"""Of a number that an option takes, unless its range ends before: beyond it a number is a slip of the hand."""
TOO_LARGE = f"{{}} is too large: give at most {LARGEST:,}."
SHOWN = (("PyTorch", "torch"), ("Triton", "triton"))
"""What the version line names beside Python, with the distributions' names."""


def version_line() -> str:
    """``triton-autokernel 0.1.0 (Python 3.11.2, PyTorch 2.13.0, Triton 3.9.0)``; imports none of them."""
    parts = [f"Python {platform.python_version()}", *(f"{name} {version_of(it)}" for name, it in SHOWN)]
    return f"{DISTRIBUTION} {version_of(DISTRIBUTION)} ({', '.join(parts)})"


def version_of(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _print_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        click.echo(version_line())
        context.exit()


VERSION = click.Option(
    ["--version"],
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the versions and exit.",
)


def describe_range(least: float | None, most: float | None, above: bool = False) -> str:
    """``1 to 1,000,000``, ``at least 1``, ``above 0``: a range of numbers in words."""
    low = "" if least is None else f"{least:,.10g}"
    if most is None:
        return f"above {low}" if above else f"at least {low}" if low else "any number"
    high = f"{most:,.10g}"
    return f"{'above ' if above else ''}{low} to {high}" if low else f"at most {high}"


class WholeRange(click.IntRange):
    """A range of whole numbers that is named in words, up to LARGEST."""

    def _describe_range(self) -> str:
        return describe_range(self.min, self.max, self.min_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if self.max is None and number > LARGEST:
            self.fail(TOO_LARGE.format(value), param, ctx)
        return number


class FiniteRange(click.FloatRange):
    """A range up to LARGEST that refuses NaN, which lies in every range of click's, and that is named in words."""

    def _describe_range(self) -> str:
        return describe_range(self.min, self.max, self.min_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number that can be counted with.", param, ctx)
        if self.max is None and number > LARGEST:
            self.fail(TOO_LARGE.format(value), param, ctx)
        return number


class MayBeEmpty(click.Option):
    """An option for which an empty value says something: none of a list."""


class StrictCommand(click.Command):
    """A command whose options may be given once."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), VERSION]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and not ctx.resilient_parsing:
            values, _, order = self.make_parser(ctx).parse_args(list(args))
            refuse_repeated(order, ctx)
            refuse_empty(values, order, ctx)
        return super().parse_args(ctx, args)


class StrictGroup(click.Group):
    """A group of such commands. Called without arguments it prints its help and ends with exit code 2: a script whose
    arguments are empty must not take that for a success."""

    command_class = StrictCommand
    group_class = type

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), VERSION]


def refuse_repeated(order: Sequence[click.Parameter], context: click.Context) -> None:
    """Raises click.UsageError if `order`, the parameters as they were given, names one value twice."""
    given: dict[str, click.Option] = {}
    for parameter in order:
        if not isinstance(parameter, click.Option) or parameter.multiple or parameter.count or not parameter.name:
            continue
        before = given.setdefault(parameter.name, parameter)
        if before is not parameter:
            first, second = _shown(before), _shown(parameter)
            raise click.UsageError(f"{first} and {second} exclude each other: leave one out.", context)
        seen = sum(each is parameter for each in order)
        if seen > 1 and not parameter.is_flag:
            raise click.UsageError(f"{_shown(parameter)} is given {_times(seen)}: give it once.", context)


def refuse_empty(values: Mapping[str, Any], order: Sequence[click.Parameter], context: click.Context) -> None:
    """Raises click.UsageError for an option or a path that is empty: a variable of the shell that was not set."""
    for parameter in order:
        value = values.get(parameter.name) if parameter.name else None
        if isinstance(parameter, MayBeEmpty) or not (value == "" or (isinstance(value, list | tuple) and "" in value)):
            continue
        if isinstance(parameter, click.Option):
            raise click.UsageError(f"{_shown(parameter)} is empty: give it a value, or leave it out.", context)
        if isinstance(parameter.type, click.Path):
            raise click.UsageError(f"{parameter.make_metavar(context)} is empty: give it a path.", context)


def _shown(option: click.Option) -> str:
    return max(option.opts, key=len)


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


def strict_command(*arguments: Any, **options: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """``@click.command`` for a command that stands outside a group's own file."""
    return click.command(*arguments, cls=StrictCommand, **options)
