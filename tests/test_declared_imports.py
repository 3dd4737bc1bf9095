"""Every package that the five rooms import is declared in pyproject.toml, as a dependency or in an extra."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("agent", "tools", "kernels", "memory", "evals")
FOR_DEVELOPERS = "dev"
"""The extra with the test tools. A user does not install it, so it declares nothing for the rooms."""


def declared(root: Path) -> tuple[set[str], set[str]]:
    """Normalised names (PEP 503) of the dependencies, and of what the extras for users add."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    optional = [r for extra, requirements in extras.items() if extra != FOR_DEVELOPERS for r in requirements]
    return {_name(r) for r in project["dependencies"]}, {_name(r) for r in optional}


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def imports(root: Path) -> Iterator[tuple[str, str]]:
    """``path:line`` and top-level package of every absolute import in the rooms, those inside functions included."""
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names: list[str] = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    names = [node.module]
                for name in names:
                    yield f"{path.relative_to(root)}:{node.lineno}", name.partition(".")[0]


def undeclared(root: Path) -> list[str]:
    """Imports of a package that no declared distribution provides. A package that is not installed (of an extra) counts
    as a distribution of its own name."""
    needed, optional = declared(root)
    providers = packages_distributions()
    known = {*sys.stdlib_module_names, *ROOMS}
    return [
        f"{where} imports {package}, which pyproject.toml does not declare"
        for where, package in imports(root)
        if package not in known and not {_name(d) for d in providers.get(package, [package])} & (needed | optional)
    ]


def test_every_import_is_declared():
    assert undeclared(ROOT) == []


def test_every_dependency_is_imported():
    providers = packages_distributions()
    used = {_name(d) for _, package in imports(ROOT) for d in providers.get(package, [package])}
    assert declared(ROOT)[0] - used == set()


def test_an_undeclared_import_is_noticed(tmp_path):
    project = '[project]\ndependencies = ["click>=8.1", "nvidia-ml-py"]\n[project.optional-dependencies]\n'
    (tmp_path / "pyproject.toml").write_text(project + 'dev = ["pytest>=8"]\nray = ["ray>=2.40"]\n')
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "a.py").write_text(
        "import json, click, pynvml\nfrom memory import b\nfrom . import c\n\n"
        "def ask():\n    import ray.util\n    from pytest import raises\n    import no_such_package.part\n"
    )
    assert undeclared(tmp_path) == [
        "memory/a.py:7 imports pytest, which pyproject.toml does not declare",
        "memory/a.py:8 imports no_such_package, which pyproject.toml does not declare",
    ]
