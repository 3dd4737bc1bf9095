"""What a command prints of the world's errors."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest

from memory.command_line.command_errors import describe_world


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
