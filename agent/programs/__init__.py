"""Programs that nobody changed: capture their Triton launches, read them, apply tuned configs to them.

from agent.programs import apply, capture

with capture("run.capture"):
    train()
with apply("tuned.json"):
    train()
"""

from agent.programs.applying import Applied, apply
from agent.programs.capturing import capture

__all__ = ["Applied", "apply", "capture"]
