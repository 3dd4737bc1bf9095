"""A GPU that answers from a table after the time that it really took: the actor of the simulated fleet.

Imports nothing but the standard library, so that hundreds of actors fit one host.
"""

import time


class Sleeper:
    """One simulated device in a process of its own."""

    def __init__(self, table, hello):
        self._table, self._hello = table, hello

    def hello(self):
        return self._hello

    def calibrate(self, regime):
        return {"status": "correct", "reference_ms": 0.2, "card": self._hello["card"]}

    def measure(self, values, regime, samples, files):
        seconds, measurement = self._table[key(values)]
        time.sleep(seconds)
        return {"measurement": measurement, **self.calibrate(regime)}


class Dormitory:
    """Many simulated devices in one process: an asynchronous actor, where a process each would not fit the host."""

    def __init__(self, table, hello):
        self._sleeper = Sleeper(table, hello)

    async def hello(self):
        return self._sleeper.hello()

    async def calibrate(self, regime):
        return self._sleeper.calibrate(regime)

    async def measure(self, values, regime, samples, files):
        import asyncio

        seconds, measurement = self._sleeper._table[key(values)]
        await asyncio.sleep(seconds)
        return {"measurement": measurement, **self._sleeper.calibrate(regime)}


def key(values):
    return tuple(sorted(values.items()))
