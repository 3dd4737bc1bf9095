"""A GPU that answers from a table after the time that it really took: the actor of the simulated fleet.

Imports nothing but the standard library, so that hundreds of actors fit one host.
"""

import time
from typing import Any

Json = dict[str, Any]


class Sleeper:
    """One simulated device in a process of its own."""

    def __init__(self, table: dict[Any, Any], hello: Json) -> None:
        self._table, self._hello = table, hello

    def hello(self) -> Json:
        return self._hello

    def calibrate(self, regime: str) -> Json:
        return {"status": "correct", "reference_ms": 0.2, "card": self._hello["card"]}

    def measure(self, values: Json, regime: str, samples: Any, files: Any) -> Json:
        seconds, measurement = self._table[key(values)]
        time.sleep(seconds)
        return {"measurement": measurement, **self.calibrate(regime)}


class Dormitory:
    """Many simulated devices in one process: an asynchronous actor, where a process each would not fit the host."""

    def __init__(self, table: dict[Any, Any], hello: Json) -> None:
        self._sleeper = Sleeper(table, hello)

    async def hello(self) -> Json:
        return self._sleeper.hello()

    async def calibrate(self, regime: str) -> Json:
        return self._sleeper.calibrate(regime)

    async def measure(self, values: Json, regime: str, samples: Any, files: Any) -> Json:
        import asyncio

        seconds, measurement = self._sleeper._table[key(values)]
        await asyncio.sleep(seconds)
        return {"measurement": measurement, **self._sleeper.calibrate(regime)}


def key(values: Json) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(values.items()))
