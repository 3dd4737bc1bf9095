"""Edited device code of a row, in the place of the program's function.

A file is somebody's code. So the source goes through the fence here, in the program's process, before anything is made
of it, whoever wrote the file; what is compiled is the text that the fence writes, by a process with a deadline
(``compiled_apart.py``). ``kernels/editing`` is imported only if a row that serves a launch holds such code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..tuned_table import Json
from .compiled_apart import NotCompiled, compile_apart
from .served import NotApplied


class ServedVariant:
    """Launches the variant that `source` describes instead of `function`.

    `passed`: arguments of the launch by name. `constants`: names of compile-time constants; `set_`: those that the row
    sets. Raises NotApplied with the reason if the fence refuses it, or if it is a variant of other code."""

    def __init__(
        self, source: Json, function: Any, passed: Mapping[str, Any], constants: frozenset[str], set_: Json
    ) -> None:
        from ...capture.reading.rebuilt_functions import CannotRebuild
        from ...editing.argument_values import numbers_left_out, values_of
        from ...editing.owner_function import owner_of
        from ...editing.refused_edit import RefusedEdit
        from ...editing.variants import complete, launch_instead, make_variant

        names = list(function.arg_names)
        given = {**passed, **set_}
        try:
            values = values_of(function, given, constants)
            owner = owner_of(function, values)
            left_out = [n for n in names if n in given and given[n] is None]
            owner = replace(owner, arguments={**values, **numbers_left_out(owner.tree, left_out)})
            if owner.part["identity"] != source["owner"]:
                raise RefusedEdit("it was made of other code than this function's")
            variant = make_variant(owner, source["source"], source["meta"], source["grid"])
            # All that a person was shown is the fence's own, without comments in the grid.
            if {**variant.recorded(), "hash": variant.hash, "values": source["values"]} != source:
                raise RefusedEdit("its text is not the one that its hash names")
            self._instead = launch_instead(variant, complete(variant, source["values"]), compile_apart)
        except (RefusedEdit, CannotRebuild) as e:
            raise NotApplied(f"its edited code is refused: {e}") from e
        self._refused: type[Exception] = RefusedEdit

    def launch(self, run: Callable[..., Any], function: Any, args: tuple[Any, ...], grid: Any, passed: Json) -> Any:
        """Launch the variant by `run`, Triton's own. Raises NotApplied if its grid cannot be launched, or if it is not
        compiled in time."""

        def go_on(other: Any, /, *positional: Any, grid: Any, **named: Any) -> Any:
            return run(other, *positional, grid=grid, warmup=False, **named)

        try:
            return self._instead(function, args, grid, passed, go_on)
        except self._refused as e:
            raise NotApplied(f"its edited code cannot be launched: {e}") from e
        except NotCompiled as e:
            raise NotApplied(str(e)) from e
