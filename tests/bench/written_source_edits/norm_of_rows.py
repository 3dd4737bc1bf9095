KERNEL = "norm_of_one_row"
REASON = (
    "A program of one warp for 128 bytes is a launch of a million programs. A program takes as many rows as fill a tile, "
    "with vectors of 16 bytes."
)
META = {"TILE": [4096, 2048, 1024]}
GRID = "cdiv(M, max(1, TILE // BLOCK))"
OPTIONS = {"num_warps": [1, 2, 4]}


def norm_of_one_row(x_ptr, y_ptr, M, N, BLOCK: tl.constexpr, TILE: tl.constexpr = 4096):
    ROWS: tl.constexpr = max(1, TILE // BLOCK)
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, BLOCK)
    places = rows[:, None] * N + columns[None, :]
    inside = (rows < M)[:, None] & (columns < N)[None, :]
    x = tl.load(x_ptr + places, mask=inside, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, 1) / N + 1e-06)
    tl.store(y_ptr + places, (x * scale[:, None]).to(y_ptr.dtype.element_ty), mask=inside)
