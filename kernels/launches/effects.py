"""What a launch does to its memory: which inputs it writes, and which of its writes nobody reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effects:
    """Names as :func:`input_name` and :func:`kernels.launches.leaves.leaves` give them."""

    inplace: tuple[str, ...] = ()
    """Paths of inputs that the launch writes. Each of them is a result and is verified, unless it is scratch."""
    scratch: tuple[str, ...] = ()
    """Results that nobody reads after the launch: never verified."""
    unwritten: tuple[str, ...] = ()
    """Results of which the launch leaves some elements as they are: those that the reference gives as NaN."""


def input_name(path: str) -> str:
    """The name, as a result, of the input at `path`: ``input 0``, or its own name if inputs have names."""
    return f"input {path}" if path.partition(".")[0].isdecimal() else path
