"""What a finalist is tried on beside the nominal inputs, by name. A spec's ``domain`` names what it does not take."""

SHIFTED = "shifted"
KINDS = (
    "large",
    "mixed magnitudes",
    SHIFTED,
    "tiny",
    "denormal",
    "negative",
    "ties",
    "half zeros",
    "sorted",
    "infinite",
    "minus infinite",
)
"""Kinds of values."""
FIRST = 3
"""As many kinds come before the tests of single inputs, the rest after them, if time is left."""

SHAPES = ("odd sizes", "one tile less", "one tile more", "one-element sizes", "zero sizes")
"""Kinds of shapes around the problem's (:mod:`tools.harness.checking.held_out`)."""
SHAPES_OF = "shapes of launch"
"""Begins the name of a further kind: another captured launch of the same function."""
