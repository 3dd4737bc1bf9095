"""The processes of an owner's survey."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tools.harness.checking.owner_survey import OwnerSurvey

pytestmark = pytest.mark.process


def waiting(init):
    """Compares until something was launched."""

    def serve(job):
        launched = Path(job["kernel"])
        if job["op"] == "damping":
            launched.touch()
            return {"damped": 0}
        until = time.monotonic() + 30
        while not launched.exists() and time.monotonic() < until:
            time.sleep(0.01)
        return {} if launched.exists() else {"reason": "nothing was launched meanwhile"}

    return serve


def test_on_a_gpu_launches_are_surveyed_while_a_programs_packages_are_imported(tmp_path):
    survey = OwnerSurvey("cuda:0", factory=f"{__name__}:waiting")
    launched = str(tmp_path / "launched")
    try:
        with ThreadPoolExecutor(1) as thread:
            changed = thread.submit(survey.changed, launched)
            assert survey.damping(launched, 0) == 0
            assert changed.result() is None
    finally:
        survey.close()
    assert survey.damping(launched, 0) == "the work was ended before its survey"
    assert survey.changed(launched) == "the work was ended before its survey"
