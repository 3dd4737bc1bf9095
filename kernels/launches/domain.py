"""Kinds of inputs beside the nominal ones, by name. A spec's ``domain`` names those that it does not take."""

KINDS = (
    "large",
    "mixed magnitudes",
    "shifted",
    "tiny",
    "denormal",
    "negative",
    "ties",
    "sorted",
    "infinite",
    "minus infinite",
)
FIRST = 3
"""As many kinds come before the tests of single inputs, the rest after them, if time is left."""
