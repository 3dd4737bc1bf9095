"""Improves the launches of a capture on a GPU, or checks them in Triton's interpreter, where nothing is timed."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from agent.errors import AgentError, StoppedError, UsageError
from agent.loop.progress import Watch
from agent.programs.improvement.earlier_table import Demands, EarlierTable, read_earlier
from agent.programs.improvement.improve_plan import plan, revision_of
from agent.programs.improvement.improve_request import Improved, Request
from agent.programs.improvement.improve_work import Work
from agent.programs.improvement.preparing.ahead import Ahead
from agent.programs.improvement.preparing.surveys import SEED
from agent.programs.improvement.table_gaps import hold_out, take_out
from agent.programs.improvement.time_left import TimeLeft
from agent.programs.improvement.tuned_rows import name_of_row
from agent.programs.improvement.wanted_launches import open_capture, select_launches
from agent.programs.programs_assembler import programs_assembler
from agent.trace.paths import trace_folder
from kernels.capture.reading.captured_launches import Capture
from kernels.hardware.gpu_facts import from_json
from kernels.tuned.key import key_of_captured
from kernels.tuned.tuned_table import TunedEnvironment, TunedTable
from memory.store import Memory, MemoryFileError
from tools.harness.checking.float64.promoted_reference import DEADLINE_S
from tools.harness.checking.owner_survey import CPU, OwnerSurvey
from tools.harness.device import DeviceError
from tools.harness.process.child import ChildUnborn
from tools.harness.process.gpu_lock import named_lock

REFERENCES = 6
"""The float64 reference of one launch takes a sixth of all the time at most: a launch waits for its own, and the next
one's is made meanwhile. A launch whose reference takes longer is proven without it, and its row says so."""
INTERPRETER = "interpreter"
"""The device that times nothing."""
NO_GPU = (
    "There is no GPU here, and improve times launches: run it on the GPU that the program was captured on, or "
    "check configs without times by --device interpreter."
)


def improve(request: Request, watch: Watch) -> Improved:
    """Improve what `request` names and write the table.

    Raises UsageError for a capture or device that cannot be used, and AgentError if the device fails."""
    capture = open_capture(request.file)
    with programs_assembler(capture, watch.notify):
        return _improved(request, watch, capture)


def _improved(request: Request, watch: Watch, capture: Capture) -> Improved:
    wanted = select_launches(capture, request.kernel)  # before processes are started for it
    earlier = read_earlier(request.out, request.file)
    device = _device(request.device)
    if device == INTERPRETER and request.edit:
        raise UsageError("--edit times what it writes, and the interpreter times nothing: leave one of them out.")
    if device == INTERPRETER and request.held_out:
        raise UsageError("--held-out times launches, and the interpreter times nothing: leave one of them out.")
    timed = device != INTERPRETER
    if timed:
        _check_files(request.memory)
    try:
        gpu_lock = named_lock() if timed else None
    except DeviceError as e:
        raise UsageError(f"{e}.") from e
    lock = None
    if timed and gpu_lock is None:
        lock = tempfile.NamedTemporaryFile(prefix="autokernel-gpu-")  # noqa: SIM115 -- closed below
        gpu_lock = Path(lock.name)
    survey = OwnerSurvey(device if timed else CPU, gpu_lock=gpu_lock)
    deadline_s = min(DEADLINE_S, request.max_seconds / REFERENCES)
    ahead = Ahead(str(request.file), SEED, device if timed else None, request.edit, deadline_s)
    try:
        ahead.begin(len(wanted))  # beside the survey's own process
        info = survey.device_info()
        missing = info.get("missing") or info.get("reason")
        if missing:
            raise UsageError(f"{missing}: name another --device, or check configs by --device interpreter.")
        hardware = from_json(info["facts"]) if timed else None
        found = plan(capture, request.share, request.kernel, info["name"] if timed else None, hardware)
        environment = TunedEnvironment(info["name"], info["triton"], info["assembler"], info.get("overrides"))
        take_out(found, hold_out(found.jobs, request.held_out))
        functions = capture.functions()
        names = {x.digest: name_of_row(x, key_of_captured(x, functions), environment) for x in wanted}
        demands = Demands(
            held_out=frozenset(names[job.launch.digest] for job in found.held_out),
            bitwise=frozenset(names.values()) if request.bitwise else frozenset(),
        )
        kept = EarlierTable(earlier, demands, names, _revisions(capture))
        made = Improved(capture, environment, TunedTable(), untuned=list(found.untuned), timed=timed, earlier=kept)
        time_left = TimeLeft(request.began, request.max_seconds)
        Work(request, device, survey, ahead, made, watch, hardware, gpu_lock, time_left).all(found)
    except StoppedError as e:  # it names one run, and to resume that would write no row
        raise StoppedError(
            f"Stopped; {request.out} holds the rows of the launches that were done, and the same command again starts "
            "from what was measured."
        ) from e
    except ChildUnborn as e:
        raise UsageError(f"The launches cannot be made anew here: {e}.") from e
    except DeviceError as e:  # this machine's trouble, such as a compile cache that cannot be written
        raise AgentError(f"{e}.") from e
    finally:
        survey.close()
        ahead.close()
        if lock:
            lock.close()
    made.seconds = time.monotonic() - request.began
    return made


def _revisions(capture: Capture) -> dict[str, set[str]]:
    """Place of a function → its revisions, of all that the capture holds."""
    found: dict[str, set[str]] = {}
    for launch in {(id(x.function), str(x.device)): x for x in capture.launches}.values():
        function = revision_of(launch, capture.functions())
        found.setdefault(function["place"], set()).add(function["revision"])
    return found


def _check_files(memory: Path | None) -> None:
    """Open the memory and the folder of traces that every run will use, before anything is spent. Raises UsageError."""
    try:
        Memory.open(memory).close()
    except MemoryFileError as e:
        raise UsageError(f"{e}.") from e
    folder = trace_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as e:
        raise UsageError(
            f"Traces cannot be written to {folder} ({e.strerror}): set XDG_DATA_HOME to a folder that can be written."
        ) from e


def _device(asked: str) -> str:
    """``cuda:N`` or ``interpreter``. Raises UsageError."""
    from tools.harness.measuring.telemetry import gpus_present

    kind, _, number = asked.partition(":")
    if kind == "auto" and not number:
        if not gpus_present():
            raise UsageError(NO_GPU)
        return "cuda:0"
    if asked == INTERPRETER:
        return asked
    if kind == "cuda" and (number.isdecimal() or not number):
        if not gpus_present():
            raise UsageError(NO_GPU)
        return f"cuda:{number or 0}"
    raise UsageError(f"improve cannot time launches on {asked!r}: use auto, cuda:N or interpreter.")
