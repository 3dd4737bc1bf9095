"""docs/TL.md from the rows of ``tests.bench.table_of_tl``, and what a row says: two results held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.bench.tl_entries import DTYPES

Row = dict[str, Any]
CLOSE = 4.0
"""Units in the last place up to which two results are called close: another order, another approximation."""
MARKS = {
    "same": "=",
    "close": "≈",
    "differs": "≠",
    "cannot be interpreted": "r",
    "not interpreted": "e",
    "not compiled": "i",
    "not kept": "?",
    "refused by both": "–",
}
"""Each verdict's mark in the table."""
HEAD = """# Functions of `triton.language` in the interpreter

    python -m tests.bench.table_of_tl FOLDER
    python -m tests.bench.table_of_tl FOLDER --compiled docs/data/tl-h200-compiled.jsonl.xz

On a machine without a GPU, and before a config is timed, a kernel is checked in Triton's interpreter
([MEASURING.md](MEASURING.md)), with corrections (`kernels/triton/interpreter_*.py`). This page holds every documented
function, for every dtype, against what compiled kernels give on a GPU: equal inputs from a seed, {size} blocks, one
program. The first command needs a GPU; the second holds the interpreter of today against that GPU's kept results. Left
out are functions without a value (`assume`, `device_print`), descriptors (they are in the tests of launches), inline
assembly (it cannot be interpreted) and `dot_scaled`.
"""
LEGEND = """
| mark | means |
|---|---|
| `=` | equal bits |
| `≈` | fractions, at most {close:g} units apart: last places of the largest result, in bf16, fp16 or fp32 |
| `≠` | further apart, or another whole number |
| `r` | compiled; a check says "cannot be interpreted", which is no verdict on the kernel |
| `e` | compiled; an error in the interpreter |
| `i` | interpreted, not compiled: every config is compiled before it is checked |
| `–` | refused by both |
| `?` | the GPU's result was not kept |
"""
LOST = """
Of {dtypes} the compiled results themselves were not kept, only the page of that run. Where it said "equal bits", they
are what the interpreter of then gives, computed again."""
ROUNDING = """The orders of tensor cores and layouts below give the GPU's bits (`tests/bench/tl_orders.py`). The
interpreter leaves them out: they are those of one launch on one generation of GPUs. What an approximating instruction
computes is not documented. A check's tolerance covers both.
"""
CORRECTED = (
    "## What is corrected",
    "",
    "What Triton's own interpreter gives for the same kernels, where this project's gives the GPU's bits or comes",
    "nearer. *Other bits* differ by rounding (≈), *another result* by more (≠).",
    "",
    "| function | dtypes | Triton's own interpreter |",
    "|---|---|---|",
)
TENSOR_CORES = (
    "the tensor cores add 16 products (of tf32 eight) and the sum so far at once, cut 25 bits below the largest "
    "exponent, and cut the sum to fp32"
)
LAYOUT = (
    "the order is the layout's, which the compiler chooses: each thread its neighbouring elements, then between threads"
)
CAUSES = {
    "/": "one instruction that approximates, `div.full`; `tl.div_rn` rounds to nearest",
    "fdiv": "one instruction that approximates, `div.full`; `tl.div_rn` rounds to nearest",
    "exp": "one instruction that approximates 2ˣ, `ex2.approx`",
    "exp2": "one instruction that approximates 2ˣ, `ex2.approx`",
    "sigmoid": "`ex2.approx` and `div.full`",
    "softmax": "`ex2.approx` and `div.full`",
    "erf": "`ex2.approx`, for numbers beyond one",
    "sqrt": "one instruction that approximates, `sqrt.approx`; `tl.sqrt_rn` rounds to nearest",
    "rsqrt": "one instruction that approximates, `rsqrt.approx`",
    "randn": "`sqrt.approx`; the random bits are equal",
    "dot": TENSOR_CORES,
    "dot, ieee": TENSOR_CORES,
    **dict.fromkeys(("sum", "interleave", "cumsum", "cumsum, reverse", "cumprod"), LAYOUT),
}
"""Why results differ by rounding, by function."""


def row_of(function: str, dtype: str, interpreted: Row | None, compiled: Row | None) -> Row:
    """One line of the table."""
    row: Row = {"function": function, "dtype": dtype, "verdict": ""}
    given = {"interpreted": interpreted, "compiled": compiled}
    why = {s: "the process ended before" if r is None else r.get("refused") for s, r in given.items()}
    if compiled and compiled.get("from"):
        row["from"] = compiled["from"]
    if any(why.values()):
        if all(why.values()):
            row["verdict"] = "refused by both"
        elif why["compiled"]:
            row["verdict"] = "not compiled"
        else:
            refused = str(why["interpreted"]).startswith("NotEmulated: ")
            row["verdict"] = "cannot be interpreted" if refused else "not interpreted"
        return {**row, "why": "; ".join(f"{s}: {w}" for s, w in why.items() if w)}
    assert interpreted is not None
    assert compiled is not None
    if "values" not in compiled:
        return {**row, "verdict": "not kept"}
    units, elements = apart(interpreted["values"], compiled["values"], compiled["whole"])
    whole = all(float(v).is_integer() for v in compiled["values"])
    row["verdict"] = "same" if not elements else "close" if units <= CLOSE and not whole else "differs"
    if elements:
        row |= {"units": round(units, 3), "elements": elements, "of": len(compiled["values"])}
    return row


def apart(a: Sequence[float], b: Sequence[float], whole: bool = False) -> tuple[float, int]:
    """The largest difference, in units of the last place of the largest of `b` (infinite if one of two numbers is not
    finite), and how many elements have other bits. A unit of integers, if `whole`, is one."""
    import torch

    x, y = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    alike = (x == y) & (x.signbit() == y.signbit()) | (x.isnan() & y.isnan())
    elements = int((~alike).sum())
    if not elements:
        return 0.0, 0
    if not bool((x.isfinite() & y.isfinite() | alike).all()):
        return float("inf"), elements
    unit = 1.0 if whole else unit_of(y)
    return float((x - y)[~alike].abs().max()) / unit, elements


def unit_of(x: Any) -> float:
    """The last place of the largest of `x` in the narrowest type that holds them all, bf16 at least: four units of an
    8-bit float would call everything close."""
    import torch

    x = x[x.isfinite()]
    kinds = [torch.bfloat16, torch.float16, torch.float32]
    kind = next((k for k in kinds if torch.equal(x.to(k).double(), x)), torch.float64)
    return torch.finfo(kind).eps * float(x.abs().max()) or 1.0


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many rows have each verdict."""
    return {v: sum(r["verdict"] == v for r in rows) for v in MARKS}


def markdown(table: Row) -> str:
    """The page: the table by function and dtype, then what differs or is refused, with the reason."""
    rows, sides = table["rows"], {s: table[s] for s in ("compiled", "interpreted")}
    by = {(r["function"], r["dtype"]): r for r in rows}
    said = table["counts"]
    told = ", ".join(f"{said[v]} {v}" for v in MARKS if said[v])
    parts = [
        HEAD.format(size=table["size"]),
        f"Compiled: {sides['compiled'].get('gpu') or 'no GPU'}, {versions(sides['compiled'])}. Interpreted: "
        f"{versions(sides['interpreted'])}. {len(rows)} pairs: {told}.",
    ]
    lost = dict.fromkeys(r["dtype"] for r in rows if r.get("from") == "page")
    if lost:
        parts.append(LOST.format(dtypes=", ".join(lost)))
    parts += [
        LEGEND.format(close=CLOSE),
        f"| function | {' | '.join(DTYPES)} |",
        f"|---|{'---|' * len(DTYPES)}",
    ]
    for name in dict.fromkeys(r["function"] for r in rows):
        cells = [MARKS[by[name, d]["verdict"]] if (name, d) in by else "" for d in DTYPES]
        parts.append(f"| {code(name)} | {' | '.join(cells)} |")
    parts += ["", *rounding([r for r in rows if r["verdict"] in ("close", "differs")])]
    for title, verdicts in SECTIONS.items():
        chosen = [r for r in rows if r["verdict"] in verdicts]
        if chosen:
            parts += [f"## {title}", "", "| function | dtypes | why |", "|---|---|---|"]
            parts += [f"| {code(name)} | {dtypes} | {cell(why)} |" for name, dtypes, why in grouped(chosen)]
            parts.append("")
    return "\n".join([*parts, *corrected(rows)]).rstrip("\n") + "\n"


SECTIONS = {
    "What cannot be interpreted": ("cannot be interpreted", "not interpreted"),
    "What is interpreted and not compiled": ("not compiled",),
}


def rounding(rows: Sequence[Row]) -> list[str]:
    """The part of the page about results that are not the same."""
    if not rows:
        return []
    lines = ["## What differs by rounding", "", ROUNDING]
    lines += ["| function | dtype | units apart | elements | why |", "|---|---|---|---|---|"]
    for name, found in by_function(rows).items():
        each = [", ".join(r["dtype"] for r in found), ", ".join(f"{r['units']:.2g}" for r in found)]
        each.append(f"{', '.join(str(r['elements']) for r in found)} of {found[0]['of']}")
        why = CAUSES.get(name, "") if all(r["verdict"] == "close" for r in found) else "**differs**"
        lines.append(f"| {code(name)} | {' | '.join(each)} | {why} |")
    return [*lines, ""]


def corrected(rows: Sequence[Row]) -> list[str]:
    """The part of the page about what Triton's own interpreter does otherwise."""
    found: dict[tuple[str, str], list[str]] = {}
    for r in rows:
        before = r.get("uncorrected", {})
        if r["verdict"] in ("same", "close", "not kept") and before.get("verdict") in ("close", "differs"):
            what = "other bits" if before["verdict"] == "close" else "another result"
        elif r["verdict"] in ("same", "close", "not kept") and before.get("verdict") == "not interpreted":
            what = before["why"].partition(": ")[2]
        else:
            continue
        found.setdefault((r["function"], what), []).append(r["dtype"])
    alike: dict[tuple[str, str], list[str]] = {}
    for (name, what), dtypes in found.items():
        alike.setdefault((", ".join(dtypes), what), []).append(code(name))
    lines = [f"| {', '.join(names)} | {dtypes} | {cell(what)} |" for (dtypes, what), names in alike.items()]
    return [*CORRECTED, *lines] if lines else []


def by_function(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for r in rows:
        found.setdefault(r["function"], []).append(r)
    return found


def grouped(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """(function, dtypes, why), one for all dtypes of a function that have the same reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for r in rows:
        why = r["why"].partition(": ")[2].removeprefix("NotEmulated: ")
        found.setdefault((r["function"], why), []).append(r["dtype"])
    return [(name, ", ".join(dtypes), why) for (name, why), dtypes in found.items()]


def versions(side: Row) -> str:
    named = {"triton": "Triton", "torch": "PyTorch", "numpy": "NumPy"}
    return ", ".join(f"{shown} {side[n]}" for n, shown in named.items() if side.get(n)) or "nothing"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def code(name: str) -> str:
    return f"`{cell(name)}`"
