"""The frozen list of device functions that edited code may use, resolved against the Triton that is installed.

The list is written out: nothing is found by walking through modules. A name that this version of Triton lacks is left
out. What a name in a source stands for is compared with these objects by identity, so an alias is what it is an alias
of, and a name that was made to stand for something else is refused.

Left out on purpose are inline assembly, external functions, printing, ``map_elementwise``, compare-and-swap and polling
atomics, pointer types, target queries, and everything of ``tl.extra`` but chosen functions of libdevice.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

Group = Literal[
    "numbers", "shapes", "memory", "atomics", "combine", "claims", "cast", "filled", "like", "block_pointer",
    "descriptor", "loop", "unrolled", "constexpr", "assertion", "program", "dtype", "namespace", "choice", "float",
]  # fmt: skip
"""What a function takes and gives. ``numbers``: numbers to numbers, never pointers. ``shapes``: another shape of the
same elements, pointers included. ``memory``: loads and stores through a pointer or descriptor. ``combine``: takes a
function. ``claims``: claims that the compiler believes. ``filled`` and ``like``: new tensors. ``program``: the place in
the grid. ``choice``: an enumeration, whose members are values."""


def names_in(text: str) -> tuple[str, ...]:
    """The words of `text`."""
    return tuple(text.split())


NUMBERS = names_in("""
    abs add arange argmax argmin bitonic_merge cdiv ceil clamp cos cumprod cumsum debug_barrier div_rn dot
    dot_scaled erf exp exp2 fdiv floor fma histogram log log2 max maximum min minimum mul pair_uniform_to_normal
    philox philox_impl rand rand4x randint randint4x randn randn4x rsqrt sigmoid sin softmax sort sqrt sqrt_rn sub
    sum swizzle2d topk uint_to_uniform_float umulhi xor_sum reduce_or
""")
SHAPES = names_in("""
    broadcast broadcast_to cat expand_dims flip gather interleave join permute ravel reshape split squeeze trans
    unsqueeze view where to_tensor
""")
MEMORY = names_in("""
    load store load_tensor_descriptor store_tensor_descriptor atomic_load atomic_store
""")
ATOMICS = names_in("""
    atomic_add atomic_and atomic_max atomic_min atomic_or atomic_xchg atomic_xor
""")
CLAIMS = names_in("""
    assume max_constancy max_contiguous multiple_of
""")
DTYPES = names_in("""
    bfloat16 float16 float32 float64 float8e4b15 float8e4b8 float8e4nv float8e5 float8e5b16 int1 int8 int16 int32
    int64 uint8 uint16 uint32 uint64
""")
OTHERS: dict[str, Group] = {
    "reduce": "combine",
    "associative_scan": "combine",
    "cast": "cast",
    "full": "filled",
    "zeros": "filled",
    "zeros_like": "like",
    "make_block_ptr": "block_pointer",
    "advance": "shapes",
    "make_tensor_descriptor": "descriptor",
    "range": "loop",
    "static_range": "unrolled",
    "constexpr": "constexpr",
    "static_assert": "assertion",
    "program_id": "program",
    "num_programs": "program",
    "PropagateNan": "choice",
}
MATH = names_in("""
    abs ceil cos div_rn erf exp exp2 fdiv floor fma log log2 rsqrt sin sqrt sqrt_rn umulhi
""")
LIBDEVICE = names_in("""
    abs acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh cospi div_rd div_rn div_ru div_rz erf
    erfc erfcinv erfcx erfinv exp exp10 exp2 expm1 fast_cosf fast_dividef fast_exp10f fast_expf fast_log10f
    fast_log2f fast_logf fast_powf fast_sinf fast_tanf fast_tanhf fdim floor fma fmod hypot ilogb isfinited
    finitef isinf isnan ldexp lgamma llrint llround log log10 log1p log2 logb nearbyint nextafter norm3d norm4d
    normcdf normcdfinv pow popc clz rcbrt remainder rhypot rint round rsqrt saturatef scalbn signbit sin sinh
    sinpi sqrt sqrt_rn tan tanh tgamma trunc float_as_int int_as_float float_as_uint uint_as_float
    add_rd add_rn add_ru add_rz mul_rd mul_rn mul_ru mul_rz sub_rd sub_rn sub_ru sub_rz
    rcp_rd rcp_rn rcp_ru rcp_rz sqrt_rd sqrt_ru sqrt_rz rsqrt_rn fma_rd fma_rn fma_ru fma_rz
    float2int_rd float2int_rn float2int_ru float2int_rz int2float_rd int2float_rn int2float_ru int2float_rz
    float2uint_rd float2uint_rn float2uint_ru float2uint_rz uint2float_rd uint2float_rn uint2float_ru uint2float_rz
    brev byte_perm ffs hadd rhadd mul24 mulhi sad j0 j1 y0 y1 cyl_bessel_i0 cyl_bessel_i1
""")
MODULES = {
    "triton": "triton",
    "triton.language": "tl",
    "triton.language.math": "tl.math",
    "triton.language.extra": "tl.extra",
    "triton.language.extra.cuda": "tl.extra.cuda",
    "triton.language.extra.libdevice": "libdevice",
    "triton.language.extra.cuda.libdevice": "tl.extra.cuda.libdevice",
}
"""Modules that a name may stand for: only the attributes that this file lists can be read from them."""
BUILTINS: dict[str, Group] = {"range": "loop", "min": "numbers", "max": "numbers", "float": "float"}
"""Of Python's own names. ``range`` is a loop of the device; ``float`` takes a number, or the text of an infinity."""
CHOICES = {"PropagateNan": ("ALL", "NONE")}
VALUE_METHODS = names_in("""
    abs argmax argmin associative_scan atomic_add atomic_and atomic_max atomic_min atomic_or atomic_xchg
    atomic_xor broadcast_to cast cdiv ceil cos cumprod cumsum erf exp exp2 expand_dims flip floor gather histogram
    log log2 max min permute ravel reduce reshape rsqrt sigmoid sin softmax sort split sqrt sqrt_rn store sum
    trans view xor_sum advance
""")
"""Methods of a tensor that are the listed function of the same name, with the tensor as its first argument."""
DESCRIPTOR_METHODS = names_in("""
    load store gather scatter atomic_add atomic_and atomic_max atomic_min atomic_or atomic_xor
""")
DTYPE_FACTS = ("primitive_bitwidth", "itemsize")
DTYPE_QUESTIONS = names_in("""
    is_bf16 is_bool is_floating is_fp16 is_fp32 is_fp64 is_fp8 is_int is_int1 is_int8 is_int16 is_int32 is_int64
    is_int_signed is_int_unsigned is_ptr is_standard_floating is_uint8 is_uint16 is_uint32 is_uint64
""")


@dataclass(frozen=True)
class DeviceName:
    """One object of the list."""

    name: str
    """As it is written in messages: ``tl.exp``."""
    group: Group
    value: Any
    module: str
    attribute: str
    """Where a rebuilt function imports it from."""


def _written() -> Iterator[tuple[str, str, Group]]:
    """(module, attribute, group) of every name."""
    language = "triton.language"
    yield from ((language, n, "numbers") for n in NUMBERS)
    yield from ((language, n, "shapes") for n in SHAPES)
    yield from ((language, n, "memory") for n in MEMORY)
    yield from ((language, n, "atomics") for n in ATOMICS)
    yield from ((language, n, "claims") for n in CLAIMS)
    yield from ((language, n, "dtype") for n in DTYPES)
    yield from ((language, n, group) for n, group in OTHERS.items())
    yield from ((f"{language}.math", n, "numbers") for n in MATH)
    for module in ("triton.language.extra.libdevice", "triton.language.extra.cuda.libdevice"):
        yield from ((module, n, "numbers") for n in LIBDEVICE)
    yield from (("triton", n, "numbers") for n in ("cdiv", "next_power_of_2"))
    yield from (("builtins", n, group) for n, group in BUILTINS.items())


@cache
def listed() -> dict[int, DeviceName]:
    """Every object of the list by its identity."""
    found: dict[int, DeviceName] = {}
    for module, attribute, group in _written():
        try:
            value = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            continue
        written = attribute if module == "builtins" else f"{MODULES[module]}.{attribute}"
        found.setdefault(id(value), DeviceName(written, group, value, module, attribute))
    return found


@cache
def modules() -> dict[int, str]:
    """The modules of the list by their identity, with their dotted name."""
    found = {}
    for name in MODULES:
        try:
            found[id(importlib.import_module(name))] = name
        except ImportError:
            continue
    return found


def attribute_of(module: str, attribute: str) -> Any | None:
    """What the list holds under `attribute` of the module `module`: an object of it, or a module; None if nothing."""
    if (inner := f"{module}.{attribute}") in MODULES:
        return sys.modules.get(inner)
    if (module, attribute) not in _pairs():
        return None
    return getattr(sys.modules[module], attribute, None)


@cache
def _pairs() -> frozenset[tuple[str, str]]:
    return frozenset((module, attribute) for module, attribute, _ in _written())


def look_up(value: Any) -> DeviceName | None:
    """The entry of `value`, by identity."""
    found = listed().get(id(value))
    return found if found is not None and found.value is value else None


def method_of_list(name: str) -> DeviceName | None:
    """The listed function that the method `name` of a tensor stands for."""
    import triton.language as tl

    if name in ("cast", "to"):
        return look_up(tl.cast)
    if name not in VALUE_METHODS:
        return None
    value = getattr(tl, name, None)
    if value is None:  # 3.9 has `advance` as a method alone
        return DeviceName(f"tl.{name}", "shapes", None, "triton.language", name) if name == "advance" else None
    return look_up(value)


def method_of_descriptor(name: str) -> DeviceName | None:
    """The method `name` of a tensor descriptor, with the descriptor as its first argument."""
    import triton.language as tl

    value = getattr(tl.core.tensor_descriptor, name, None) if name in DESCRIPTOR_METHODS else None
    return None if value is None else DeviceName(name, "memory", value, "triton.language", name)


BUILTIN_NAMES = frozenset(dir(builtins))
"""Names that Triton and Python find without a binding. A local of such a name must be bound wherever it is read."""
