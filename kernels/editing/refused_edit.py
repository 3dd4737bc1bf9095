"""Why an edit is refused."""

from __future__ import annotations

import ast


class RefusedEdit(ValueError):
    """The edit uses something that is not on the list. The message is one sentence that names it and its line."""

    def __init__(self, what: str, where: ast.AST | int | None = None) -> None:
        line = where if isinstance(where, int) else getattr(where, "lineno", None)
        self.line: int | None = line
        super().__init__(f"line {line}: {what}" if line is not None else what)
