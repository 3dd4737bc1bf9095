"""What a command prints of the world's errors."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest

from memory.command_line.command_errors import describe_world, run_command_line
from memory.commands import cli


def test_no_temporary_folder_is_not_taken_for_a_missing_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    with pytest.raises(FileNotFoundError) as caught:
        tempfile.gettempdir()
    assert "set TMPDIR" in describe_world(caught.value)
    gone = FileNotFoundError(errno.ENOENT, "No such file or directory")  # as os.getcwd() raises it
    assert describe_world(gone).startswith("the current folder does not exist")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files_are_no_matter_of_permissions(number: int) -> None:
    assert describe_world(OSError(number, "Too many open files", "a.db")) == (
        "a.db cannot be opened (too many open files): raise the limit, by ulimit -n 1024 for instance"
    )


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (["best", "--nope"], "No such option '--nope'. memory best --help lists what there is."),
        (["bset"], "No such command 'bset'. Did you mean 'best'? memory --help lists what there is."),
        (["import"], "Missing argument 'FILES...'. memory import --help lists what there is."),
        (["import", "none.json"], "none.json cannot be read: No such file or directory"),
    ],
)
def test_what_exists_is_listed_for_a_name_alone(capsys: pytest.CaptureFixture[str], words: list[str], end: str) -> None:
    assert run_command_line(cli, "memory", words) == 2
    assert capsys.readouterr().err.endswith(f"{end}\n")
