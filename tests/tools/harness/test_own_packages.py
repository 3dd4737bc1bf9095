"""A file or a package of somebody else's with the name of one of ours does not hurt."""

import subprocess
import sys

import pytest

from tools.harness.process.child import Child
from tools.harness.process.own_packages import PACKAGES, ROOT

pytestmark = pytest.mark.process

TAKEN = (*(name for name in PACKAGES if name != "agent"), "json", "random", "torch", "triton")


def importer(init):
    """The child's side: where it finds a module."""
    import importlib

    return lambda job: {"file": importlib.import_module(job["module"]).__file__}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A current folder with files of these names, which cannot be imported."""
    for name in TAKEN:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('this is another {name}')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(module):
    child = Child("tests.tools.harness.test_own_packages:importer", {})
    try:
        return child.call({"module": module}, 60)["file"]
    finally:
        child.kill()


def test_a_child_finds_our_packages_whatever_lies_in_the_current_folder(elsewhere):
    assert ask("kernels.hardware") == str(ROOT / "kernels" / "hardware" / "__init__.py")


def test_a_child_finds_our_packages_whatever_is_installed_under_their_names(tmp_path, monkeypatch):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("raise RuntimeError('another project')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert ask("kernels.hardware") == str(ROOT / "kernels" / "hardware" / "__init__.py")


@pytest.mark.parametrize("room", ["agent", "memory"])
def test_a_command_runs_in_such_a_folder(elsewhere, room):
    (elsewhere / f"{room}.py").unlink(missing_ok=True)
    done = subprocess.run([sys.executable, "-m", room, "--help"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Usage: python -m" in done.stdout


def test_a_users_kernel_imports_its_neighbours_in_a_child(tmp_path, monkeypatch):
    """By path from another folder, and as a module of the current folder."""
    from kernels.registry import get
    from tools.harness.process.identity import describe

    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "neighbour_of_mine.py").write_text("SCALE = 2\n")
    (folder / "my_kernel_file.py").write_text(
        "from neighbour_of_mine import SCALE\nfrom tests.exploits.axpy import Axpy\n\n\n"
        "class Mine(Axpy):\n    name = 'mine'\n"
    )
    by_path = get(f"{folder / 'my_kernel_file.py'}:Mine")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    by_module = get("my_kernel_file:Mine")
    child = Child("tests.tools.harness.test_own_packages:rebuilder", {})
    try:
        for spec in (by_path, by_module):
            assert child.call(describe(spec, spec.default_problem()), 120) == {"name": "mine"}
    finally:
        child.kill()


def rebuilder(init):
    from tools.harness.process.identity import rebuild

    return lambda job: {"name": rebuild(job)[0].name}


def test_a_file_that_a_child_cannot_import_is_one_sentence_with_file_and_line(tmp_path):
    from tools.harness.process.refusal import Refusal

    file = tmp_path / "elsewhere.py"
    file.write_text("import os\nraise RuntimeError('not in this process')\n")
    child = Child("tests.tools.harness.test_own_packages:rebuilder", {})
    try:
        with pytest.raises(Refusal, match=rf"{file}:2 cannot be imported: RuntimeError: not in this process"):
            child.call({"kernel": f"{file}:Mine", "problem": {}}, 120)
    finally:
        child.kill()


def test_triton_s_driver_is_there_while_a_file_that_needs_it_is_imported(tmp_path):
    """The first line of Triton's tutorials, on a machine without a GPU."""
    from kernels.registry import get
    from tools.harness.measuring.telemetry import gpus_present

    if gpus_present():
        pytest.skip("here the driver is there by itself")
    file = tmp_path / "tutorial.py"
    file.write_text(
        "import triton\nfrom tests.exploits.axpy import Axpy\n\n"
        "DEVICE = triton.runtime.driver.active.get_active_torch_device()\n"
        "SMS = triton.runtime.driver.active.utils.get_device_properties(DEVICE.index)['multiprocessor_count']\n\n\n"
        "class Mine(Axpy):\n    name = 'tutorial'\n    sms = SMS\n"
    )
    assert get(f"{file}:Mine").sms == 132
    import triton

    with pytest.raises(RuntimeError, match="active drivers"):
        triton.runtime.driver.active.get_current_target()
