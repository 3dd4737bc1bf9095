"""What a run knows of variants that were tried on inputs that nobody chose (``variant_proof.py``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from memory.terms import variant_of
from tools.harness.results import UNDECIDED, CheckResult

if TYPE_CHECKING:
    from kernels.spec import Config

SOUND = ("correct", "infrastructure")
"""Nothing is known against a variant with these."""
PLACE = ", inputs that nobody chose"
"""The end of the place of such a check."""


def tried_variants(checked: Mapping[Config, CheckResult]) -> dict[str, CheckResult]:
    """The verdict on each variant that was tried. What our own machinery spoilt is tried again; what float64 could not
    decide in the time is left to the final sitting."""
    rows = ((variant_of(c), r) for c, r in checked.items() if r.where.endswith(PLACE))
    return {name: r for name, r in rows if name and (r.status != "infrastructure" or r.reason == UNDECIDED)}


def wrong_variants(checked: Mapping[Config, CheckResult]) -> dict[str, str]:
    """Variants that were wrong there, with the reason."""
    return {name: r.reason for name, r in tried_variants(checked).items() if r.status not in SOUND}
