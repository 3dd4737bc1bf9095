"""Players that send edits which were written before, through the same loop and tools as a language model.

``python -m tests.bench.bench_edits OUT --written`` sends those of Liger's launches (``written_edits``), and
``python -m evals source --model tests.bench.written_player:SourceWriter`` those of the slow kernels of source tasks
(``written_source_edits``). A language model wrote these that had seen the kernels as a player does, and no time."""

import json
from collections.abc import Sequence
from pathlib import Path

from agent.loop.prompt import DATA
from agent.models.base import Message, Reply, ToolSchema
from evals.source.form_sender import FormSender
from tests.bench.written_edits import WrittenEdit, written_edits


class Writer:
    """Implements :class:`agent.models.base.ChatModel`."""

    name = "written-edits"
    folder = Path(__file__).parent / "written_edits"
    left: tuple[str, ...] = ()
    """Kernels whose device code was left as it is."""

    def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], seconds: float, tokens: int | None = None
    ) -> Reply:
        """As the sender of the kernel's edit. Raises LookupError for a kernel without one."""
        kernel = kernel_of(messages)
        for edit in written_edits(self.folder):
            if self.is_of(edit, kernel):
                return FormSender(edit.arguments, edit.options).respond(messages, tools, seconds, tokens)
        if kernel in self.left:
            return FormSender(None).respond(messages, tools, seconds, tokens)
        raise LookupError(f"there is no written edit of {kernel}")

    def is_of(self, edit: WrittenEdit, kernel: str) -> bool:
        return kernel.startswith(f"captured.{edit.kernel}")


class SourceWriter(Writer):
    """Files have the names of the kernels."""

    folder = Path(__file__).parent / "written_source_edits"
    left = ("sum_of_arrays",)

    def is_of(self, edit: WrittenEdit, kernel: str) -> bool:
        return kernel == edit.name


def kernel_of(messages: Sequence[Message]) -> str:
    """The kernel that a run's first message names."""
    return str(json.loads(messages[0]["content"].rpartition(DATA)[2])["kernel"])
