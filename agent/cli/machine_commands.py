"""The commands on this machine rather than on a run: doctor, completion."""

from __future__ import annotations

import click

from agent.cli import completion
from agent.errors import FAILED, PROVEN


@click.command()
@click.option("--json", "json_", is_flag=True, help="Print one JSON object instead of text.")
def doctor(json_: bool) -> int:
    """Check what this machine has and lacks: GPU, driver, PyTorch, Triton, compilers, key, endpoint, memory, disk.

    Says the mend for each thing that is missing. Exit code 0 where `python -m agent "maximise fused TFLOPS"` can run
    here, 1 where it cannot."""
    from agent.cli.doctor import report

    return PROVEN if report(json_) else FAILED


@click.command("completion")
@click.argument("shell", type=click.Choice([*completion.SHELLS]))
@click.pass_context
def completion_(context: click.Context, shell: str) -> int:
    """Print the shell completion of the `autokernel` command.

    \b
    bash   eval "$(autokernel completion bash)"     in ~/.bashrc
    zsh    eval "$(autokernel completion zsh)"      in ~/.zshrc
    fish   autokernel completion fish > ~/.config/fish/completions/autokernel.fish"""
    click.echo(completion.script(context.find_root().command, shell))
    return PROVEN


COMMANDS = (doctor, completion_)
