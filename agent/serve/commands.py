"""``python -m tools``: the tools that a model may call, listed, or served over MCP. A command line stands above its
room: it imports ``agent`` inside functions."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from memory.command_line.command_errors import run_command_line
from memory.command_line.strict_commands import FiniteRange, StrictGroup, WholeRange
from tools.session.budget import MAX_EVALS

MISSING = "error: MCP needs one more package: pip install 'triton-autokernel[mcp]' (or: pip install 'mcp>=2.3')."


@click.group(cls=StrictGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """What a model may call: the tools of one kernel, or a server for coding agents."""


@cli.command("list")
@click.option("--kernel", default="fused_matmul", show_default=True, metavar="NAME", help="Whose configs they take.")
@click.option("--json", "json_", is_flag=True, help="Names, descriptions and JSON schemas of the arguments.")
def list_(kernel: str, json_: bool) -> None:
    """The tools, in the order in which a model is told of them."""
    from agent.models.schema import closed_schema
    from kernels.registry import get
    from tools.registry import tools_of

    try:
        found = tools_of(get(kernel)).values()
    except ValueError as e:
        raise click.UsageError(str(e)) from e
    if json_:
        schemas = [(tool, closed_schema(tool.arguments.model_json_schema())) for tool in found]
        rows = [{"name": tool.name, "description": tool.description, "parameters": schema} for tool, schema in schemas]
        click.echo(json.dumps(rows))
        return
    for tool in found:
        click.echo(f"{tool.name:18} {tool.description.partition(':')[0].partition('. ')[0].rstrip('.')}")


@cli.command()
@click.option("--goal", metavar="WORDS", help="What to tune, as for python -m agent.")
@click.option("--resume", metavar="RUN", help="Go on with a run that a client left, instead of a goal.")
@click.option("--kernel", metavar="NAME", help="A registered kernel, path.py:NAME or module:NAME.")
@click.option("--shape", metavar="MxNxK", help="The problem's dimensions in the kernel's order, each up to 1073741824.")
@click.option("--dtype", metavar="DTYPE", help="fp16, bf16 or fp8, as far as the kernel has it.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="A field of the kernel's problem, e.g. causal=false; repeat it for more.",
)
@click.option("--device", metavar="DEVICE", help="auto (default), cuda:N, or recorded[:LANDSCAPE].")
@click.option(
    "--budget",
    type=WholeRange(1, 10**6),
    default=MAX_EVALS,
    show_default=True,
    metavar="N",
    help="Configs measured.",
)
@click.option(
    "--max-seconds",
    type=FiniteRange(1, 1e7),
    default=3600.0,
    show_default=True,
    metavar="S",
    help="Time of the tools; the client's own and the proof's do not count.",
)
@click.option("--memory", type=click.Path(path_type=Path), metavar="PATH", help="The SQLite file of all attempts.")
@click.option("--seed", type=WholeRange(0, 2**32 - 1), default=0, metavar="N", help="Seed (0).")
@click.option(
    "--against", multiple=True, metavar="NAME", help="Judge the win against this baseline alone; repeat it for more."
)
@click.option("--bitwise", is_flag=True, help="Prove only what gives the bits of the owner's launch.")
@click.option("--yes", is_flag=True, help="Leave words of the goal out that are not understood.")
@click.option("--edit", is_flag=True, help="The client may send new device code, which is fenced and proven.")
@click.option(
    "--transport", type=click.Choice(["stdio", "http"]), default="stdio", show_default=True, help="How clients connect."
)
@click.option(
    "--port", type=WholeRange(0, 65535), default=8765, show_default=True, help="For http; 0 takes a free one."
)
def serve(
    goal: str | None,
    resume: str | None,
    kernel: str | None,
    shape: str | None,
    dtype: str | None,
    options: tuple[str, ...],
    device: str | None,
    budget: int,
    max_seconds: float,
    memory: Path | None,
    seed: int,
    against: tuple[str, ...],
    bitwise: bool,
    yes: bool,
    edit: bool,
    transport: str,
    port: int,
) -> int:
    """Serve the tools over the Model Context Protocol, bound to one goal and one budget.

    A client's `finish` makes the proof and the report. http listens on 127.0.0.1 only and asks for a bearer token:
    AUTOKERNEL_TOKEN, or one that is made and printed once. docs/MCP.md shows how coding agents are set up."""
    if (goal is None) == (resume is None):
        raise click.UsageError("Say what to tune with --goal, or which run to go on with by --resume.")
    try:
        import mcp.server  # noqa: F401
    except ImportError:
        click.echo(MISSING, err=True)
        return 2
    from agent.cli.terminal import Terminal
    from agent.goal.goal import Given
    from agent.goal.request import requested
    from agent.models.base import CLIENT
    from agent.serve import http
    from agent.serve.mcp_run import Run

    terminal = Terminal()
    try:
        token, made = http.chosen_token() if transport == "http" else ("", False)
        listening = http.listen(port) if transport == "http" else None
    except ValueError as e:
        raise click.UsageError(str(e)) from e
    except OSError as e:
        raise click.UsageError(f"127.0.0.1:{port} cannot be used ({e.strerror}): choose another --port.") from e
    if goal is not None:
        given = Given(
            kernel=kernel,
            shape=shape,
            dtype=dtype,
            options=options,
            device=device,
            model=CLIENT,
            max_evals=budget,
            max_seconds=max_seconds,
            max_model_calls=1000 + 10 * budget,
            against=against,
            bitwise=bitwise,
            yes=yes,
            seed=seed,
        )
        objective, notices = requested(goal, given, edit=edit)
        run = Run.new(objective, memory, terminal.notify, notices)
    else:
        run = Run.resumed(str(resume), terminal.notify)
    with run as client:
        from agent.serve.server import server
        from agent.trace.provenance import versions

        built = server(client, versions().get("triton-autokernel", ""))
        if listening is None:
            import anyio
            from mcp.server.stdio import stdio_server

            async def talk() -> None:
                async with stdio_server() as (reading, writing):
                    await built.run(reading, writing, built.create_initialization_options())

            anyio.run(talk)
            return 0
        if made:
            terminal.notify(f"token: {token}")
        http.serve(built, listening, token, terminal.notify)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 for an error, 2 with one sentence for wrong arguments, 130 for Ctrl-C."""
    from agent.errors import AgentError

    return run_command_line(cli, "python -m tools", arguments, (AgentError,))


if __name__ == "__main__":
    sys.exit(main())
