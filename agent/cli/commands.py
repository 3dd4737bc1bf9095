"""The command line. Progress goes to stderr, the result to stdout; a mistake is one sentence and an exit code.

Nothing heavy is imported until a command needs it: ``--help`` answers at once.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from click_default_group import DefaultGroup

from agent.campaign.command import campaign
from agent.cli import completion
from agent.cli.doctor import doctor
from agent.cli.environment import read_env
from agent.cli.terminal import Loudness, Terminal
from agent.cli.trace_commands import export, fork, replay, runs, show
from agent.errors import PROVEN, AgentError, UsageError
from agent.goal.limits import LONGEST, MOST, MOST_DOLLARS
from agent.models.apis import API_CHOICES, ApiChoice
from agent.models.effort import EFFORTS, read_effort
from agent.programs.apply_command import apply
from agent.programs.commands import capture, captures, improve
from agent.programs.comparing.compare_command import compare
from agent.programs.foreign.table_command import table
from agent.programs.patching import patch
from memory.command_line.command_errors import run_command_line
from memory.command_line.door import interrupt
from memory.command_line.strict_commands import StrictGroup, WholeRange
from tools.session.budget import MAX_EVALS, MAX_SECONDS

if TYPE_CHECKING:
    from agent.goal.objective import Objective


def check_seconds(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """click's own ranges accept NaN."""
    if value is not None and not 0 < value <= LONGEST:
        raise click.BadParameter(f"{value:g} is not a number of seconds above 0 and up to {LONGEST:g}.")
    return value


def check_dollars(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 < value <= MOST_DOLLARS:
        raise click.BadParameter(f"{value:g} is not a number of US dollars above 0 and up to {MOST_DOLLARS:g}.")
    return value


api_option = click.option(
    "--api",
    type=click.Choice(API_CHOICES),
    help="Which of OpenAI's APIs the server is asked through (auto).",
)
option_option = click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="A field of the kernel's problem, e.g. causal=false; repeat it for more.",
)
as_json = click.option("--json", "json_", is_flag=True, help="Print one JSON object instead of text.")


def loudness(command: Callable[..., Any]) -> Callable[..., Any]:
    """--quiet and --verbose; the later one counts."""
    option = click.option
    said = "Every config that is proposed, compiled, checked or measured."
    command = option("-v", "--verbose", "loudness", flag_value="verbose", help=said)(command)
    said = "No progress, only the result."
    return option("-q", "--quiet", "loudness", flag_value="quiet", default="normal", type=str, help=said)(command)


WORDS = "words of the command line"
"""The key in the context, whose parser takes its list apart."""


class GoalGroup(DefaultGroup, StrictGroup):  # type: ignore[misc]
    """Words that name no command are a goal, and so are all words behind ``--``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = args[: args.index("--")] if "--" in args else args
        if "--" in args and not any(word in self.commands for word in before):
            args = ["run", *args]
        ctx.meta[WORDS] = [word for word in args if word != "run"]
        return list(super().parse_args(ctx, args))

    def invoke(self, ctx: click.Context) -> Any:
        """A misspelt command is a goal to the parser, which then knows none of the command's options."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as e:
            near = nearest_command(ctx.meta[WORDS]) if e.ctx is not None and e.ctx.info_name == "run" else None
            if near is None:
                raise
            message = f"There is no command {ctx.meta[WORDS][0]}. Did you mean the command {near}?"
            raise click.UsageError(message, ctx) from e


@click.group(
    cls=cast(type[click.Group], GoalGroup),
    default="run",
    default_if_no_args=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 a proven improvement, 1 an error, 2 usage, 3 no proven improvement or a target missed.",
)
def commands() -> None:
    """Tune a GPU kernel by an agent and prove the result.

    \b
    python -m agent "maximise fused TFLOPS"
    python -m agent "lowest latency of a bf16 matmul 4096x4096x512" --max-evals 20 --json
    python -m agent "attention, not causal, 16 heads, at least 600 TFLOPS" --dry-run

    Without a command the goal is run; `python -m agent run --help` lists the options.
    """


@commands.command()
@click.argument("goal", nargs=-1)
@click.option(
    "--kernel",
    metavar="NAME",
    shell_complete=completion.kernels,
    help="A registered kernel, path.py:NAME or module:NAME.",
)
@click.option("--shape", metavar="MxNxK", help="The problem's dimensions in the kernel's order, each up to 1073741824.")
@click.option("--dtype", metavar="DTYPE", help="fp16, bf16 or fp8, as far as the kernel has it.")
@option_option
@click.option(
    "--device",
    metavar="DEVICE",
    shell_complete=completion.devices,
    help="auto (default), cuda:N, cuda:all, or recorded[:LANDSCAPE].",
)
@click.option("--ray", metavar="ADDRESS", help="All GPUs of a Ray cluster: auto or HOST:PORT.")
@click.option("--device-type", metavar="GPU", help="Of a mixed fleet, the GPUs with this in their name, e.g. H200.")
@click.option(
    "--model", metavar="NAME", help="Who decides: embedded (default, no key), a model's name or path.py:NAME."
)
@click.option("--base-url", metavar="URL", help="A server that speaks the OpenAI protocol.")
@click.option("--effort", type=click.Choice(EFFORTS), help="How hard a reasoning model thinks; its own default.")
@api_option
@click.option("--max-evals", type=WholeRange(1, MOST), metavar="N", help=f"Configs measured at most ({MAX_EVALS}).")
@click.option("--max-seconds", type=float, callback=check_seconds, metavar="S", help=f"Search time ({MAX_SECONDS:g}).")
@click.option("--endpoint", metavar="NAME", help="Kind of server, e.g. vllm; detected by default.")
@click.option("--max-tokens", type=WholeRange(1, 10**12), metavar="N", help="Model tokens at most.")
@click.option("--max-cost", type=float, callback=check_dollars, metavar="USD", help="US dollars for the model at most.")
@click.option("--max-model-calls", type=WholeRange(1, MOST), metavar="N", help="Messages of the model (100).")
@click.option(
    "--max-model-seconds", type=float, callback=check_seconds, metavar="S", help="Time of the model's answers (10800)."
)
@click.option("--attempt-seconds", type=float, callback=check_seconds, metavar="S", help="One try of an answer (300).")
@click.option("--patience-seconds", type=float, callback=check_seconds, metavar="S", help="Tries of an answer (600).")
@click.option("--reply-tokens", type=WholeRange(256, MOST), metavar="N", help="Tokens of one answer at most.")
@click.option(
    "--against",
    multiple=True,
    metavar="NAME",
    help="Judge the win against this baseline alone, e.g. unfused; repeat it for more. All without it.",
)
@click.option("--bitwise", is_flag=True, help="Prove only what gives the bits of the owner's launch.")
@click.option("--approve", is_flag=True, help="Ask before each batch that runs on the device: yes, no or edit.")
@click.option("--memory", type=click.Path(path_type=Path), metavar="PATH", help="The SQLite file of all attempts.")
@click.option("--cold", is_flag=True, help="Start without what earlier runs know; this one is still remembered.")
@click.option("--edit", is_flag=True, help="The model may send new device code, which is fenced and proven.")
@click.option("--seed", type=WholeRange(0, 2**32 - 1), default=0, metavar="N", help="Seed (0).")
@click.option("--yes", is_flag=True, help="Leave words of the goal out that are not understood.")
@click.option("--dry-run", is_flag=True, help="Print the problem as it is understood and stop; no device is opened.")
@loudness
@as_json
def run(
    goal: tuple[str, ...],
    kernel: str | None,
    shape: str | None,
    dtype: str | None,
    options: tuple[str, ...],
    device: str | None,
    ray: str | None,
    device_type: str | None,
    model: str | None,
    base_url: str | None,
    effort: str | None,
    api: str | None,
    max_evals: int | None,
    max_seconds: float | None,
    endpoint: str | None,
    max_tokens: int | None,
    max_cost: float | None,
    max_model_calls: int | None,
    max_model_seconds: float | None,
    attempt_seconds: float | None,
    patience_seconds: float | None,
    reply_tokens: int | None,
    against: tuple[str, ...],
    bitwise: bool,
    approve: bool,
    memory: Path | None,
    cold: bool,
    edit: bool,
    seed: int,
    yes: bool,
    dry_run: bool,
    loudness: Loudness,
    json_: bool,
) -> int:
    """Work on GOAL, a sentence in words; the default.

    \b
    A goal may hold, in any order:
      a kernel    matmul, fused matmul, softmax, rms_norm, layer_norm, swiglu, attention, conv2d,
                  rms_norm backward, layer_norm backward, fused linear cross entropy,
                  grouped matmul, attention backward
      a shape     4096x4096x512, M=64 N=4096, 16 heads, sequence length 8192, hidden 8192
      options     fp16, bf16, fp8, gelu, bias, no bias, not causal, column major, stride 2
      a metric    TFLOPS, bandwidth, latency, TFLOPS per watt, joules
      targets     800 TFLOPS, under 0.2 ms, 90 % of peak, faster than torch.compile, beat cuBLAS
      limits      20 evaluations, 5 minutes, 1 hour, $5
      a device    cuda:1, all GPUs, recorded; a GPU's name (H200), which the device must have

    Any other word refuses the goal. docs/GOALS.md lists all words and 400 goals with what they mean."""
    read_env()
    from agent.cli.device_line import device_line
    from agent.goal.early import named_device, start_early
    from agent.goal.goal import Given
    from agent.goal.request import requested
    from agent.models.choose import api_name, model_name
    from agent.models.waiting import waiting_of

    words, name = " ".join(goal), model_name(model, base_url)
    given = Given(
        kernel=kernel,
        shape=shape,
        dtype=dtype,
        options=options,
        device=fleet_of(device, ray, device_type),
        model=name,
        effort=read_effort(effort),
        api=api_name(api, name),
        max_evals=max_evals,
        max_seconds=max_seconds,
        max_tokens=max_tokens,
        max_cost=max_cost,
        max_model_calls=max_model_calls,
        max_model_seconds=max_model_seconds,
        waiting=waiting_of(attempt_seconds, patience_seconds, reply_tokens),
        endpoint=endpoint,
        against=against,
        bitwise=bitwise,
        approve=approve,
        yes=yes,
        seed=seed,
    )
    if dry_run:
        return print_request(requested(words, given, cold, edit)[0], json_)
    with Terminal(loudness) as terminal, ExitStack() as stack:
        with terminal.opening(device_line(given.device, words)), near_command(goal):
            # before the kernels are imported, and PyTorch with them
            started = stack.enter_context(start_early(named_device(given.device, words), kernel or words, edit))
            objective, notices = requested(words, given, cold, edit)
        from agent.cli.result_panel import print_result
        from agent.loop.run import begin

        ended = begin(objective, memory, base_url, terminal, notices=notices, ask=terminal.ask, started=started)
    return print_result(ended, json_)


@contextmanager
def near_command(words: Sequence[str]) -> Iterator[None]:
    """Name the command that is spelt like the first word of a goal which is refused."""
    try:
        yield
    except UsageError as e:
        if near := nearest_command(words):
            if len(words) == 1:  # no goal of one word is read otherwise, so the kernels' names are of no use
                raise UsageError(f"There is no command {words[0]}. Did you mean the command {near}?") from e
            raise UsageError(f"{e} Did you mean the command {near}?") from e
        raise


def nearest_command(words: Sequence[str]) -> str | None:
    """The command that is spelt like the first word."""
    near = get_close_matches(words[0], commands.commands, 1, 0.75) if words else []
    return near[0] if near else None


def print_request(objective: Objective, json_: bool) -> int:
    """Print a goal as it was understood."""
    from agent.goal.description import describe, render

    said = describe(objective)
    click.echo(json.dumps(said) if json_ else render(said))
    return PROVEN


@commands.command()
@click.argument("run_id", metavar="RUN", shell_complete=completion.traces)
@click.option("--base-url", metavar="URL", help="The model's server, if it has moved.")
@api_option
@loudness
@as_json
def resume(run_id: str, base_url: str | None, api: ApiChoice | None, loudness: Loudness, json_: bool) -> int:
    """Continue a run that was stopped or killed.

    RUN is its id; nothing that it finished is repeated."""
    read_env()
    with Terminal(loudness) as terminal:
        from agent.cli.result_panel import print_result
        from agent.loop.run import resume as go_on

        ended = go_on(run_id, terminal, base_url=base_url, ask=terminal.ask, api=api)
    return print_result(ended, json_)


PROGRAMS = (capture, captures, improve, apply, compare, table, patch)
for _command in (replay, runs, show, fork, export, doctor, completion.completion, campaign, *PROGRAMS):
    commands.add_command(_command)


def fleet_of(device: str | None, cluster: str | None, device_type: str | None) -> str | None:
    """The device string of the options; raises UsageError where they contradict."""
    if cluster is None and device_type is None:
        return device
    from tools.fleet.address import named
    from tools.harness.device import DeviceError

    try:
        return named(device, cluster, device_type)
    except DeviceError as e:
        raise UsageError(str(e)) from e


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    # A polite kill unwinds like Ctrl-C, so that child processes end with us.
    signal.signal(signal.SIGTERM, interrupt)
    if completion.VARIABLE in os.environ:
        return completion.complete(commands)
    return run_command_line(commands, "python -m agent", arguments, (AgentError,))
