"""Whole runs in this process on a recorded GPU with invented times: the real loop, memory, trace and compiler."""

import json
import os
import sqlite3
import threading
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import triton

from agent.cli.commands import main
from kernels.hardware import hardware_named
from memory.shared_models import DeviceInfo
from tests.exploits.axpy import Axpy, AxpyProblem, axpy
from tools.harness.compiling import compile_pool
from tools.harness.landscapes.files import write_landscape
from tools.harness.landscapes.readings import BaselineReadings, Entry, Landscape, ReadingSet, Round
from tools.harness.process.child import ChildKilled, ChildUnborn
from tools.harness.process.refusal import Refusal
from tools.harness.results import CheckResult

ONE_AT_A_TIME = threading.Lock()


class InProcess:
    """A compile child that is no process: the same factory and answers, without seconds of imports."""

    def __init__(self, factory, init=None, env=None, writable=None, forked=False, nice=0):
        self._init, self._environment, self._serve = init, env or {}, None
        self.alive, self.loaded = True, set()

    def begin(self, init):
        self._init = init

    def call(self, job, deadline_s):
        from tools.harness.compiling.compiler import compiler

        with ONE_AT_A_TIME, patch.dict(os.environ, self._environment), patch("os.setpriority"):
            if not self.alive:
                raise ChildKilled("the pool was closed")
            if self._serve is None:
                try:
                    self._serve = compiler(self._init)
                except Refusal as e:
                    raise ChildUnborn(str(e)) from e
            return self._serve(job)

    def kill(self):
        """Wait for a compilation under way, as for the end of a process: it has this process's stdout meanwhile."""
        with ONE_AT_A_TIME:
            self.alive = False


class Checker:
    """Stands for the interpreter, which needs a process of its own: every config is right."""

    def __init__(self, shut_in=False):
        pass

    def check(self, spec, problem, configs, hardware):
        return [CheckResult(config=c.model_dump(mode="json"), status="correct", where="a test") for c in configs]

    def close(self):
        pass


def write_world(path, versions):
    """A landscape of four configs on an H200 with invented times, and nobody's measurement."""
    spec, problem = Axpy(), AxpyProblem()
    entries = {}
    for place, config in enumerate(spec.space(problem, hardware_named("H200"))):
        ms = 0.05 + 0.01 * place

        def sitting(ms=ms, place=place):
            samples, beside = [ms * (1 + 1e-3 * i) for i in range(4)], [0.1 * (1 + 1e-3 * i) for i in range(4)]
            return ReadingSet(samples_ms=samples, reference_ms=beside, order=place, at=float(place), seconds=0.1)

        entry = Entry(
            config=config.model_dump(mode="json"), status="correct", sets={"A": sitting(), "B": sitting()}, error=0.0,
            bound=1e-3,
        )  # fmt: skip
        entries[entry.key] = entry
    rounds = [Round(number=k, regime="burst", samples_ms=[0.1, 0.1001, 0.1002], at=float(k)) for k in range(6)]
    write_landscape(
        Landscape(
            name="world", kernel=spec.name, source=spec.source_hash(), problem=problem.model_dump(mode="json"),
            label=problem.label(), device=DeviceInfo(kind="recorded", name="NVIDIA H200", hardware="H200", **versions),
            entries=entries, baselines=[BaselineReadings(name="unfused", title="2 * x + y", rounds=rounds)],
            reference="unfused", recorded_at="2026-01-01T00:00:00+00:00",
        ),
        path,
    )  # fmt: skip


class World:
    """A folder with a landscape; runs are made in it with a memory of choice. By default the landscape was recorded
    with this machine's Triton, so that what is compiled here counts."""

    def __init__(self, folder, **versions):
        self.folder = folder
        write_world(folder / "world.json", versions or {"triton": triton.__version__})

    @contextmanager
    def made(self, home):
        """Everything but the trouble: no process is started, and the compile cache of each home is its own."""
        axpy.device_caches.clear()
        environment = {"XDG_DATA_HOME": str(home / "data"), "XDG_CACHE_HOME": str(home / "cache")}
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AUTOKERNEL_MODEL"):
            environment[name] = ""
        with ExitStack() as stack:
            stack.enter_context(patch.dict(os.environ, environment))
            stack.enter_context(patch("tools.harness.checking.interpreter.Interpreter", Checker))
            stack.enter_context(patch.object(compile_pool, "Child", InProcess))
            yield

    def run(self, memory, *more, device=None):
        """Exit code of a run; it prints."""
        words = ["maximise bandwidth", "--kernel", "tests.exploits.axpy:Axpy", "--memory", str(memory), "--json"]
        return main([*words, "--device", device or f"recorded:{self.folder / 'world.json'}", *more])


def verdicts(memory):
    """Attempts of a memory file that say something against a config."""
    if not memory.exists():
        return []
    connection = sqlite3.connect(memory)
    try:
        return connection.execute(
            "SELECT status, reason FROM attempts WHERE status NOT IN ('correct', 'infrastructure', 'pending')"
        ).fetchall()
    except sqlite3.OperationalError:  # no table: the disk was full before there was one
        return []
    finally:
        connection.close()


def found(out):
    """What a run found, of its one JSON object."""
    result = json.loads(out)
    return {"best": result["best"]["config"], "proven": result["proven"], "evaluations": result["evaluations"]}
