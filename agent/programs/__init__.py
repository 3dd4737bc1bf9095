"""Programs that nobody changed: capture their Triton launches, read them.

from agent.programs import capture

with capture("run.capture"):
    train()
"""

from agent.programs.capturing import capture

__all__ = ["capture"]
