"""What the judge watches, against which way to cheat, and in which process."""

from __future__ import annotations

from evals.judge.verdict import Guard

ALWAYS: tuple[tuple[str, str, str], ...] = (
    ("the expected results never leave the reference's process", "stolen or overwritten answers", "reference"),
    ("results are compared as bytes against float64", "lower precision, zeros, NaN, half a result", "reference"),
    ("shape, dtype and number of results", "a result of another form", "reference"),
    ("the bound rejects zeros, rubbish and half a result", "a check that cannot fail", "reference"),
    ("new secret seeds for each trial", "guessed seeds, results kept by content", "reference"),
    ("the candidate's file lies alone, away from the reference's", "importing the reference", "judge"),
    ("every answer carries its job's secret number", "answers written to the pipe", "judge"),
    ("a deadline for each call", "an endless candidate", "judge"),
    ("other values at the addresses of the call before, and other addresses", "results kept by address", "candidate"),
    ("results are copied right after the call", "lazy results, threads and streams that finish later", "candidate"),
    ("results are plain tensors", "a tensor subclass that computes later", "candidate"),
    ("inputs, and the memory before and behind them, are compared with what was handed over", "writes", "candidate"),
    ("the results of the call before are still the same", "results in a shared buffer", "candidate"),
    ("results share no memory with inputs, unless the reference's do", "an input handed back", "candidate"),
    ("flags of PyTorch's precision, before and after", "global flags changed", "candidate"),
)
"""(what, against what, whose process), for guards that every trial has."""
PARAMETERS = (
    ("other parameters, loaded by state_dict", "weights that are ignored or computed with beforehand", "reference"),
    ("parameters are unchanged by a call", "weights changed", "candidate"),
)
STRESS = ("inputs that nobody chose, and each input changed alone", "right on nominal inputs alone", "reference")
TRACE = ("which operators and Triton kernels run", "the reference run again", "candidate")
SANDBOX = ("no network, no writes, no view of other processes", "files and processes of the judge", "judge")
CLOCK = (
    ("events that the candidate cannot replace, checked against the judge's clock", "patched timers", "candidate"),
    ("new inputs before each timed call; a secretly chosen timed result is compared", "skipped work", "reference"),
    ("the card must have time to write the result", "impossible times", "judge"),
)


def guards(
    parameters: bool, why_no_parameters: str, stressed: bool, traced: bool, sandboxed: bool, timed: bool
) -> list[Guard]:
    """All guards, those that did not run among them."""
    found = [_guard(g, True) for g in ALWAYS]
    found += [_guard(g, parameters, why_no_parameters) for g in PARAMETERS]
    found += [_guard(STRESS, stressed), _guard(TRACE, traced), _guard(SANDBOX, sandboxed)]
    return [*found, *(_guard(g, timed) for g in CLOCK)]


def _guard(about: tuple[str, str, str], ran: bool, note: str = "") -> Guard:
    what, against, where = about
    return Guard.model_validate({"guard": what, "against": against, "where": where, "ran": ran, "note": note})


def what_could_be_faked(timed: bool) -> list[str]:
    """What runs in the candidate's own process, so that a candidate which rewrites that process could fake it."""
    found = [
        "whether inputs, parameters and earlier results are unchanged",
        "which operators and kernels ran",
        "that the handed-over result is the one of the call, and no later one",
    ]
    return [*found, "the events of its timed calls, within what the judge's own clock allows"] if timed else found
