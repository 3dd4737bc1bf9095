"""How the tests are spread over the cores: which files begin first, and how many processes there are."""

import os
from pathlib import Path

TESTS = Path(__file__).parent
SLOW_FIRST = (
    "docs/test_readme.py",
    "docs/test_pages.py",
    "agent/programs/test_improve.py",
    "agent/serve/test_serve.py",
    "kernels/conv2d/test_conv2d_gluon.py",
    "kernels/gemm/test_gemm_gluon.py",
    "kernels/gemm/test_gemm_stream_k.py",
    "kernels/gemm/test_gemm_interpreted.py",
    "kernels/rows/test_rows_interpreted.py",
    "test_main_job.py",
    "kernels/captured/test_captured_spec.py",
    "kernels/attention/test_attention_gluon.py",
    "kernels/gemm/test_gemm_compiled.py",
    "agent/replay/test_drift.py",
    "agent/loop/test_resume.py",
    "agent/replay/test_gallery.py",
    "agent/loop/test_run.py",
    "evals/contest/test_runs.py",
    "evals/contest/test_cheats.py",
    "tools/harness/test_ahead.py",
    "agent/models/test_responses_run.py",
    "evals/bench/test_bench_commands.py",
    "exploits/test_judged.py",
    "exploits/test_unsafe.py",
    "kernels/test_own_kernel.py",
    "agent/models/test_language_model.py",
    "agent/models/test_endpoint_faults.py",
)
"""A file that takes long and begins last leaves the other cores idle. The documents' main job
compiles what other runs ask for again: it comes well before them."""
MOST = 8
"""More processes than this spend longer importing PyTorch than they save."""


def place(path: Path) -> int:
    """Where in the order of files `path` stands; all others come after those that are slow, as they were."""
    name = path.relative_to(TESTS).as_posix()
    return SLOW_FIRST.index(name) if name in SLOW_FIRST else len(SLOW_FIRST)


def is_named(argument: str) -> bool:
    """Whether an argument of pytest's command line is a file or a test instead of a folder."""
    return Path(argument.partition("::")[0]).suffix == ".py"


def workers() -> int:
    """One for each core: with half as many again, what they wait for is one another (15.4 minutes became 17.6)."""
    return min(MOST, len(os.sched_getaffinity(0)))
