"""What profilers of NVIDIA GPUs mean by their errors, as one sentence each."""

from __future__ import annotations

import re

PERMISSION = (
    "the driver does not permit counters to this user (an administrator can: NVreg_RestrictProfilingToAdminUsers=0, or "
    "the capability SYS_ADMIN or PERFMON for a container)"
)
BUSY = "another profiler holds the GPU: end it and ask again"
CUPTI = {
    7: BUSY,
    26: BUSY,
    39: BUSY,
    27: "CUPTI does not support it on this GPU",
    33: "a virtual GPU does not let its counters be read",
    35: PERMISSION,
    38: "CUPTI does not support it on this GPU",
    40: PERMISSION,
    41: "counters cannot be read under confidential computing",
    43: "counters cannot be read on a MIG slice",
}
"""CUPTI's result codes (cupti_result.h); Proton raises ``Failed to execute NAME with error CODE``."""
_CUPTI = re.compile(r"Failed to execute (cupti\w+) with error (\d+)")
_WORDS = (
    (re.compile(r"ERR_NVGPUCTRPERM|INSUFFICIENT_PRIVILEGES|Insufficient privileges", re.IGNORECASE), PERMISSION),
    (re.compile(r"already (?:enabled|in use|started)|ResourceUnavailable|resource.{0,40}in use", re.IGNORECASE), BUSY),
    (re.compile(r"Could not load `?\w*cupti|libcupti\S* (?:not found|cannot open)", re.IGNORECASE), "CUPTI is missing"),
)


def meaning(told: str) -> str:
    """`told`, a profiler's error, behind what it means if that is known."""
    known = _CUPTI.search(told)
    if known is not None and (code := int(known[2])) in CUPTI:
        return f"{CUPTI[code]} ({known[1]}: {code})"
    for pattern, sentence in _WORDS:
        if pattern.search(told):
            return sentence
    return " ".join(told.split())
