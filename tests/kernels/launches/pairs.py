"""All kernels of these tests, each beside its twin, which is wrong in one thing."""

from __future__ import annotations

import sys

from tests.kernels.launches import more_kernels as more
from tests.kernels.launches import own_kernels as own

OTHER_KERNELS = {
    own.Cleared: own.uncleared,
    own.PreHook: own.uncleared,
    own.OwnerHook: own.uncleared,
    more.PostHook: more.wrongly_post_hooked,
    more.HookedDescriptor: more.shaped_by_half,
}
"""The kernels of twins that are wrong in a hook. Other twins say of themselves that they are ``wrong``."""
CLASSES = [
    own.TwoOutputs, own.NamedOutputs, own.InPlace, own.SlicedInput, own.StridedOutput, own.ExpandedInput, own.Overrun,
    own.Pointers, own.TupleAndNone, own.Arranged, own.ScratchAndUnwritten, own.KeywordConstexpr, own.ByName,
    own.PruneMakes, own.Cleared, own.PreHook, own.OwnerHook, own.Heuristics, own.GridOfSms, own.Restored, own.Function,
    own.AliasedOutput, own.Random, own.PairAndTable, own.Descriptors, own.Indexed, more.PackedInputs,
    more.DeviceDescriptor, more.PostHook, more.RestoredAbsent, more.NotSpecialized, more.OwnAutotuner,
    more.HookedDescriptor, more.DescribedRoles,
]  # fmt: skip


def twin(kind: type) -> type:
    """A class of this module, by which other processes find it."""
    fault = {"kernel": OTHER_KERNELS[kind]} if kind in OTHER_KERNELS else {"wrong": True}
    name = f"{kind.__name__}Twin"
    made = type(name, (kind,), {**fault, "name": f"{kind.name}_twin", "__module__": __name__})
    setattr(sys.modules[__name__], name, made)
    return made


PAIRS = [(kind, twin(kind)) for kind in CLASSES] + [more.DRIVER_AT_IMPORT, more.BY_PROCESS]
"""Functions or classes that make a kernel, and its twin."""
