"""A kernel whose import takes time, in processes that are told so, and whose compilation takes as long as its config
says."""

import os
import time

from tests.exploits.axpy import Axpy
from tests.faults.broken import FaultyConfig

SECONDS = "SLOW_TO_IMPORT_S"
time.sleep(float(os.environ.get(SECONDS, 0)))


class SlowToImport(Axpy):
    """`n` of its config are the tenths of a second that a compilation takes longer."""

    config_type = FaultyConfig

    def launch(self, problem, config, inputs, out, hardware):
        time.sleep(config.n / 10)
        super().launch(problem, config, inputs, out, hardware)
