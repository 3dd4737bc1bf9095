"""Players that send edits which were written before, through the same loop and tools as a language model.

``python -m tests.bench.bench_edits OUT --written`` sends those of Liger's launches (``written_edits``), and
``python -m evals source --model tests.bench.written_player:SourceWriter`` those of the slow kernels of source tasks
(``written_source_edits``). A language model wrote these that had seen the kernels as a player does, and no time."""

from pathlib import Path

from evals.source.form_sender import FormSender
from tests.bench.written_edits import written_edits


class Writer:
    """Implements :class:`agent.models.base.ChatModel`."""

    name = "written-edits"
    folder = Path(__file__).parent / "written_edits"

    def respond(self, messages, tools, seconds, tokens=None):
        """As the sender of the kernel's edit; see `without`."""
        system = messages[0]["content"]
        for edit in written_edits(self.folder):
            if self.is_of(edit, system):
                return FormSender(edit.arguments, edit.options).respond(messages, tools, seconds, tokens)
        return self.without(messages, tools, seconds, tokens)

    def is_of(self, edit, system):
        return f'"captured.{edit.kernel}' in system

    def without(self, *asked):
        """For a kernel without an edit. Raises LookupError."""
        raise LookupError("there is no written edit of this kernel")


class SourceWriter(Writer):
    """Files have the names of the kernels. A kernel without a file is one that is not edited."""

    folder = Path(__file__).parent / "written_source_edits"

    def is_of(self, edit, system):
        return f'"kernel": "{edit.name}"' in system

    def without(self, *asked):
        return FormSender(None).respond(*asked)
