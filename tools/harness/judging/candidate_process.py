"""The candidate's process: it holds the stranger's code, and beside it as little of the judge as possible.

What this process needs of PyTorch is taken before the candidate's file is imported. It is shut in
(:mod:`tools.harness.process.sandbox`): it has no network, writes to one folder, and cannot look into other processes.
It never holds an expected value. What this file checks itself (that inputs, parameters and earlier results are
unchanged; which kernels ran; on a GPU the events) a candidate that rewrites its own process could fake. The verdict
lists these.
"""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kernels.launches.bound import GUARD, Placed, copied, same_bits
from kernels.launches.leaves import leaves
from tools.harness.judging.operator_trace import Launches
from tools.harness.judging.program_files import Raised, load_file, member, numerics, seed_all
from tools.harness.judging.tensor_files import as_tensor, dtype_named, named_results, read_value, write_tensor
from tools.harness.process.refusal import Refusal

Json = dict[str, Any]
Call = Callable[..., Any]
MOST_SHIFTS = 16


@dataclass
class CandidateProcess:
    call: Call = field(init=False)
    file: str = ""
    model: torch.nn.Module | None = None
    state: dict[str, torch.Tensor] = field(default_factory=dict)
    """Copies of the parameters as they were loaded."""
    outputs: list[Json] = field(default_factory=list)
    """For a function that writes to outputs it is given: their names, shapes and dtypes."""
    named: dict[str, str] = field(default_factory=dict)
    placed: Placed | None = None
    earlier: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    """The last call's results, and copies of them."""
    timed: Any = None
    """On a GPU: :class:`tools.harness.judging.gpu_calls.TimedCalls`."""
    timed_outputs: tuple[torch.Tensor, ...] = ()
    device: str = "cpu"
    flags: Json = field(default_factory=numerics)
    threads: int = field(default_factory=threading.active_count)

    def serve(self, job: Json) -> Json:
        """One job. What the candidate does wrong is an answer with a status and a reason."""
        number = {"number": job["number"]}
        try:
            with torch.no_grad():
                return {"status": "correct", "reason": "", **getattr(self, f"do_{job['op']}")(job), **number}
        except Raised as e:
            return {"status": e.status, "reason": str(e), **number}
        except Refusal as e:
            return {"status": "correctness", "reason": str(e), **number}

    def do_open(self, job: Json) -> Json:
        """Import the candidate, construct it with the reference's arguments and seed, and load its state."""
        torch.set_num_threads(job["threads"])
        self.device, self.file = job["device"], job["file"]
        self.launches = Launches()
        if self.device == "cpu":
            interpret()
        else:
            import tools.harness.judging.gpu_calls  # noqa: F401 -- before the candidate's file
        sys.path.append(str(Path(self.file).parent))
        module = load_file(self.file, "candidate", "it")
        entry = member(module, job["entry"], "it")
        if job["form"] == "function":
            self.call, self.outputs, self.named = entry, job["outputs"], job["named"]
            return {"parameters": "none"}
        init = read_value(job["init"], job["folder"])
        seed_all(job["seed"])
        try:
            model = entry(*init)
        except BaseException as e:
            raise Raised(e, f"the constructor of its {job['entry']}", self.file) from e
        if not isinstance(model, torch.nn.Module):
            raise Refusal(f"its {job['entry']} is no torch.nn.Module")
        self.model, self.call = model.to(self.device), model
        return {"parameters": self._load(job)}

    def do_state(self, job: Json) -> Json:
        """Load other parameters."""
        return {"parameters": self._load(job)}

    def _load(self, job: Json) -> str:
        """``copied``, ``none``, or why the reference's state does not fit."""
        if job["state"] is None:
            return "none"
        assert self.model is not None, "a function has no state"
        given = read_value(job["state"], job["folder"], self.device)
        own = self.model.state_dict()
        if set(own) != set(given):
            odd = sorted(set(own) ^ set(given))
            whose = "the candidate" if odd[0] in own else "the reference"
            found = f"only {whose} has {odd[0]}"
        elif wrong := [n for n in own if own[n].shape != given[n].shape]:
            found = f"{wrong[0]} has another shape"
        else:
            self.model.load_state_dict(given)
            found = "copied"
        self.state = {n: p.detach().clone() for n, p in self.model.named_parameters()}
        return found

    def do_run(self, job: Json) -> Json:
        """One call on the inputs of one trial, its results written as files."""
        inputs = read_value(job["inputs"], job["folder"], self.device)
        where = self._place(inputs, job["place"])
        given = self._outputs()
        seed_all(job["forward_seed"])
        value = self._called((*where.value, *given))
        results = self._results(given if self.outputs else value)
        copies = {n: t.clone() for n, t in results.items()}
        if self.device != "cpu":
            torch.cuda.synchronize()
        if any(not same_bits(t, kept) for t, kept in self.earlier):
            raise Refusal("a later call changed what an earlier call had returned: the results share a buffer")
        self._check(where, inputs, results, job)
        aliased = self._views_of(where, results)
        self.earlier = [] if aliased else [(t, copies[n]) for n, t in results.items() if t.is_contiguous()]
        described = [
            {"name": n, "tensor": write_tensor(t, job["out"], f"out.{i}")} for i, (n, t) in enumerate(copies.items())
        ]
        return {"results": described, "flags": self._moved_flags(), "threads": threading.active_count() - self.threads}

    def do_trace(self, job: Json) -> Json:
        """Operators and Triton kernels of one more call on the last inputs."""
        assert self.placed is not None, "a trace follows a run"
        value, given = self.placed.value, self._outputs()
        operators, kernels = self.launches.trace(lambda: self._called((*value, *given)))
        return {"operators": operators, "kernels": kernels}

    def do_time(self, job: Json) -> Json:
        """Times of calls with the inputs that each of ``seeds`` makes."""
        return {"ms": self._timed().run(self._timed_call, job["seeds"], self._results)}

    def do_kept(self, job: Json) -> Json:
        """The result of one timed call, as files."""
        kept = self._timed().kept[job["sample"]]
        described = [
            {"name": n, "tensor": write_tensor(t, job["out"], f"timed.{i}")} for i, (n, t) in enumerate(kept.items())
        ]
        return {"results": described, "flags": [], "threads": 0}

    def do_steady(self, job: Json) -> Json:
        """Milliseconds of calls back to back, and of enqueueing one."""
        return {"ms": self._timed().steady(self._timed_call, job["calls"])}

    def _timed(self) -> Any:
        from tools.harness.judging.gpu_calls import TimedCalls

        assert self.placed is not None, "what is timed has been run"
        if self.timed is None:
            self.timed_outputs = self._outputs()
            self.timed = TimedCalls(self.placed.value, copied(self.placed.value), self.device)
        return self.timed

    def _timed_call(self, *inputs: Any) -> Any:
        value = self._called((*inputs, *self.timed_outputs))
        return self.timed_outputs if self.outputs else value

    def _called(self, arguments: tuple[Any, ...]) -> Any:
        try:
            return self.call(*arguments)
        except BaseException as e:
            raise Raised(e, "it" if self.outputs or self.model is None else "its forward", self.file) from e

    def _place(self, inputs: tuple[Any, ...], place: str) -> Placed:
        """The inputs in guarded memory: at the addresses of the last call, or elsewhere."""
        fits = self.placed is not None and _layout(self.placed.value) == _layout(inputs)
        if place == "same" and fits and self.placed is not None:
            self.placed.refill(inputs)
            self.placed.value = tuple(
                old if isinstance(old, torch.Tensor) else new
                for old, new in zip(self.placed.value, inputs, strict=True)
            )
        else:
            self.placed = Placed(inputs, copy=True, extra=GUARD * secrets.randbelow(MOST_SHIFTS))
        return self.placed

    def _outputs(self) -> tuple[torch.Tensor, ...]:
        """Outputs for a function that is handed them, full of what no kernel computes, in guarded memory."""
        if not self.outputs:
            return ()
        like = tuple(torch.empty(x["shape"], dtype=dtype_named(x["dtype"]), device=self.device) for x in self.outputs)
        self.handed = Placed(like, copy=False)
        self.handed.poison(bool(secrets.randbits(1)), None)
        made: tuple[torch.Tensor, ...] = self.handed.value
        return made

    def _results(self, value: Any) -> dict[str, torch.Tensor]:
        found = {}
        for path, leaf in named_results(value, self.named).items():
            if isinstance(leaf, torch.Tensor) and type(leaf) not in (torch.Tensor, torch.nn.Parameter):
                raise Refusal(f"its result {path} is a {type(leaf).__name__}: return a plain tensor")
            made = as_tensor(leaf, self.named.get(path))
            if isinstance(leaf, torch.Tensor) and (made.device.type != self.device.partition(":")[0]):
                raise Refusal(f"its result {path} lies on {made.device}, its inputs on {self.device}")
            if made.layout != torch.strided:
                raise Refusal(f"its result {path} is {made.layout}: return a dense tensor")
            found[path] = made
        return found

    def _check(self, where: Placed, inputs: tuple[Any, ...], results: dict[str, torch.Tensor], job: Json) -> None:
        """That nothing was written which the reference does not write. Raises Refusal."""
        for path, flag in where.unchanged(inputs, tuple(job["may_change"])):
            if not bool(flag):
                what = f"its input {path}" if path else "memory beside its inputs"
                raise Refusal(f"it changes {what}, and the reference does not")
        if self.outputs and not bool(self.handed.gaps_unchanged()):
            raise Refusal("it writes outside its outputs")
        if self.model is not None:
            now = dict(self.model.named_parameters())
            for name, kept in self.state.items():
                if name not in now or not same_bits(now[name].detach().contiguous(), kept.contiguous()):
                    raise Refusal(f"its forward changes the parameter {name}")
        if not job["may_alias"] and self._views_of(where, results):
            raise Refusal("its result shares memory with an input, and the reference's does not")

    @staticmethod
    def _views_of(where: Placed, results: dict[str, torch.Tensor]) -> bool:
        places = {t.untyped_storage().data_ptr() for _, t in leaves(where.value) if isinstance(t, torch.Tensor)}
        return any(t.numel() and t.untyped_storage().data_ptr() in places for t in results.values())

    def _moved_flags(self) -> list[str]:
        now = numerics()
        return [f"{n}: {self.flags[n]} → {now[n]}" for n in now if now[n] != self.flags[n]]


def _layout(value: Any) -> list[Any]:
    return [
        (path, tuple(x.shape), x.dtype, x.stride()) if isinstance(x, torch.Tensor) else (path, type(x))
        for path, x in leaves(value)
    ]


def interpret() -> None:
    """What Triton's interpreter needs on a machine without a GPU; its autotuner takes the first config, as capture has
    it do."""
    import triton
    from triton.runtime import autotuner, driver

    from kernels.capture.interpreted_driver import InterpretedDriver
    from kernels.triton.interpreter_arguments import patch_scalars
    from kernels.triton.interpreter_bf16 import patch_bf16
    from kernels.triton.interpreter_libdevice import patch_libdevice

    if not triton.knobs.runtime.interpret:
        return
    patch_bf16()
    patch_scalars()
    patch_libdevice()
    driver.set_active(InterpretedDriver())
    tuner: Any = autotuner.Autotuner
    tuner._bench = lambda self, *args, config, **meta: [0.0, 0.0, 0.0]
