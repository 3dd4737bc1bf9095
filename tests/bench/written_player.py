"""The player of ``python -m tests.bench.bench_edits OUT --written``: it sends the written edit of the kernel that it is
given, through the same loop and tools as a language model (``--model tests.bench.written_player:Writer``)."""

from evals.source.form_sender import FormSender
from tests.bench.written_edits import written_edits


class Writer:
    """Implements :class:`agent.models.base.ChatModel`."""

    name = "written-edits"

    def respond(self, messages, tools, seconds, tokens=None):
        """As the sender of the kernel's edit. Raises LookupError for a kernel without one."""
        system = messages[0]["content"]
        for edit in written_edits():
            if f'"captured.{edit.kernel}' in system:
                return FormSender(edit.arguments, edit.options).respond(messages, tools, seconds, tokens)
        raise LookupError("there is no written edit of this kernel")
