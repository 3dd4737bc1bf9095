"""The two processes of a judgement, and how the judge asks them: both are shut in, and each has a folder of its own."""

from __future__ import annotations

import glob
import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError

from evals.errors import EvalsError
from evals.judge.pair import Pair
from evals.judge.verdict import Status
from tools.harness.process.child import Child, ChildDied, ChildKilled, ChildTimeout, ChildUnborn
from tools.harness.process.refusal import Refusal

Json = dict[str, Any]
FACTORY = "tools.harness.judging.judged_process:process"
DEVICES = ("/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/dri/*", "/dev/kfd")
"""What a GPU's driver opens for writing."""
CACHES = ("TRITON_CACHE_DIR", "TORCH_EXTENSIONS_DIR", "TORCHINDUCTOR_CACHE_DIR", "XDG_CACHE_HOME", "CUDA_CACHE_PATH")
THREADS = 1
MEMORY = "/dev/shm"
LEAST_MEMORY = 16 << 30
CPU = "cpu"


class Failed(Exception):
    """The candidate did not come through; the message is a clause."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status


class HandedTensor(BaseModel):
    """How the candidate's process describes a tensor that it has written."""

    file: str
    shape: list[int]
    dtype: str
    order: list[int]


class Handed(BaseModel):
    name: str
    tensor: HandedTensor


class Ran(BaseModel):
    """The candidate's answer to one call."""

    results: list[Handed]
    flags: list[str]
    threads: int


class Traced(BaseModel):
    operators: list[tuple[str, list[str]]]
    kernels: list[str]


class Timed(BaseModel):
    ms: list[float]


class Rooms:
    """Both processes, from their folders to their end."""

    def __init__(self, pair: Pair, device: str, deadline_s: float, sandboxed: bool) -> None:
        self._root = tempfile.TemporaryDirectory(
            prefix="autokernel-judge-", ignore_cleanup_errors=True, dir=None if device == CPU else _memory_folder()
        )
        folders = {n: os.path.join(self._root.name, n) for n in ("problem", "reference", "entry", "candidate")}
        for folder in folders.values():
            os.mkdir(folder)
        source = Path(folders["problem"], pair.reference_name)
        source.write_text(pair.reference_source, encoding="utf-8")
        for path, text in pair.candidate_sources.items():
            file = Path(folders["entry"], path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        seed = secrets.randbits(31)
        common = {"form": pair.form, "device": device, "seed": seed, "threads": THREADS, "named": pair.named}
        self.reference = ReferenceRoom(
            pair, {**common, "file": str(source), "described": pair.described}, folders, deadline_s, sandboxed
        )
        entry = str(Path(folders["entry"], pair.candidate_file))
        about = {**common, "file": entry, "entry": pair.entry, "outputs": pair.outputs}
        self.candidate = CandidateRoom(about, folders, deadline_s, sandboxed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.reference.close()
        self.candidate.close()
        self._root.cleanup()


class _Room:
    """One process with a folder that it may write."""

    def __init__(self, side: str, about: Json, folder: str, deadline_s: float, sandboxed: bool) -> None:
        self.about, self.folder, self.deadline_s, self.sandboxed = about, folder, deadline_s, sandboxed
        devices = [] if about["device"] == CPU else [path for mask in DEVICES for path in glob.glob(mask)]
        writable = [folder, *devices] if sandboxed else None
        forked = not sandboxed and about["device"] == CPU
        self._child = Child(FACTORY, {"side": side}, _environment(folder, about["device"]), writable, forked=forked)

    def close(self) -> None:
        self._child.kill()


class ReferenceRoom(_Room):
    """The reference's process. Whatever is wrong with the reference is an EvalsError."""

    def __init__(self, pair: Pair, about: Json, folders: dict[str, str], deadline_s: float, sandboxed: bool) -> None:
        super().__init__("reference", about, folders["reference"], deadline_s, sandboxed)
        self._name, self._handed = pair.reference, folders["candidate"]
        self._trial = 0
        self.device_name, self.result_bytes = "", 0

    def open(self) -> Json:
        opened = self._ask({"op": "open", **self.about})
        if "no_device" in opened:
            without = "; if it can be used outside, --no-sandbox judges there" if self.sandboxed else ""
            raise Failed(
                "infrastructure", f"{self.about['device']} cannot be used here: {opened['no_device']}{without}"
            )
        self.device_name, self.result_bytes = str(opened["device_name"]), int(opened["bytes"])
        return opened

    def draw(self, kind: str) -> Json:
        """Inputs of one trial, and the seeds and files that the candidate's call needs."""
        self._trial += 1
        forward = secrets.randbits(31)
        job = {"kind": kind, "seed": secrets.randbits(62), "forward_seed": forward, "device": self.about["device"]}
        return {"trial": self._trial, "forward_seed": forward} | self._ask({"op": "draw", "trial": self._trial, **job})

    def compare(self, results: list[Json]) -> Json:
        return self._ask({"op": "compare", "trial": self._trial, "results": results, "folder": self._handed})

    def new_parameters(self) -> Json:
        return self._ask({"op": "parameters", "seed": secrets.randbits(62)})

    def trace(self) -> list[Any]:
        found: list[Any] = self._ask({"op": "trace"})["operators"]
        return found

    def time(self, seeds: list[int]) -> list[float]:
        """Milliseconds of one call for each seed, on a GPU."""
        return [float(x) for x in self._ask({"op": "time", "seeds": seeds, "device": self.about["device"]})["ms"]]

    def steady(self, calls: int) -> list[float]:
        """Milliseconds of `calls` calls back to back, and of enqueueing one."""
        return [float(x) for x in self._ask({"op": "steady", "calls": calls})["ms"]]

    def compare_timed(self, seed: int, results: list[Json]) -> Json:
        job = {"seed": seed, "results": results, "folder": self._handed, "device": self.about["device"]}
        return self._ask({"op": "compare_timed", **job})

    def _ask(self, job: Json) -> Json:
        try:
            return self._child.call({"folder": self.folder, **job}, self.deadline_s)
        except Refusal as e:
            raise EvalsError(f"{self._name} cannot be a reference: {e}") from e
        except ChildTimeout as e:
            raise EvalsError(
                f"{self._name} cannot be a reference: a call took longer than {self.deadline_s:g} s (--deadline)"
            ) from e
        except ChildUnborn as e:
            raise Failed("infrastructure", str(e)) from e
        except ChildDied as e:
            raise EvalsError(f"{self._name} cannot be a reference: its process ended ({e})") from e


class CandidateRoom(_Room):
    """The candidate's process. Nothing that it answers is trusted; whatever is wrong raises Failed."""

    def __init__(self, about: Json, folders: dict[str, str], deadline_s: float, sandboxed: bool) -> None:
        super().__init__("candidate", about, folders["candidate"], deadline_s, sandboxed)
        self._inputs = folders["reference"]
        self._may: Json = {}

    def open(self, opened: Json) -> str:
        """Import and construct it; ``copied``, ``none``, or why the reference's parameters do not fit."""
        self._may = {"may_change": opened["changes"], "may_alias": opened["aliases"]}
        answer = self.ask({"op": "open", **self.about, "init": opened["init"], "state": opened["state"]})
        return str(answer.get("parameters", ""))

    def load(self, state: Json) -> None:
        self.ask({"op": "state", **state})

    def run(self, drawn: Json, place: str) -> Json:
        job = {k: drawn[k] for k in ("trial", "inputs", "forward_seed")}
        return self._checked(Ran, {"op": "run", **job, "place": place, **self._may})

    def trace(self) -> Json:
        return self._checked(Traced, {"op": "trace"})

    def time(self, seeds: list[int]) -> list[float]:
        """Milliseconds of one call for each seed, on a GPU, by events in the candidate's process."""
        found: list[float] = self._checked(Timed, {"op": "time", "seeds": seeds})["ms"]
        if len(found) != len(seeds):
            raise Failed("forged", "its process gave another number of times than calls")
        return found

    def hand_over(self, sample: int) -> Json:
        """The result of one of the calls that were timed last."""
        return self._checked(Ran, {"op": "kept", "sample": sample})

    def steady(self, calls: int) -> list[float]:
        """Milliseconds of `calls` calls back to back and of enqueueing one, by the candidate's process."""
        found: list[float] = self._checked(Timed, {"op": "steady", "calls": calls})["ms"]
        if len(found) != 2:
            raise Failed("forged", "its process gave another number of times than it was asked for")
        return found

    def _checked(self, kind: type[BaseModel], job: Json) -> Json:
        try:
            return kind.model_validate(self.ask(job)).model_dump(mode="json")
        except ValidationError as e:
            raise Failed("forged", "its process gave an answer that the judge's own code does not write") from e

    def ask(self, job: Json) -> Json:
        """The answer to one job, which must carry the job's secret number."""
        number = secrets.randbits(62)
        sent = {"folder": self._inputs, "out": self.folder, **job, "number": number}
        where = " in Triton's interpreter" if self.about["device"] == CPU else ""
        try:
            answer = self._child.call(sent, self.deadline_s)
        except ChildUnborn as e:
            raise Failed("infrastructure", str(e)) from e
        except ChildTimeout as e:
            what = "it was not ready" if job["op"] == "open" else "a call gave no result"
            raise Failed("timeout", f"{what} within {self.deadline_s:g} s{where} (--deadline)") from e
        except ChildKilled as e:
            raise Failed("crashed", f"its process was killed: {e}") from e
        except ChildDied as e:
            raise Failed("crashed", f"its process ended in the middle of a call: {e}") from e
        except Refusal as e:
            raise Failed("forged", "its process refused a job in words that are not the judge's") from e
        except RuntimeError as e:  # the judge's own code failed there, which nothing but the candidate can have broken
            raise Failed("runtime", f"it broke the process that it runs in: {str(e).strip().splitlines()[-1]}") from e
        except (ValueError, TypeError) as e:
            raise Failed("forged", "what came back from its process is no answer of the judge's own code") from e
        if not isinstance(answer, dict) or answer.get("number") != number:
            raise Failed("forged", "an answer came back without the number of its job: something else wrote it")
        if answer.get("status") != "correct":
            raise Failed(_status(answer.get("status")), str(answer.get("reason"))[:600])
        return answer


def _memory_folder() -> str | None:
    """A file system in memory with room for inputs and results, which are 2 GiB each at most; None if there is none.
    Files on a disk wait for it, trial after trial. Triton loads what it compiles from the candidate's folder, so one
    that nothing can be executed from is left."""
    try:
        found = os.statvfs(MEMORY)
    except OSError:
        return None
    writable = os.access(MEMORY, os.W_OK | os.X_OK) and not found.f_flag & os.ST_NOEXEC
    return MEMORY if writable and found.f_bavail * found.f_frsize >= LEAST_MEMORY else None


def _status(found: Any) -> Status:
    known: dict[Any, Status] = {"runtime": "runtime", "needs_gpu": "needs_gpu", "correctness": "correctness"}
    return known.get(found, "forged")


def _environment(folder: str, device: str) -> dict[str, str]:
    """Whatever writes a cache writes it to the process's own folder."""
    found = {name: os.path.join(folder, name.lower()) for name in CACHES} | {"TMPDIR": folder}
    found["PYTHONHASHSEED"] = "0"
    binaries = os.path.dirname(sys.executable)  # compilers of extensions look for ninja there
    found["PATH"] = os.pathsep.join([binaries, os.environ.get("PATH", "")])
    if device == CPU:
        found |= {"TRITON_INTERPRET": "1", "TRITON_DEFAULT_FP_FUSION": "1", "CUDA_VISIBLE_DEVICES": ""}
    return found
