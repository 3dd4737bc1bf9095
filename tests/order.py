"""How the tests are spread over the cores: which files begin first, and how many processes there are."""

import os
from pathlib import Path

TESTS = Path(__file__).parent
SLOW_FIRST = (
    "docs/test_readme.py",
    "docs/test_pages.py",
    "agent/programs/test_improve.py",
    "faults/test_machine_trouble.py",
    "kernels/gemm/test_gemm_compiled.py",
    "kernels/test_cross_entropy.py",
    "kernels/gemm/test_gemm_stream_k.py",
    "tools/test_edit_kernel.py",
    "kernels/source/test_source_hash.py",
    "tools/evidence/test_planted.py",
    "kernels/ops/test_call_cache.py",
    "kernels/captured/test_captured_spec.py",
    "kernels/editing/test_variants.py",
    "kernels/attention/test_attention_gluon.py",
    "kernels/gemm/test_gemm_gluon.py",
    "kernels/conv2d/test_conv2d_gluon.py",
    "test_main_job.py",
    "agent/serve/test_serve.py",
    "agent/replay/test_drift.py",
    "evals/contest/test_runs.py",
    "evals/bench/test_bench_commands.py",
    "agent/models/test_endpoint_faults.py",
    "agent/models/test_responses_run.py",
    "agent/loop/test_run.py",
    "exploits/test_judged.py",
    "tools/harness/test_ahead.py",
    "agent/models/test_language_model.py",
    "agent/export/test_export.py",
    "evals/judge/test_judge_command.py",
    "agent/cli/test_agent_cli.py",
    "tools/harness/test_prestart.py",
    "memory/command_line/test_closed_stdout.py",
)
"""A file that takes long and begins last leaves the other cores idle. The documents' main job compiles what other runs
ask for again: it comes well before them, the server's among them."""
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
