KERNEL = "softmax_in_three"
REASON = (
    "The row is read three times and each exponential computed twice. A row that fits is kept in registers: one reading, "
    "one exponential. Longer rows take a running maximum and sum, and are read twice."
)
META = {"TILE": [16384, 8192]}
GRID = ""
OPTIONS = {"num_warps": [8, 16], "BLOCK": [1024]}


@triton.jit
def whole_row(x_ptr, y_ptr, row, N, SIZE: tl.constexpr):
    columns = tl.arange(0, SIZE)
    x = tl.load(x_ptr + row + columns, mask=columns < N, other=float("-inf")).to(tl.float32)
    e = tl.exp(x - tl.max(x, 0))
    scale = 1 / tl.sum(e, 0)
    tl.store(y_ptr + row + columns, (e * scale).to(y_ptr.dtype.element_ty), mask=columns < N)


def softmax_in_three(x_ptr, y_ptr, N, BLOCK: tl.constexpr, TILE: tl.constexpr = 16384):
    row = tl.program_id(0).to(tl.int64) * N
    if N <= BLOCK:
        whole_row(x_ptr, y_ptr, row, N, BLOCK)
    elif N <= TILE // 4:
        whole_row(x_ptr, y_ptr, row, N, TILE // 4)
    elif N <= TILE // 2:
        whole_row(x_ptr, y_ptr, row, N, TILE // 2)
    elif N <= TILE:
        whole_row(x_ptr, y_ptr, row, N, TILE)
    else:
        PART: tl.constexpr = TILE // 2
        highest = float("-inf")
        total = 0.0
        for start in range(0, N, PART):
            columns = start + tl.arange(0, PART)
            x = tl.load(x_ptr + row + columns, mask=columns < N, other=float("-inf")).to(tl.float32)
            higher = tl.maximum(highest, tl.max(x, 0))
            zero = tl.where(higher == float("-inf"), 0.0, higher)
            total = total * tl.exp(highest - zero) + tl.sum(tl.exp(x - zero), 0)
            highest = higher
        scale = 1 / total
        for start in range(0, N, PART):
            columns = start + tl.arange(0, PART)
            x = tl.load(x_ptr + row + columns, mask=columns < N, other=float("-inf")).to(tl.float32)
            tl.store(y_ptr + row + columns, (tl.exp(x - highest) * scale).to(y_ptr.dtype.element_ty), mask=columns < N)
