KERNEL = "dot_by_elements"
REASON = (
    "One element after the other is loaded, by every thread the same. A program takes several rows and loads "
    "blocks of their columns, with vectors, and sums each row once at the end."
)
META = {"ROWS": [4, 8, 2], "TILE": [512]}
GRID = "cdiv(grid_0, ROWS)"
OPTIONS = {"num_warps": [1, 2, 4]}


def dot_by_elements(
    x_ptr, y_ptr, out_ptr, N, GRID_0: tl.constexpr = 1, ROWS: tl.constexpr = 4, TILE: tl.constexpr = 512
):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    there = rows < GRID_0
    begins = rows * N
    total = tl.zeros((ROWS, TILE), dtype=tl.float32)
    for start in range(0, N, TILE):
        columns = start + tl.arange(0, TILE)
        places = begins[:, None] + columns[None, :]
        inside = there[:, None] & (columns < N)[None, :]
        x = tl.load(x_ptr + places, mask=inside, other=0.0).to(tl.float32)
        y = tl.load(y_ptr + places, mask=inside, other=0.0).to(tl.float32)
        total += x * y
    tl.store(out_ptr + rows, tl.sum(total, 1), mask=there)
