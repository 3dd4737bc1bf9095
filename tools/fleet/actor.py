"""What one Ray actor serves: a GPU, through the same two child processes as on a single-GPU machine.

A hang, a crash or a broken context kills a child and gets its true status here, in the actor, which lives on. What goes
in and out is plain JSON-like data.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memory.terms import Regime
from tools.fleet.artifacts import Files, unpack
from tools.fleet.reference import Reference, ReferenceFailed
from tools.harness.compiling.cache import default_cache
from tools.harness.device import DeviceError, MachineTrouble
from tools.harness.devices.live import SCREEN_SAMPLES, LiveDevice
from tools.harness.process.gpu_workers import JOB_DEADLINE_S, WORKER
from tools.harness.process.identity import rebuild
from tools.harness.results import Figure, Measurement

Answer = dict[str, Any]

REFERENCE_SAMPLES: dict[Regime, int] = {"burst": SCREEN_SAMPLES, "sustained": 1}


class DeviceWorker:
    """One GPU, bound to one kernel and problem. Ray shows it to this process as the only one."""

    def __init__(
        self,
        description: Answer,
        cache: str | None = None,
        factory: str = WORKER,
        deadline_s: float = JOB_DEADLINE_S,
    ) -> None:
        """`description` is :func:`tools.harness.process.identity.describe`'s; the rest are options of
        :class:`tools.harness.process.gpu_workers.GpuWorkers`."""
        self._description, self._factory, self._deadline_s = description, factory, deadline_s
        self._cache = Path(cache) if cache else default_cache()
        self._device: LiveDevice | None = None
        self._card = ""
        """Host and index: what a reading is said to come from."""
        self._reference = Reference(self._read)

    def hello(self) -> Answer:
        """Start the children; what the GPU is and what runs here, or ``missing``: why it cannot be used."""
        from ray import get_gpu_ids, get_runtime_context

        try:
            spec, problem = rebuild(self._description)
            self._device = LiveDevice.open("cuda:0", spec, problem, self._cache, self._factory)
            self._device.workers.deadline_s = self._deadline_s
        except (DeviceError, ValueError) as e:
            return {"missing": str(e)}
        self._card = f"{socket.gethostname()} cuda:{','.join(str(i) for i in get_gpu_ids())}"
        return {
            "info": self._device.info.model_dump(mode="json"),
            "card": self._card,
            "node": get_runtime_context().get_node_id(),
            "source": spec.source_hash(),
        }

    def calibrate(self, regime: Regime) -> Answer:
        """The reference's time here, ms."""
        return self._unless_gone(self._calibrate, regime)

    def measure(self, values: Answer, regime: Regime, samples: int | None, files: Files | None) -> Answer:
        """A measurement as read on this card, and the reference's time around it."""
        return self._unless_gone(self._measure, values, regime, samples, files)

    def check(self, values: Answer, files: Files | None) -> Answer:
        return self._unless_gone(self._check, values, files)

    def contend(self, several: list[Answer], regime: Regime, figure: Figure, files: list[Files | None]) -> Answer:
        """All of it on this card, in one sitting."""
        return self._unless_gone(self._contend, several, regime, figure, files)

    def prove(
        self,
        values: Answer,
        regime: Regime,
        max_seconds: float,
        figure: Figure,
        beside: Answer | None,
        *files: Files | None,
    ) -> Answer:
        """On this card, in one sitting. `files` are those of the config and of the one beside it."""
        return self._unless_gone(self._prove, values, regime, max_seconds, figure, beside, *files)

    def _unless_gone(self, do: Callable[..., Answer], *arguments: Any) -> Answer:
        """What `do` answers, or ``gone``: why this host or its GPU can do nothing any more."""
        try:
            return do(*arguments)
        except MachineTrouble as e:
            return {"gone": str(e)}

    def _calibrate(self, regime: Regime) -> Answer:
        try:
            return {"status": "correct", "reference_ms": self._reference.ms(regime), "card": self._card}
        except ReferenceFailed as e:
            return {"status": "infrastructure", "reason": str(e)}

    def _measure(self, values: Answer, regime: Regime, samples: int | None, files: Files | None) -> Answer:
        self._unpack(files)
        [m] = self.device.measure([self._config(values)], regime, samples)
        if m.status != "correct":
            return {"measurement": m.model_dump(mode="json")}
        beside = self._calibrate(regime)
        if beside["status"] != "correct":
            return beside
        return {"measurement": m.model_dump(mode="json"), **beside}

    def _check(self, values: Answer, files: Files | None) -> Answer:
        self._unpack(files)
        return self.device.check([self._config(values)])[0].model_dump(mode="json")

    def _contend(self, several: list[Answer], regime: Regime, figure: Figure, files: list[Files | None]) -> Answer:
        for one in files:
            self._unpack(one)
        found = self.device.contend([self._config(values) for values in several], regime, figure)
        return {"measurements": [m.model_dump(mode="json") for m in found], **self._calibrate(regime)}

    def _prove(
        self,
        values: Answer,
        regime: Regime,
        max_seconds: float,
        figure: Figure,
        beside: Answer | None,
        *files: Files | None,
    ) -> Answer:
        for one in files:
            self._unpack(one)
        other = None if beside is None else self._config(beside)
        proof = self.device.prove(self._config(values), regime, max_seconds, figure, other).model_dump(mode="json")
        return proof | {"how": f"{proof['how']} ({self._card})"} if proof["how"] else proof

    def no_energy(self) -> Answer:
        return {"why": self.device.no_energy()}

    def ceilings(self) -> dict[str, float]:
        return self.device.ceilings()

    @property
    def device(self) -> LiveDevice:
        if self._device is None:
            raise RuntimeError("hello() comes first")
        return self._device

    def _config(self, values: Answer) -> Any:
        return self.device.spec.config_type.model_validate(values)

    def _read(self, regime: Regime) -> Measurement:
        baseline = self.device.spec.baselines(self.device.problem)[0]
        return self.device.measure_baseline(baseline, regime, REFERENCE_SAMPLES[regime])

    def _unpack(self, files: Files | None) -> None:
        if files:
            unpack(files, self._cache)
