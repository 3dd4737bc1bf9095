"""What the project needs by its own metadata, and what is installed of it."""

from __future__ import annotations

from importlib import metadata

from packaging.requirements import Requirement

DISTRIBUTION = "triton-autokernel"


def read_requirements(extra: str = "") -> list[Requirement]:
    """What the project, or one extra of it, needs on this platform; empty if the project is not installed."""
    try:
        found = [Requirement(line) for line in metadata.requires(DISTRIBUTION) or ()]
    except metadata.PackageNotFoundError:
        return []
    without_extra = [r for r in found if r.marker is None or r.marker.evaluate({"extra": ""})]
    if not extra:
        return without_extra
    return [r for r in found if r not in without_extra and r.marker is not None and r.marker.evaluate({"extra": extra})]


def read_extras() -> list[str]:
    """The extras for users; ``dev`` is for those who develop the project."""
    try:
        extras = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return []
    return [extra for extra in extras if extra != "dev"]


def describe_problem(requirement: Requirement) -> str:
    """What is wrong with the installed version; empty if nothing is."""
    version = version_of(requirement.name)
    if version is None:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} {version} is installed, {requirement.specifier} is needed"
    return ""


def version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
