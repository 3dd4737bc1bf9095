"""The parts of the fence: limits, names, kinds of values, calls."""
