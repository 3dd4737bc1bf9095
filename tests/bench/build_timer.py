"""Times checks of one build's configs, for ``bench_side_by_side``: started in the folder of that build, whose packages
it imports, whichever build this file belongs to. Jobs and answers are lines of JSON."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

Values = dict[str, Any]

COMPILERS = 8
"""Of each build; two compile at once."""


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a kernel prints is no answer
    kernel, device, cache = sys.argv[1:4]
    checks = Interpreted(kernel) if device == "interpreter" else Live(kernel, device, Path(cache))
    for line in sys.stdin:
        job = json.loads(line)
        answer: Any
        if job["op"] == "space":
            answer = checks.space()
        elif job["op"] == "known":
            answer = [values for values in job["configs"] if checks.config_of(values) is not None]
        elif job["op"] == "compile":
            answer = checks.compile([checks.config_of(values) for values in job["configs"]])
        else:
            answer = checks.timed(job["config"])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Checks:
    """One kernel's configs, by their values."""

    def __init__(self, kernel: str) -> None:
        from kernels.registry import get

        self.spec = get(kernel)
        self.problem = self.spec.default_problem()

    def space(self) -> list[Values]:
        from kernels.hardware import hardware_named

        return [c.model_dump(mode="json") for c in self.spec.space(self.problem, hardware_named("H200"))]

    def config_of(self, values: Values) -> Any:
        """The config; ``None`` if this build has none of these values."""
        try:
            return self.spec.config_type.model_validate(values)
        except ValueError:
            return None

    def compile(self, configs: list[Any]) -> list[str]:
        """Compile ahead, if this kind of check compiles; the statuses."""
        return []

    def check(self, config: Any) -> str:
        """The status of one check."""
        raise NotImplementedError

    def timed(self, values: Values) -> Values:
        config = self.config_of(values)
        began = time.perf_counter()
        status = self.check(config)
        return {"status": status, "seconds": time.perf_counter() - began}


class Interpreted(Checks):
    def __init__(self, kernel: str) -> None:
        from tools.harness.checking.interpreter import Interpreter

        super().__init__(kernel)
        self.interpreter = Interpreter()

    def check(self, config: Any) -> str:
        return self.interpreter.check(self.spec, self.problem, [config], "H200")[0].status


class Live(Checks):
    def __init__(self, kernel: str, device: str, cache: Path) -> None:
        from tools.harness.devices.live import LiveDevice

        super().__init__(kernel)
        self.cache = cache
        self.device = LiveDevice.open(device, self.spec, self.problem, cache=cache)

    def compile(self, configs: list[Any]) -> list[str]:
        from tools.harness.compiling.compile_pool import LocalCompilePool

        pool = LocalCompilePool(self.device.hardware, COMPILERS, self.cache)
        try:
            return [result.status for result in pool.compile(self.spec, self.problem, configs)]
        finally:
            pool.close()

    def check(self, config: Any) -> str:
        """As in a run: the check on nominal inputs, then a screening."""
        checked = self.device.check([config])[0]
        return checked.status if checked.status != "correct" else self.device.measure([config])[0].status


if __name__ == "__main__":
    main()
