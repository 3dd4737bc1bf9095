"""Shell completion of the ``autokernel`` command by click; nothing heavy is imported."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class, shell_complete

from agent.errors import PROVEN
from memory.command_line.strict_commands import strict_command

PROGRAM = "autokernel"
VARIABLE = "_AUTOKERNEL_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@strict_command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the shell completion of the `autokernel` command.

    \b
    bash   eval "$(autokernel completion bash)"     in ~/.bashrc
    zsh    eval "$(autokernel completion zsh)"      in ~/.zshrc
    fish   autokernel completion fish > ~/.config/fish/completions/autokernel.fish"""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    click.echo(kind(context.find_root().command, {}, PROGRAM, VARIABLE).source())
    return PROVEN


def complete(commands: click.Command) -> int:
    """Answer the request of a shell, which stands in ``VARIABLE``."""
    import os

    return shell_complete(commands, {}, PROGRAM, VARIABLE, os.environ[VARIABLE])


def kernels(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Registered kernels; files of your own."""
    from kernels.registry import names

    found = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def devices(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """``auto``, a GPU, and the recorded ones by name."""
    from importlib import resources

    folder = resources.files("evals") / "landscapes"
    recorded = sorted(f.name.removesuffix(".json.gz") for f in folder.iterdir() if f.name.endswith(".json.gz"))
    known = ["auto", "cuda:0", "recorded", *(f"recorded:{name}" for name in recorded)]
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]


def traces(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The runs in the user's folder by id; files."""
    from agent.trace.paths import trace_folder

    paths = sorted(trace_folder().glob(f"{incomplete}*.jsonl"), reverse=True) if "/" not in incomplete else []
    return [CompletionItem(path.stem) for path in paths] or [CompletionItem(incomplete, type="file")]
