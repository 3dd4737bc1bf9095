"""Argument models that several tools share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, create_model

from memory.shared_models import Closed

if TYPE_CHECKING:
    from kernels.spec import KernelSpec

MAX_CONFIGS = 32
"""Configs in one call: enough to save turns, few enough that an answer stays small."""


def config_list(name: str, spec: KernelSpec[Any, Any], purpose: str) -> type[BaseModel]:
    """A model with one field ``configs``: 1 to 32 of the kernel's own closed configs."""
    field = Field(min_length=1, max_length=MAX_CONFIGS, description=purpose)
    return create_model(name, __base__=Closed, configs=(list[spec.config_type], field))  # type: ignore[name-defined]
