"""Files that commands write are whole or not there, and are tested before the work begins."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memory.command_line.output_files import OutputError, check_output, write_output


@pytest.fixture
def small_files() -> Iterator[int]:
    """A file may have so many bytes, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield 4096
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_fills_up_leaves_the_old_file_and_no_other(tmp_path: Path, small_files: int) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")
    with pytest.raises(OutputError, match="cannot be written"):
        write_output(page, "x" * (small_files + 1), "--html")
    assert page.read_text() == "old"
    assert os.listdir(tmp_path) == ["page.html"]


def test_a_link_stays_a_link_and_permissions_stay(tmp_path: Path) -> None:
    page, link = tmp_path / "page.html", tmp_path / "link.html"
    page.write_text("old")
    page.chmod(0o640)
    link.symlink_to(page)
    write_output(link, "new")
    assert link.is_symlink()
    assert page.read_text() == "new"
    assert page.stat().st_mode & 0o777 == 0o640


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_output(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize(
    ("path", "says"), [("folder", "is a folder"), ("no/page.html", "there is no folder"), ("input", "is what the com")]
)
def test_a_path_that_cannot_be_written_is_refused_beforehand(tmp_path: Path, path: str, says: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "input").write_text("x")
    with pytest.raises(OutputError, match=says):
        check_output(tmp_path / path, "--html", (tmp_path / "input",))
    check_output(tmp_path / "page.html", "--html", (tmp_path / "input",))
    assert sorted(os.listdir(tmp_path)) == ["folder", "input"]


def test_a_device_is_written_as_it_is() -> None:
    write_output(Path("/dev/null"), "x")
    with pytest.raises(OutputError, match="no space left"):
        write_output(Path("/dev/full"), "x", "--html")


def test_standard_output_that_is_redirected_into_a_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from memory.command_line.output_files import write_output\n"
        "print('before')\n"
        "for part in ('first\\n', 'second\\n'):\n"
        "    write_output(Path('/dev/stdout'), part)\n"
        "print('after')\n"
    )
    with open(tmp_path / "page.html", "w") as page:
        subprocess.run([sys.executable, "-c", program], stdout=page, check=True)
    assert (tmp_path / "page.html").read_text() == "before\nfirst\nsecond\nafter\n"
    assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.parametrize("kind", ["descriptor", "link to it", "pipe", "device"])
def test_a_file_that_is_replaced_again_and_again_is_no_stream(tmp_path: Path, kind: str) -> None:
    with open(tmp_path / "page.html", "w") as page:
        path = Path(f"/dev/fd/{page.fileno()}")
        if kind == "link to it":
            (tmp_path / "link").symlink_to(path)
            path = tmp_path / "link"
        elif kind == "pipe":
            path = tmp_path / "pipe"
            os.mkfifo(path)
        elif kind == "device":
            path = Path("/dev/null")
        check_output(path, "--html")
        with pytest.raises(OutputError, match=f"^-o {path} cannot be written .it is no regular file, and the command"):
            check_output(path, "-o", replaced_repeatedly=True)
        check_output(tmp_path / "page.html", "-o", replaced_repeatedly=True)
