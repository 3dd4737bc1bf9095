"""A device worker that takes its GPU for one without published facts."""

from tools.harness.measuring import worker as real


def worker(init):
    real.known_hardware = lambda name: None
    return real.worker(init)
