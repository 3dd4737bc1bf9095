"""Checks of what is installed: the packages that are needed, the optional ones, and whose the names of ours are."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Literal

from agent.cli.requirements import DISTRIBUTION, describe_problem, read_extras, read_requirements
from tools.harness.process.own_packages import PACKAGES, ROOT

State = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Finding:
    """One thing that was checked. The main job cannot run if anything is ``missing``."""

    name: str
    state: State
    said: str
    """What was found."""
    mend: str = ""
    """How to fix it."""


def check_packages() -> list[Finding]:
    """What the project needs, but PyTorch and Triton, which are checked by an import below: builds for other GPUs have
    other names, such as ``pytorch-triton-rocm``."""
    needed = [r for r in read_requirements() if r.name not in ("torch", "triton")]
    if not needed:
        said = f"{DISTRIBUTION} is not installed, so what it needs is not known"
        return [Finding("packages", "note", said, "pip install -e . in its folder")]
    problems = [(r, problem) for r in needed if (problem := describe_problem(r))]
    if problems:
        command = "pip install " + " ".join(f"'{r.name}{r.specifier}'" for r, _ in problems)
        return [Finding("packages", "missing", "; ".join(problem for _, problem in problems), command)]
    return [Finding("packages", "ok", f"all {len(needed)} that are needed are installed")]


def check_names() -> list[Finding]:
    """Whether something else has the names of this project's packages: the package index has another ``kernels``."""
    overwritten = overwritten_packages()
    if overwritten:
        said = f"{', '.join(overwritten)} are not this project's any more: another package of that name overwrote them"
        mend = f"uninstall that package, then pip install --force-reinstall --no-deps {DISTRIBUTION}"
        return [Finding("names", "missing", said, mend)]
    found = [
        spec.origin
        for name in PACKAGES
        if (spec := PathFinder.find_spec(name)) and is_elsewhere(name, spec) and not is_installed_copy(name, spec)
    ]
    if found:
        said = f"{', '.join(str(origin) for origin in found)} is not used: this project has a package of that name"
        return [Finding("names", "note", said, "rename it if Python code of yours imports both")]
    return [Finding("names", "ok", f"{', '.join(PACKAGES)} are this project's")]


def is_elsewhere(name: str, spec: ModuleSpec) -> bool:
    """Whether what Python would find by itself under this name is another's."""
    places = [Path(place).resolve() for place in spec.submodule_search_locations or ()]
    return ROOT / name not in places


def is_installed_copy(name: str, spec: ModuleSpec) -> bool:
    """Whether it is this project as pip installed it. In a clone, after ``pip install .``, the clone's code runs."""
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return False
    ours = (Path(str(file.locate())) for file in files if str(file) == f"{name}/__init__.py")
    return spec.origin is not None and any(Path(spec.origin).resolve() == path.resolve() for path in ours)


def overwritten_packages() -> list[str]:
    """Packages whose ``__init__.py`` is not the installed one. Empty for an installation that can be edited."""
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    ours = {f"{name}/__init__.py" for name in PACKAGES}
    return [str(f) for f in files if str(f) in ours and f.hash is not None and digest_of(f) != f.hash.value]


def digest_of(file: metadata.PackagePath) -> str:
    """The SHA-256 of an installed file as pip's record writes it; empty if the file is gone."""
    try:
        digest = hashlib.sha256(Path(str(file.locate())).read_bytes()).digest()
    except OSError:
        return ""
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def check_extras() -> list[Finding]:
    """The optional parts of the project."""
    findings = []
    for extra in read_extras():
        problems = [problem for r in read_requirements(extra) if (problem := describe_problem(r))]
        said = f"[{extra}]: {'; '.join(problems)}" if problems else f"[{extra}] is installed"
        mend = f"pip install '{DISTRIBUTION}[{extra}]'" if problems else ""
        findings.append(Finding("extra", "note" if problems else "ok", said, mend))
    return findings
