"""``python -m evals leaderboard``: ranks verified submissions."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from evals.commands.selection import (
    check_writable,
    make_boards,
    make_names_unique,
    mistakes_as_usage_errors,
    print_standing,
    score_runs,
)
from memory.command_line.strict_commands import strict_command

FOLDER = Path("submissions")


@strict_command("leaderboard")
@click.option(
    "--add", "added", multiple=True, type=click.Path(path_type=Path, dir_okay=False), help="A submission; repeatable."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER,
    show_default=True,
    help="Where submissions are kept.",
)
@click.option(
    "--runs", multiple=True, type=click.Path(path_type=Path, dir_okay=False), help="Kept runs to rank beside them."
)
@click.option("--leaderboard", type=click.Path(path_type=Path, dir_okay=False), help="Write a Markdown leaderboard.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def leaderboard_command(
    added: tuple[Path, ...], folder: Path, runs: tuple[Path, ...], leaderboard: Path | None, as_json: bool
) -> None:
    """Rank language models by their submissions (`run --submission FILE`).

    Every submission is verified first: the landscape answers its ledger again, and its transcript is whole. What is
    added is kept in the folder, under a name made of its content."""
    from evals.contest.run_files import read_results
    from evals.contest.submission import read_submission
    from evals.errors import EvalsError
    from tools.harness.landscapes.named import named_landscape

    check_writable((*added, *runs), leaderboard=leaderboard)
    with mistakes_as_usage_errors():
        for path in added:
            read_submission(path)
        for path in added:
            keep(path, folder)
        kept = sorted(folder.glob("*.json")) if folder.is_dir() else []
        ledgers = [ledger for path in kept for ledger in read_submission(path)]
        if runs:
            ledgers += read_results(*runs)
        if not ledgers:
            raise EvalsError(f"there is no submission in {folder}: add one with --add FILE")
        found = {x.file: (named_landscape(x.source), x.source) for x in ledgers}
        make_names_unique(list(found.values()))
        for ledger in ledgers:
            ledger.landscape = found[ledger.file][0].name
        print_standing(score_runs(ledgers, make_boards([x for x, _ in found.values()])), as_json, None, leaderboard)


def keep(path: Path, folder: Path) -> None:
    """Copy a submission into `folder`; the same one twice is kept once."""
    import hashlib

    from evals.errors import EvalsError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        if path.resolve() != (folder / f"{name}.json").resolve():
            shutil.copyfile(path, folder / f"{name}.json")
    except OSError as e:
        raise EvalsError(f"cannot keep {path} in {folder}: {(e.strerror or str(e)).lower()}") from e
