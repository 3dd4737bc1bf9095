from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kernels.capture.capture_file import begin
from kernels.capture.reading.captured_launches import read_capture
from kernels.capture.start import run_program

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


@pytest.fixture(scope="package")
def captured(tmp_path_factory):
    """(exit code, capture, stdout) of the program tree, run once; the program has a ``sitecustomize`` of its own."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "sitecustomize.py").write_text("import os\nos.environ['FROM_THEIRS'] = 'theirs'\n")
    path = folder / "run.capture"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("TRITON_CACHE_DIR", str(folder / "cache"))
        begin(str(path), {"command": ["program"]})
        out = os.open(folder / "out", os.O_CREAT | os.O_RDWR)
        saved = os.dup(1)
        os.dup2(out, 1)
        try:
            code = run_program([sys.executable, str(HERE / "program_tree.py")], str(path), "summary")
        finally:
            os.dup2(saved, 1)
            os.close(saved)
            os.close(out)
    return code, read_capture(str(path)), (folder / "out").read_text()
