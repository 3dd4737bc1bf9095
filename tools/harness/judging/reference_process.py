"""The reference's process: it draws inputs, keeps the expected results, and compares.

Expected values never leave it. The candidate's process gets the inputs as files of bytes, and hands its results back in
the same way.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import torch

from kernels.launches.bound import copied, same_bits
from kernels.launches.expected import default_bound
from kernels.launches.leaves import leaves, rebuild
from tools.harness.checking.stressed_inputs import CHANGES, changed
from tools.harness.checking.stressed_launch import SLACK
from tools.harness.checking.verify import blind_spot, result_fault, saturated, scale_error
from tools.harness.judging.operator_trace import operators_of
from tools.harness.judging.problems import JudgedProblem, make_problem
from tools.harness.judging.program_files import Raised, describe_error, seed_all
from tools.harness.judging.tensor_files import as_tensor, named_results, read_tensor, write_value
from tools.harness.process.refusal import Refusal

Json = dict[str, Any]
Results = dict[str, torch.Tensor]

NOMINAL, PARAMETERS, ALONE = "nominal", "other parameters", "other values of input "
TIMES_REFERENCE = 3.0
"""A result may be this many times as far from float64 as the reference in its own precision, or differ as two of its
runs do, if that is more than rounding of the dtype explains."""
ROUNDINGS = 4 * 2.0**-24
"""Relative change of an input, by which the sensitivity of the results is found out."""
MOST_SCATTER = 1 / 12
"""A reference whose runs on equal inputs differ by more of the largest value decides nothing (a random one)."""


@dataclass
class Expected:
    """What one trial must give."""

    like: Results
    """The results in the reference's own precision: shapes and dtypes are those of these."""
    exact: Results
    bounds: dict[str, float]
    saturating: bool


@dataclass
class ReferenceProcess:
    problem: JudgedProblem = field(init=False)
    file: str = field(init=False)
    named: dict[str, str] = field(default_factory=dict)
    """A definition's outputs with their dtypes."""
    expected: dict[int, Expected] = field(default_factory=dict)
    bounds: dict[str, float] = field(default_factory=dict)
    """Bounds by result, from the nominal trials so far."""
    scatter: dict[str, float] = field(default_factory=dict)
    why_not_wide: str = ""
    last: tuple[Any, ...] = ()
    timed: Any = None

    def serve(self, job: Json) -> Json:
        """One job. Whatever is wrong with the reference is refused with one sentence."""
        try:
            with torch.no_grad():
                answer: Json = getattr(self, f"do_{job['op']}")(job)
                return answer
        except Raised as e:
            raise Refusal(str(e)) from e

    def do_open(self, job: Json) -> Json:
        """Make the reference, run it twice on equal inputs, and write its constructor's arguments and its state."""
        torch.set_num_threads(job["threads"])
        try:
            torch.zeros(1, device=job["device"])
        except (RuntimeError, AssertionError) as e:  # a PyTorch without CUDA asserts
            return {"no_device": describe_error(e, job["file"])}
        self.file = job["file"]
        self.problem, self.named = make_problem(job), job["named"]
        inputs = self.problem.draw(secrets.randbits(62))
        first = self._results(self._run(inputs, secrets.randbits(62)))
        second = self._results(self._run(inputs, secrets.randbits(62)))
        if not first:
            raise Refusal("it returns no tensor")
        for name, t in first.items():
            self.scatter[name] = scale_error(second[name], t.double())
            if self.scatter[name] > MOST_SCATTER:
                raise Refusal(f"its result {name} is random, or NaN: two runs on equal inputs differ")
        again = self.problem.draw(secrets.randbits(62))
        state = self.problem.state()
        return {
            "init": write_value(self.problem.init, job["folder"], "init"),
            "state": write_value(state, job["folder"], "state") if state else None,
            "inputs": [path for path, t in leaves(inputs) if isinstance(t, torch.Tensor) and t.is_floating_point()],
            "parameters": self.problem.parameters(),
            "results": {n: {"shape": list(t.shape), "dtype": str(t.dtype)} for n, t in first.items()},
            "fresh": not all(_equal(a, b) for (_, a), (_, b) in zip(leaves(inputs), leaves(again), strict=True)),
            "changes": self._changed_inputs(inputs),
            "aliases": self._aliases(inputs),
            "bytes": sum(t.numel() * t.element_size() for t in first.values()),
            "device_name": torch.cuda.get_device_name(job["device"]) if job["device"] != "cpu" else "",
        }

    def do_parameters(self, job: Json) -> Json:
        """Other parameters from now on, all in general position: one that is zero or one shows nothing."""
        generator = torch.Generator().manual_seed(job["seed"])
        names = set(self.problem.parameters())
        state = {n: _moved(t, generator) if n in names else t for n, t in (self.problem.state() or {}).items()}
        self.problem.set_state(state)
        self.bounds.clear()
        return {"state": write_value(state, job["folder"], "state")}

    def do_draw(self, job: Json) -> Json:
        """Inputs of one trial, written as files, and what they must give, kept. ``unfit``: why these inputs decide
        nothing; ``blind``: what the check would let pass."""
        kind, nominal = job["kind"], job["kind"] in (NOMINAL, PARAMETERS)
        inputs = self.problem.draw(job["seed"])
        generator = torch.Generator(job["device"]).manual_seed(job["seed"] ^ 1)
        if kind.startswith(ALONE):
            inputs = changed(copied(inputs), _other, generator, kind.removeprefix(ALONE))
        elif not nominal:
            inputs = changed(copied(inputs), CHANGES[kind], generator)
        like = self._results(self._run(inputs, job["forward_seed"]))
        exact = self._exact(inputs, job["forward_seed"], like)
        empty = {"unfit": "", "blind": ""}
        if any(bool(torch.isnan(t).any()) for t in exact.values()):
            return {**empty, "unfit": "the reference gives NaN"}
        if nominal:
            self._learn(like, exact)
        moved = self._sensitivity(inputs, job["forward_seed"], exact, generator)
        bounds = {n: max(b, TIMES_REFERENCE * moved[n]) for n, b in self.bounds.items()}
        for name, t in exact.items():
            own = like[name]
            if not nominal:
                error = scale_error(*saturated(own, t))
                if TIMES_REFERENCE * error > MOST_SCATTER:
                    return {**empty, "unfit": f"the reference itself is off by {error:.2g} of the largest value"}
                bounds[name] = max(SLACK * bounds[name], TIMES_REFERENCE * error)
            elif t.numel() and own.is_floating_point() and (blind := blind_spot(t, bounds[name])):
                return {**empty, "blind": f"a bound of {bounds[name]:.3g} on its result {name} accepts {blind}"}
        self.expected[job["trial"]] = Expected(like, exact, bounds, not nominal)
        self.last = inputs
        written = write_value(inputs, job["folder"], "in")  # in place of the last trial's
        return {**empty, "inputs": written, "wide": not self.why_not_wide, "why_not_wide": self.why_not_wide}

    def do_compare(self, job: Json) -> Json:
        """Compare the candidate's files with what trial ``trial`` must give; ``reason`` is empty if all are right."""
        wanted = self.expected.pop(job["trial"])
        given: list[Json] = job["results"]
        if [x["name"] for x in given] != list(wanted.like):
            names = ", ".join(x["name"] for x in given)
            return _wrong(f"it returns the results {names or '(none)'}, the reference {', '.join(wanted.like)}")
        worst: Json = {"reason": "", "error": 0.0, "bound": 0.0}
        for x in given:
            name, like = x["name"], wanted.like[x["name"]]
            of = "its output" if len(given) == 1 else f"its result {name}"
            about = {k: x["tensor"][k] for k in ("shape", "dtype")}
            if about["shape"] != list(like.shape):
                return _wrong(f"{of} has the shape {about['shape']}, the reference's {list(like.shape)}")
            if f"torch.{about['dtype']}" != str(like.dtype):
                return _wrong(f"{of} is {about['dtype']}, the reference's {str(like.dtype).removeprefix('torch.')}")
            try:
                out = read_tensor(x["tensor"], job["folder"]).to(like.device)
            except Refusal as e:
                return _wrong(f"{of} was not handed over: {e}")
            pair = saturated(out, wanted.exact[name]) if wanted.saturating else (out, wanted.exact[name])
            why, error, bound = result_fault(*pair, wanted.bounds[name], False, False)
            if why:
                return {"reason": f"{of}: {why}", "error": error if error < float("inf") else None, "bound": bound}
            if not worst["bound"] or error * worst["bound"] > worst["error"] * bound:
                worst = {"reason": "", "error": error, "bound": bound}
        return worst

    def do_trace(self, job: Json) -> Json:
        """The operators that the reference runs on the inputs of the last trial."""
        return {"operators": operators_of(lambda: self.problem.run(copied(self.last)))}

    def do_time(self, job: Json) -> Json:
        """Times of the reference's calls, as the candidate's are taken."""
        from tools.harness.judging.gpu_calls import TimedCalls

        if self.timed is None:
            self.timed = TimedCalls(copied(self.last), self.last, job["device"])
        return {"ms": self.timed.run(self.problem.call, job["seeds"], self._results)}

    def do_steady(self, job: Json) -> Json:
        """Milliseconds of calls back to back, and of enqueueing one."""
        return {"ms": self.timed.steady(self.problem.call, job["calls"])}

    def do_compare_timed(self, job: Json) -> Json:
        """:meth:`do_compare` for a timed call, whose inputs ``seed`` made of those of the last trial."""
        from tools.harness.judging.gpu_calls import varied

        inputs = varied(self.last, job["seed"], job["device"])
        like = self._results(self._run(inputs, 0))
        self.expected[-1] = Expected(like, self._exact(inputs, 0, like), dict(self.bounds), False)
        return self.do_compare({**job, "trial": -1})

    def _run(self, inputs: tuple[Any, ...], seed: int) -> Any:
        seed_all(seed)
        try:
            return self.problem.run(copied(inputs))
        except BaseException as e:
            raise Raised(e, "its forward" if self.problem.init is not None else "its run", self.file) from e

    def _results(self, value: Any) -> Results:
        """Tensors by result; numbers as tensors without dimensions."""
        return {n: as_tensor(x, self.named.get(n)) for n, x in named_results(value, self.named).items()}

    def _exact(self, inputs: tuple[Any, ...], seed: int, like: Results) -> Results:
        """The results in float64, or in the reference's own precision if it does not run in float64."""
        seed_all(seed)
        try:
            wide = {n: t.double() for n, t in self._results(self.problem.run_wide(copied(inputs))).items()}
            if [(n, t.shape) for n, t in wide.items()] == [(n, t.shape) for n, t in like.items()]:
                return wide
            self.why_not_wide = "in float64 its results have other shapes"
        except Exception as e:  # noqa: BLE001 -- a stranger's code may not run in float64; its own precision stands
            self.why_not_wide = f"in float64 it {describe_error(e, self.file)}"
        return {n: t.double() for n, t in like.items()}

    def _sensitivity(
        self, inputs: tuple[Any, ...], seed: int, exact: Results, generator: torch.Generator
    ) -> dict[str, float]:
        """By result, how far it moves in float64 if each input of floating point moves by a few roundings of fp32: no
        order of summation can be expected to be nearer. 0 where that cannot be said."""
        if self.why_not_wide:
            return dict.fromkeys(exact, 0.0)

        def moved(path: str, leaf: Any) -> Any:
            if not isinstance(leaf, torch.Tensor) or not leaf.is_floating_point():
                return leaf
            noise = torch.randn(leaf.shape, generator=generator, device=leaf.device, dtype=torch.float64)
            return leaf.double() * (1 + ROUNDINGS * noise)

        found = self._exact(rebuild(inputs, moved), seed, exact)
        errors = {n: scale_error(*saturated(t, exact[n])) for n, t in found.items()}
        return {n: e if TIMES_REFERENCE * e < MOST_SCATTER else 0.0 for n, e in errors.items()}

    def _learn(self, like: Results, exact: Results) -> None:
        for name, t in like.items():
            own = TIMES_REFERENCE * max(scale_error(t, exact[name]), self.scatter[name])
            self.bounds[name] = max(self.bounds.get(name, 0.0), default_bound(t), own if own < 1 else 0.0)

    def _changed_inputs(self, inputs: tuple[Any, ...]) -> list[str]:
        """Inputs that the reference itself writes to."""
        given, kept = copied(inputs), copied(inputs)
        self.problem.run(given)
        pairs = zip(leaves(given), leaves(kept), strict=True)
        return [path for (path, a), (_, b) in pairs if not _equal(a, b)]

    def _aliases(self, inputs: tuple[Any, ...]) -> bool:
        """Whether a result of the reference is a view of an input."""
        given = copied(inputs)
        places = {t.untyped_storage().data_ptr() for _, t in leaves(given) if isinstance(t, torch.Tensor)}
        found = [t for _, t in leaves(self.problem.run(given)) if isinstance(t, torch.Tensor) and t.numel()]
        return any(t.untyped_storage().data_ptr() in places for t in found)


def _wrong(reason: str) -> Json:
    return {"reason": reason, "error": None, "bound": None}


def _equal(a: Any, b: Any) -> bool:
    if not isinstance(a, torch.Tensor):
        return bool(a == b)
    return a.shape == b.shape and same_bits(a.contiguous(), b.contiguous())


def _other(x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    return torch.randn(x.shape, generator=g, device=x.device).to(x.dtype) + 0.5


def _moved(t: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """A parameter that nobody can foresee, of about the same size; what was nowhere negative stays so."""
    wide = t.detach().cpu().to(torch.promote_types(t.dtype, torch.float32))
    size = wide.square().mean().sqrt() if wide.numel() else wide.sum()
    scale = float(size) or 0.1
    made = wide * (1 + 0.3 * torch.randn(wide.shape, generator=g))
    made += 0.1 * scale * torch.randn(wide.shape, generator=g)
    return (made.abs() if bool((wide >= 0).all()) and bool((wide > 0).any()) else made).to(t.dtype)
