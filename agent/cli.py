"""The command line. Progress goes to stderr, the result to stdout; a mistake is one sentence and an exit code.

Nothing heavy is imported until a command needs it: ``--help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from click_default_group import DefaultGroup

from agent.cli_traces import register
from agent.errors import FAILED, PROVEN, UNPROVEN, USAGE, AgentError, UsageError

if TYPE_CHECKING:
    from agent.goal import Given
    from agent.objective import Objective
    from agent.run import Ended

LONGEST = 1e7
"""Seconds a run may be given: four months."""
MOST = 10**6
"""Evaluations or model calls a run may be given."""
MOST_DOLLARS = 1e6


def finite(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """click's ranges let NaN pass."""
    if value is not None and not 0 < value <= LONGEST:
        raise click.BadParameter(f"{value:g} is not a number of seconds between 0 and {LONGEST:g}.")
    return value


def dollars(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 < value <= MOST_DOLLARS:
        raise click.BadParameter(f"{value:g} is not a number of US dollars between 0 and {MOST_DOLLARS:g}.")
    return value


as_json = click.option("--json", "json_", is_flag=True, help="Print one JSON object instead of text.")


@click.group(
    cls=cast(type[click.Group], DefaultGroup),
    default="run",
    default_if_no_args=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 a proven improvement, 1 an error, 2 usage, 3 no proven improvement.",
)
def commands() -> None:
    """Tune a GPU kernel by an agent and prove the result.

    \b
    python -m agent "maximise fused TFLOPS"
    python -m agent "lowest latency of a bf16 matmul 4096x4096x512" --max-evals 20 --json

    Without a command the goal is run; `python -m agent run --help` lists the options.
    """


@commands.command()
@click.argument("goal", nargs=-1)
@click.option("--kernel", metavar="NAME", help="A registered kernel, path.py:NAME or module:NAME.")
@click.option("--shape", metavar="MxNxK", help="The problem's dimensions, in the kernel's order.")
@click.option("--dtype", metavar="DTYPE", help="fp16 or bf16, as far as the kernel has it.")
@click.option("--device", metavar="DEVICE", help="auto (default), cuda:N, or recorded[:LANDSCAPE].")
@click.option("--model", metavar="NAME", help="Who decides: embedded (default, needs no key) or a model's name.")
@click.option("--base-url", metavar="URL", help="A server that speaks the OpenAI protocol.")
@click.option("--max-evals", type=click.IntRange(1, MOST), metavar="N", help="Configs measured at most (40).")
@click.option("--max-seconds", type=float, callback=finite, metavar="S", help="Search time (600).")
@click.option("--endpoint", metavar="NAME", help="What kind of server it is, e.g. vllm; found out by default.")
@click.option("--max-tokens", type=click.IntRange(1, 10**12), metavar="N", help="Model tokens at most.")
@click.option("--max-cost", type=float, callback=dollars, metavar="USD", help="US dollars for the model at most.")
@click.option("--max-model-calls", type=click.IntRange(1, MOST), metavar="N", help="Messages of the model (100).")
@click.option("--approve", is_flag=True, help="Ask before each batch that runs on the device: yes, no or edit.")
@click.option("--memory", type=click.Path(path_type=Path), metavar="PATH", help="The SQLite file of all attempts.")
@click.option("--cold", is_flag=True, help="Start without what earlier runs know; this one is still remembered.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, metavar="N", help="Seed (0).")
@as_json
def run(
    goal: tuple[str, ...],
    kernel: str | None,
    shape: str | None,
    dtype: str | None,
    device: str | None,
    model: str | None,
    base_url: str | None,
    max_evals: int | None,
    max_seconds: float | None,
    endpoint: str | None,
    max_tokens: int | None,
    max_cost: float | None,
    max_model_calls: int | None,
    approve: bool,
    memory: Path | None,
    cold: bool,
    seed: int,
    json_: bool,
) -> int:
    """Work on GOAL, a sentence in words; the default."""
    read_env()
    from agent.goal import Given
    from agent.models.choose import model_name, secrets
    from agent.prices import OVERRIDE, priced
    from agent.run import begin

    words = " ".join(goal)
    given = Given(
        kernel=kernel,
        shape=shape,
        dtype=dtype,
        device=device,
        model=model_name(model, base_url),
        max_evals=max_evals,
        max_seconds=max_seconds,
        max_tokens=max_tokens,
        max_cost=max_cost,
        max_model_calls=max_model_calls,
        endpoint=endpoint,
        approve=approve,
        seed=seed,
    )
    if any(secret in words for secret in secrets()):
        raise UsageError("The goal holds your API key: leave it out, goals are written into traces.")
    objective, notices = understood(words, given)
    objective = priced(objective.model_copy(update={"cold": cold}))
    if objective.price is None:
        notices.append(f"the price of {objective.model} is unknown, its cost is not counted ({OVERRIDE} names a table)")
    if model is None and objective.model == "embedded" and os.environ.get("OPENAI_API_KEY"):
        notices.append("the embedded planner decides, although there is a key: --model NAME lets a model decide")
    notices = [f"note: {notice}" for notice in notices]
    return shown(begin(objective, memory, base_url, say, notices=notices, ask=ask), json_)


@commands.command()
@click.argument("run_id", metavar="RUN")
@click.option("--base-url", metavar="URL", help="The model's server, where it has moved.")
@as_json
def resume(run_id: str, base_url: str | None, json_: bool) -> int:
    """Continue a run that was stopped or killed.

    RUN is its id; nothing that it finished is done again."""
    read_env()
    from agent.run import resume as go_on

    return shown(go_on(run_id, say, base_url=base_url, ask=ask), json_)


register(commands)


def understood(words: str, given: Given) -> tuple[Objective, list[str]]:
    """The objective of a goal and options, and what the user should know of how they were read."""
    from agent.goal import read_goal
    from agent.vocabulary import registered, words_of

    kernels = registered()
    option = None
    if given.kernel is not None:
        try:
            option = next((k for k in kernels if given.kernel in (k.name, *k.aliases)), None) or words_of(given.kernel)
        except (KeyError, ValueError) as e:
            raise UsageError(str(e.args[0])) from e
    return read_goal(words, given, kernels, option)


def ask(question: dict[str, Any]) -> dict[str, Any]:
    """A person's answer to a batch that wants to run."""
    from agent.approval import ask_person

    return ask_person(question, read_line, say)


def read_line(prompt: str) -> str:
    """A line of stdin. Raises EOFError at its end."""
    click.echo(prompt, err=True, nl=False)
    line = sys.stdin.readline()
    if not line:
        click.echo(err=True)
        raise EOFError
    return line


def shown(ended: Ended, json_: bool) -> int:
    """Print the result; the exit code says whether it is proven."""
    from agent.report import render, replay_command

    outcome = ended.outcome
    if json_:
        click.echo(outcome.model_dump_json())
    else:
        click.echo(render(outcome, ended.setting, replay_command(outcome.trace)))
    if outcome.infrastructure:
        raise AgentError(f"The proof could not be made: {outcome.why}.")
    return PROVEN if outcome.proven else UNPROVEN


def say(line: str) -> None:
    """A line for a person. It may hold a model's words: control characters do not reach the terminal."""
    click.echo("".join(c if c.isprintable() else "?" for c in line), err=True)


def read_env() -> None:
    """``.env`` of this folder or one above it; what the environment already says stays."""
    from dotenv import find_dotenv, load_dotenv

    load_dotenv(find_dotenv(usecwd=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    # A polite kill unwinds like Ctrl-C, so that child processes end with us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = commands.main(args=arguments, prog_name="python -m agent", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message())
        return USAGE
    except click.ClickException as e:
        click.echo(f"error: {e.format_message()}", err=True)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("error: Stopped before the run began.", err=True)
        return FAILED
    except AgentError as e:
        click.echo(f"error: {e}", err=True)
        return e.exit_code
    return code if isinstance(code, int) else PROVEN
