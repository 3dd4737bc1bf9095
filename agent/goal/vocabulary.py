"""The words a goal may use: kernel names, their aliases and options, and the field's ways to spell a value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kernels.registry import get, names
from memory.terms import Metric

SPELLINGS: dict[str, tuple[str, ...]] = {
    "fp16": ("half precision", "float16", "half", "f16"),
    "bf16": ("bfloat16", "bfloat", "brain float"),
    "fp32": ("float32", "single precision", "f32", "float"),
    "fp64": ("float64", "double precision", "f64"),
    "tf32": (),
    "fp8": ("float8", "fp8e4m3", "e4m3"),
    "e5m2": ("fp8e5m2", "fp8 e5m2", "float8 e5m2"),
    "fp4": ("nvfp4", "mxfp4"),
    "int8": (),
    "int4": (),
    "leaky_relu": ("leakyrelu",),
    "gelu": ("gelu tanh", "tanh gelu", "gelu (tanh)"),
    "silu": ("swish",),
    "none": ("no activation", "without activation", "without an activation"),
    "row": ("row major",),
    "col": ("column major", "col major"),
    "column": ("column major", "col major"),
}
"""Other spellings of an option's value. Hyphens and underscores read as spaces."""

DTYPES = ("fp16", "bf16", "fp32", "fp64", "tf32", "fp8", "e5m2", "fp4", "int8", "int4")
"""Number formats that are recognised, so that one the kernel lacks is refused by name."""

BARE = frozenset({"none", "row", "col", "column"})
"""Values that mean something only in one of their longer spellings."""

PER_WATT = ("per watt", "per w", "/w", "/watt")
"""After a rate."""


def _rates(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}{' ' if per.startswith('per') else ''}{per}" for name in names for per in PER_WATT)


METRICS: dict[Metric, tuple[str, ...]] = {
    "tflops_per_watt": (*_rates("tflop/s", "tflops/s", "tflops", "gflops", "flops", "flop/s"), "flops per joule"),
    "gbps_per_watt": (*_rates("gb/s", "gbps", "tb/s", "memory bandwidth", "bandwidth"), "bytes per joule"),
    "joules": ("joules per launch", "joules", "joule", "millijoules", "mj", "energy use", "energy consumption"),
    "tflops": ("tflop/s", "tflops/s", "tflops", "tflop", "teraflops", "flop/s", "flops"),
    "gbps": ("memory bandwidth", "bandwidth", "gb/s", "gbps", "gbytes/s", "tb/s"),
    "latency": ("latency", "microseconds", "milliseconds", "run time", "runtime"),
}

WEAK_METRICS: dict[str, Metric | None] = {
    "energy efficiency": "joules",
    "power efficiency": "joules",
    "efficiency": "joules",
    "performance per watt": "joules",
    "per watt": "joules",
    "energy": "joules",
    "fastest": "latency",
    "throughput": None,
}
"""Words that give way to a named unit; ``None`` is the kernel's own metric. Least joules per launch is most of any rate
per watt."""

GPUS = ("a100", "h100", "h200", "b200", "l40s", "rtx 4090", "4090", "mi300x")

OTHER_OPERATIONS = """
attention flashattention softmax layernorm rmsnorm batchnorm groupnorm norm conv conv1d conv2d conv3d convolution swiglu
geglu glu moe rope embedding dropout scan sort topk fft histogram transpose reduction gemv spmm grouped batched sparse
backward sigmoid tanh elu mish hardswish softplus quantized quantised dequant
"""

FOREIGN = frozenset(OTHER_OPERATIONS.split())
"""Words that name an operation: a goal that holds one which no kernel here answers to is refused."""

NO_CHOICE = """
a an the of for on in at to and or with by as is it its this that my our your me us please you can could would i we want
need make get give find reach tune optimise optimize maximise maximize minimise minimize improve increase reduce lower
raise beat speed up faster fast quick quickly best most least highest lowest possible performance efficient efficiently
optimal optimum kernel kernels triton gpu gpus pytorch torch size shape problem precision dtype using use run than from
over per within matrix matrices square multiply epilogue config configuration configs do try search activation output
input inputs operation op followed one single
"""

FILLER = frozenset(NO_CHOICE.split())
"""Words that carry no choice."""


@dataclass(frozen=True)
class KernelWords:
    """What a goal can say of one kernel."""

    name: str
    aliases: tuple[str, ...]
    dims: tuple[str, ...]
    choices: dict[str, tuple[str | bool, ...]]
    """Option name → values a goal may choose: the strings of a closed set, or ``True`` and ``False``."""


def registered() -> tuple[KernelWords, ...]:
    """The words of every registered kernel, in the registry's order."""
    return tuple(words_of(name) for name in names())


def words_of(kernel: str) -> KernelWords:
    """The words of one kernel by name, ``path.py:NAME`` or ``module:NAME``; the registry's own errors pass through."""
    spec = get(kernel)
    properties = spec.problem_type.model_json_schema().get("properties", {})
    choices: dict[str, tuple[str | bool, ...]] = {}
    for field, schema in properties.items():
        if schema.get("type") == "boolean":
            choices[field] = (True, False)
        elif values := [v for v in schema.get("enum", [schema.get("const")]) if isinstance(v, str)]:
            choices[field] = tuple(values)
    return KernelWords(spec.name, tuple(spec.aliases), tuple(spec.problem_type.dims), choices)


def spoken(word: str) -> str:
    """A name or value as a goal spells it: lower case, hyphens and underscores as spaces."""
    return " ".join(word.lower().replace("_", " ").replace("-", " ").split())


def spellings(value: str) -> tuple[str, ...]:
    """Every way to say `value`, longest first."""
    own = () if value in BARE else (value,)
    return longest_first(spoken(word) for word in (*own, *SPELLINGS.get(value, ())))


def longest_first(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(words), key=lambda word: (-len(word), word)))
