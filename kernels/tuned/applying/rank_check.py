"""Compares over torch.distributed what the ranks apply.

The digests go through the store by which the ranks found each other, so that no device and no backend is needed.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

from ...capture.module_patcher import ModulePatcher
from ...standard_error import say
from ..tuned_table import short

LONGEST_WAIT = timedelta(seconds=60)
"""For a rank that applies no table and so writes no digest."""
NO_TABLE = "no table"


class RanksDiffer(RuntimeError):
    """The message names the ranks."""


class RankCheck(ModulePatcher):
    """Compares as soon as the program has called ``init_process_group``. `digest`: None if this rank has no table."""

    def __init__(self, digest: str | None) -> None:
        modules = ("torch.distributed.distributed_c10d", "torch.distributed")
        super().__init__(dict.fromkeys(modules, self._patch))
        self._digest = digest
        self._compared = False

    def _patch(self, module: ModuleType) -> None:
        self.replace(module, "init_process_group", self._comparing)

    def _comparing(self, init: Callable[..., Any]) -> Callable[..., Any]:
        if hasattr(init, "_autokernel_compares"):
            return init  # torch.distributed takes the function from the module below it

        @functools.wraps(init)
        def init_process_group(*args: Any, **kwargs: Any) -> Any:
            result = init(*args, **kwargs)
            if not self._compared:
                self._compared = True
                line = verify_ranks(self._digest)
                if sys.modules["torch"].distributed.get_rank() == 0:
                    say(f"apply: {line}.")
            return result

        init_process_group._autokernel_compares = True  # type: ignore[attr-defined]
        return init_process_group


def verify_ranks(digest: str | None) -> str:
    """Compare `digest` with that of every other rank; what was found, as a sentence. Every rank must call it.

    Raises RanksDiffer, in every rank, if the digests differ or a rank does not answer."""
    distributed: Any = sys.modules["torch"].distributed
    c10d: Any = sys.modules["torch.distributed.distributed_c10d"]
    rank, count = distributed.get_rank(), distributed.get_world_size()
    store = distributed.PrefixStore("autokernel_apply", c10d._get_default_store())
    store.set(f"table {rank}", digest or NO_TABLE)
    try:
        store.wait([f"table {i}" for i in range(count)], LONGEST_WAIT)
    except Exception as e:  # each kind of store raises its own error when the time is over
        raise RanksDiffer(
            f"not every one of {count} ranks wrote the digest of its table: apply the table to all of them"
        ) from e
    found = [store.get(f"table {i}").decode() for i in range(count)]
    # The store lives in one of the ranks, which must not end before the others have read. Once it has, it may end, and
    # with it the wait of another.
    with contextlib.suppress(RuntimeError):
        store.set(f"read {rank}", "")
        store.wait([f"read {i}" for i in range(count)], LONGEST_WAIT)
    if len(set(found)) > 1:
        shown = ", ".join(f"rank {i}: {short(d)}" for i, d in enumerate(found))
        raise RanksDiffer(f"the ranks apply other tables ({shown}): give all of them one file")
    return f"{count} ranks apply the same table ({short(found[0])})"
