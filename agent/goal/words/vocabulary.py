"""The words a goal may use: kernel names, their aliases and options, and the field's ways to spell a value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from kernels.registry import get, names
from memory.terms import Metric

SPELLINGS: dict[str, tuple[str, ...]] = {
    "fp16": ("half precision", "float16", "f16"),
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
    "row": ("row major b", "b row major", "row major"),
    "col": ("column major b", "b column major", "column major", "col major"),
    "column": ("column major", "col major"),
}
"""Other spellings of an option's value. Hyphens and underscores read as spaces."""

FIELD_SPELLINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "scales": {
        "row": ("row wise scales", "rowwise scales", "row scales", "per row scales", "scales per row"),
        "tensor": ("tensor wise scales", "tensorwise scales", "tensor scales", "per tensor scales"),
    },
    "routing": {
        "even": ("even routing", "routed evenly", "evenly routed"),
        "skewed": ("skewed routing", "skewed groups", "uneven routing"),
        "single": ("routed to one expert", "all rows to one expert", "single expert"),
    },
}
"""Of options whose values mean something else elsewhere, the only spellings."""

OPTION_ONLY = {"half": "fp16"}
"""Spellings that ``--dtype`` takes and a goal does not: "half the latency" is no dtype."""

SWITCHES: dict[str, tuple[str, ...]] = {
    "causal": ("causal masking", "causal mask", "causally masked"),
    "saved": ("saved statistics", "given statistics"),
}
"""More names of a switch that is on."""
SWITCHED_OFF: dict[str, tuple[str, ...]] = {
    "causal": ("noncausal", "bidirectional"),
    "saved": ("recomputed statistics", "statistics recomputed"),
}
"""Words that switch it off."""

DIMENSION_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "attention": {
        "B": ("batch size", "batch"),
        "H": ("query heads", "attention heads", "heads"),
        "S": ("sequence length", "seq length", "seq len", "seqlen", "context length", "context", "sequence", "seq"),
        "D": ("head dimension", "head dim", "head size", "headdim"),
    },
    "attention_backward": {
        "B": ("batch size", "batch"),
        "H": ("query heads", "attention heads", "heads"),
        "S": ("sequence length", "seq length", "seq len", "seqlen", "context length", "sequence", "seq"),
        "D": ("head dimension", "head dim", "head size", "headdim"),
    },
    "grouped_matmul": {
        "M": ("rows",),
        "N": ("intermediate size",),
        "K": ("hidden size", "hidden dimension", "hidden dim", "hidden"),
        "E": ("experts",),
        "align": ("alignment",),
    },
    "softmax": {"M": ("rows",), "N": ("columns", "cols")},
    "rms_norm": {
        "M": ("rows", "tokens"),
        "N": ("hidden size", "hidden dimension", "hidden dim", "hidden", "columns", "cols"),
        "eps": ("epsilon",),
    },
    "layer_norm": {
        "M": ("rows", "tokens"),
        "N": ("hidden size", "hidden dimension", "hidden dim", "hidden", "columns", "cols"),
        "eps": ("epsilon",),
    },
    "rms_norm_backward": {
        "M": ("rows", "tokens"),
        "N": ("hidden size", "hidden dimension", "hidden dim", "hidden", "columns", "cols"),
        "eps": ("epsilon",),
    },
    "layer_norm_backward": {
        "M": ("rows", "tokens"),
        "N": ("hidden size", "hidden dimension", "hidden dim", "hidden", "columns", "cols"),
        "eps": ("epsilon",),
    },
    "fused_linear_cross_entropy": {
        "M": ("rows", "tokens"),
        "N": ("vocabulary size", "vocab size", "vocabulary", "vocab"),
        "K": ("hidden size", "hidden dimension", "hidden dim", "hidden"),
        "ignore_index": ("ignored index",),
    },
    "swiglu": {"M": ("rows", "tokens"), "N": ("intermediate size", "columns", "cols")},
    "conv2d": {
        "N": ("batch size", "batch"),
        "H": ("height",),
        "W": ("width",),
        "C": ("input channels", "in channels"),
        "K": ("output channels", "out channels", "filters"),
    },
}
"""Kernel → dimension or numeric option → the words that name it beside its own name."""

PAIRS: dict[str, dict[tuple[str, str], tuple[str, ...]]] = {
    "conv2d": {
        ("R", "S"): ("filter size", "kernel size", "filter", "kernel"),
        ("H", "W"): ("image size", "images", "image", "feature maps", "feature map", "pixels"),
    }
}
"""Kernel → two dimensions that are written as ``3x3`` beside one of these words. Beside the kernel's own name it is the
first pair: a 3x3 convolution."""

SHARED_HEADS: dict[str, tuple[str, str]] = {"attention": ("H", "GROUP")}
"""Kernel → its query heads, and how many of them share a head of keys and values."""

IMPLIED: dict[str, dict[str, str]] = {"linear": {"activation": "none"}}
"""Name of a kernel → what it says of the options that a goal does not name: a linear layer has no activation."""

DTYPES = ("fp16", "bf16", "fp32", "fp64", "tf32", "fp8", "e5m2", "fp4", "int8", "int4")
"""Number formats that are recognised, so that one the kernel lacks is refused by name."""

BARE = frozenset({"none", "row", "col", "column", "tensor"})
"""Values that mean something only in one of their longer spellings."""

PER_WATT = ("per watt", "per w", "/w", "/watt")
"""After a rate."""


def _rates(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}{' ' if per.startswith('per') else ''}{per}" for name in names for per in PER_WATT)


METRICS: dict[Metric, tuple[str, ...]] = {
    "tflops_per_watt": (*_rates("tflop/s", "tflops/s", "tflops", "gflops", "flops", "flop/s"), "flops per joule"),
    "gbps_per_watt": (*_rates("gb/s", "gbps", "tb/s", "memory bandwidth", "bandwidth"), "bytes per joule"),
    "joules": ("joules per launch", "joules", "joule", "millijoules", "energy use", "energy consumption"),
    "tflops": ("tflop/s", "tflops/s", "tflops", "tflop", "teraflops", "flop/s", "flops"),
    "gbps": ("memory bandwidth", "bandwidth", "gb/s", "gbps", "gbytes/s", "tb/s"),
    "latency": ("latency", "microseconds", "milliseconds", "run time", "runtime", "execution time"),
}

WEAK_METRICS: dict[str, Metric | None] = {
    "energy efficient": "joules",
    "power efficient": "joules",
    "energy efficiency": "joules",
    "power efficiency": "joules",
    "efficiency": "joules",
    "performance per watt": "joules",
    "per watt": "joules",
    "energy": "joules",
    "fastest": "latency",
    "time": "latency",
    "throughput": None,
}
"""Words that give way to a named unit; ``None`` is the kernel's own metric. Least joules per launch is most of any rate
per watt."""

UPWARD = ("maximise", "maximize", "maximum", "max", "increase", "raise", "highest", "higher", "most", "more", "boost")
DOWNWARD = (
    "minimise",
    "minimize",
    "minimum",
    "min",
    "reduce",
    "lower",
    "lowest",
    "least",
    "less",
    "decrease",
    "shortest",
)
"""Words that say in which direction the metric shall go."""

NEGATIONS = ("not", "no", "without", "w/o", "never", "don't", "dont", "doesn't", "isn't", "avoid", "except",
             "excluding", "exclude", "disable", "skip", "non", "neither", "nor",
             "instead", "rather", "unlike", "sans", "pas", "senza", "niet", "geen")  # fmt: skip
"""A goal says what it wants. What it does not want is understood of switches and of the activation alone."""

GPU = (
    r"(?:nvidia |amd |geforce )?(?:(?:rtx|gtx) (?:pro )?a?\d{4}(?: (?:ti|super|ada))?|rtx\d{4}|"
    r"a100|a10g?|a16|a2|a30|a40|a[456]000|h100|h200|h800|h20|gh200|b100|b200|b300|gb200|gb300|l40s?|l20|l4|t4|v100|p100|"
    r"[2345]0[6789]0(?: (?:ti|super))?|mi\d{3}[axb]?)"
)
"""Names of GPUs: the device must be one."""

OTHER_OPERATIONS = """
attention flashattention softmax layernorm rmsnorm batchnorm groupnorm norm conv conv1d conv2d conv3d convolution swiglu
geglu glu moe rope embedding dropout scan sort topk fft histogram transpose reduction gemv spmm grouped batched sparse
backward gradient gradients sigmoid tanh elu mish hardswish softplus quantized quantised dequant relu6 selu prelu
depthwise cumsum argmax
"""

FOREIGN = frozenset(OTHER_OPERATIONS.split())
"""Words that name an operation: a goal that holds one which no kernel here answers to is refused."""

OTHER_FUNCTIONS = ("quick gelu", "fast gelu", "exact gelu", "erf gelu", "squared relu", "linear attention",
                   "sparse attention", "sliding window", "paged attention", "batched gemm")  # fmt: skip
"""Phrases whose words are known one by one, and which mean something that no kernel here computes."""

NO_CHOICE = """
a an the of for on in at to and with by as is it its this that my our your me us please you can could would i we
want need make get give find reach hit achieve target tune tuning tuned optimise optimize optimised optimized improve
speed up faster fast quick quickly best possible performance performant efficient efficiently optimal optimum kernel
kernels triton gpu pytorch torch size shape problem using use run within matrix matrices multiply config configuration
do try search operation op operator followed should must layer but
"""

FILLER = frozenset(NO_CHOICE.split())
"""Words that carry no choice."""

FIELD_WORDS: dict[str, tuple[str, ...]] = {
    "activation": ("activation", "epilogue"),
    "dtype": ("dtype", "precision"),
    "b_layout": ("layout",),
    "scales": ("scales", "scaling"),
}
"""Names of an option: they carry no choice beside its value, and without it they do."""


@dataclass(frozen=True)
class KernelWords:
    """What a goal can say of one kernel."""

    name: str
    aliases: tuple[str, ...]
    dims: tuple[str, ...]
    choices: dict[str, tuple[str | bool, ...]]
    """Option name → values a goal may choose: the strings of a closed set, or ``True`` and ``False``."""
    numbers: dict[str, type[int] | type[float]] = field(default_factory=dict)
    """Numeric options that are no dimensions, with the kind of their number."""
    defaults: dict[str, int] = field(default_factory=dict)
    """Whole numbers of the problem that is tuned when a goal names none; empty for a kernel whose goals need none."""


def registered() -> tuple[KernelWords, ...]:
    """The words of every registered kernel, in the registry's order."""
    return tuple(words_of(name) for name in names())


def words_of(kernel: str) -> KernelWords:
    """The words of one kernel by name, ``path.py:NAME`` or ``module:NAME``; the registry's own errors pass through."""
    spec = get(kernel)
    problem_type: Any = spec.problem_type
    choices, numbers = _options_of(problem_type)
    dims = tuple(spec.problem_type.dims)
    asked = spec.name in PAIRS or SHARED_HEADS.get(spec.name, ("", ""))[1] in numbers
    default = spec.default_problem().model_dump() if asked else {}
    defaults = {name: value for name, value in default.items() if type(value) is int}
    return KernelWords(spec.name, tuple(spec.aliases), dims, dict(choices), dict(numbers), defaults)


@cache
def _options_of(
    problem_type: Any,
) -> tuple[dict[str, tuple[str | bool, ...]], dict[str, type[int] | type[float]]]:
    """``choices`` and ``numbers`` of KernelWords, of a subclass of Problem."""
    choices: dict[str, tuple[str | bool, ...]] = {}
    numbers: dict[str, type[int] | type[float]] = {}
    dims = tuple(problem_type.dims)
    for name, schema in problem_type.model_json_schema().get("properties", {}).items():
        if schema.get("type") == "boolean":
            choices[name] = (True, False)
        elif values := [v for v in schema.get("enum", [schema.get("const")]) if isinstance(v, str)]:
            choices[name] = tuple(values)
        elif schema.get("type") in ("integer", "number") and name not in dims:
            numbers[name] = int if schema["type"] == "integer" else float
    return choices, numbers


def spoken(word: str) -> str:
    """A name or value as a goal spells it: lower case, hyphens and underscores as spaces."""
    return " ".join(word.lower().replace("_", " ").replace("-", " ").split())


def spellings(value: str, option: str = "") -> tuple[str, ...]:
    """Every way to say `value` of `option`, longest first."""
    if option in FIELD_SPELLINGS:
        return longest_first(FIELD_SPELLINGS[option].get(value, (spoken(value),)))
    own = () if value in BARE else (value,)
    return longest_first(spoken(word) for word in (*own, *SPELLINGS.get(value, ())))


def longest_first(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(words), key=lambda word: (-len(word), word)))
