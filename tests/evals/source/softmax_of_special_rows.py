"""Which rows the softmax forms of the task second_pass compute unlike PyTorch, in Triton's interpreter:
``python -m tests.evals.source.softmax_of_special_rows``.

Prints JSON: ``FORM LENGTH`` → names of rows. A process of its own, because TRITON_INTERPRET counts only if it is set
before a kernel's module is imported."""

import os

os.environ["TRITON_INTERPRET"] = "1"

import json

import torch

from kernels.slow_kernels.rows import softmax_in_one, softmax_in_three

CONSTANTS = {"BLOCK": 256, "WHOLE": 2048, "TILE": 512}
LENGTHS = (2048, 2049, 5000)
"""The longest row that is kept, the shortest that is not, and one of ten tiles, of which the last is ragged."""


def special_rows(n: int) -> dict[str, torch.Tensor]:
    """Rows of `n` numbers by what is special about them."""
    drawn = torch.randn(n, generator=torch.Generator().manual_seed(n))
    inf, places = float("inf"), torch.arange(n)
    return {
        "drawn": drawn,
        "large": drawn * 1e4,
        "rising": places / 8.0,
        "falling": -places / 8.0,
        "begins at minus infinity": drawn.where(places > n // 2, -inf),
        "ends at minus infinity": drawn.where(places < 3, -inf),
        "minus infinity at odd places": drawn.where(places % 2 == 0, -inf),
        "one finite": drawn.where(places == n - 1, -inf),
        "minus infinity": torch.full((n,), -inf),
        "one infinite": drawn.where(places != n - 1, inf),
        "one not a number": drawn.where(places != 1, float("nan")),
    }


def unlike(name: str, n: int) -> list[str]:
    rows = special_rows(n)
    x = torch.stack(list(rows.values()))
    y = torch.full_like(x, 7.0)
    if name == "three":
        softmax_in_three[(len(rows),)](x, y, n, BLOCK=CONSTANTS["BLOCK"])
    else:
        softmax_in_one[(len(rows),)](x, y, n, **CONSTANTS)
    right = torch.softmax(x.double(), -1)
    close = torch.isclose(y.double(), right, rtol=1e-4, atol=1e-9, equal_nan=True).all(-1)
    return [row for row, same in zip(rows, close, strict=True) if not same]


def main() -> None:
    print(json.dumps({f"{name} {n}": unlike(name, n) for name in ("three", "one") for n in LENGTHS}))


if __name__ == "__main__":
    main()
