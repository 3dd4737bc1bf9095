"""What is judged against what: two files, read and checked before anything of them runs."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.errors import EvalsError

Json = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """A reference and a candidate."""

    form: str
    """``module`` (KernelBench) or ``function`` (a definition)."""
    title: str
    reference: str
    candidate: str
    """As the user named them."""
    reference_name: str
    reference_source: str
    candidate_sources: dict[str, str]
    """Relative path → text."""
    candidate_file: str
    """The one of them that is imported."""
    entry: str
    """What is called in it."""
    described: Json = field(default_factory=dict)
    """A definition's inputs (:class:`tools.harness.judging.problems.FunctionProblem`)."""
    outputs: list[Json] = field(default_factory=list)
    """Outputs that the candidate is handed; none if it returns them."""
    named: dict[str, str] = field(default_factory=dict)
    """A definition's outputs with their dtypes, in order."""
    workload: str | None = None
    notes: tuple[str, ...] = ()


def read_text(path: Path) -> str:
    """A file's text, without a byte order mark. Raises EvalsError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as e:
        raise EvalsError(f"{path} cannot be read: {(e.strerror or str(e)).lower()}") from e
    except UnicodeDecodeError as e:
        raise EvalsError(f"{path} is not UTF-8: give a text file") from e


def module_pair(reference: Path, candidate: Path) -> Pair:
    """KernelBench's form. Raises EvalsError if the reference lacks a name; what the candidate lacks is its verdict."""
    source = read_text(reference)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as e:
        raise EvalsError(f"{reference} is no Python: {e.msg if isinstance(e, SyntaxError) else e}") from e
    missing = [name for name in ("Model", "get_inputs") if name not in names_in(tree)]
    if missing:
        raise EvalsError(f"{reference} has no {' and no '.join(missing)}: a problem defines Model and get_inputs")
    return Pair(
        form="module",
        title="KernelBench",
        reference=str(reference),
        candidate=str(candidate),
        reference_name=reference.name,
        reference_source=source,
        candidate_sources={candidate.name: read_text(candidate)},
        candidate_file=candidate.name,
        entry="ModelNew",
    )


def names_in(tree: ast.AST) -> set[str]:
    """Names that are defined, assigned or imported anywhere in a file."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    return found
