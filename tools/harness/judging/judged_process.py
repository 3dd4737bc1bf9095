"""Where both processes of a judgement begin. Each imports its own side alone."""

from __future__ import annotations

from typing import Any


def process(init: dict[str, Any]) -> Any:
    """Serve the jobs of the side that ``init["side"]`` names. Everything else waits for the job ``open``, so that what
    goes wrong there can be reported."""
    if init["side"] == "reference":
        from tools.harness.judging.reference_process import ReferenceProcess

        return ReferenceProcess().serve
    from tools.harness.judging.candidate_process import CandidateProcess

    return CandidateProcess().serve


def before_fork() -> None:
    """What every file is likely to need; for processes that are not shut in."""
    import tools.harness.judging.candidate_process
    import tools.harness.judging.reference_process  # noqa: F401
