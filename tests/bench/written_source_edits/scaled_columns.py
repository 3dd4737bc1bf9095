KERNEL = "scale_columns"
REASON = (
    "A program walks down one column, two bytes of every sector. The matrix is taken as one run of elements, in vectors "
    "of eight along the rows; the column of a vector's first element is a remainder."
)
META = {"TILE": [4096, 2048, 8192]}
GRID = "cdiv(M * N, TILE)"
OPTIONS = {"num_warps": [4, 8], "BLOCK": [1024]}


def scale_columns(x_ptr, w_ptr, y_ptr, M, N, BLOCK: tl.constexpr, TILE: tl.constexpr = 4096):
    begin = tl.program_id(0).to(tl.int64) * TILE
    offsets = tl.arange(0, TILE // 8)[:, None] * 8
    lanes = tl.arange(0, 8)[None, :]
    places = begin + offsets + lanes
    inside = places < tl.cast(M, tl.int64) * N
    x = tl.load(x_ptr + places, mask=inside, other=0.0).to(tl.float32)
    within = (begin % N).to(tl.int32)
    if N % 8 == 0:
        columns = (within + offsets) % N + lanes
        w = tl.load(w_ptr + columns).to(tl.float32)
        tl.store(y_ptr + places, (x * w).to(y_ptr.dtype.element_ty), mask=inside)
    else:
        columns = (within + offsets + lanes) % N
        w = tl.load(w_ptr + columns).to(tl.float32)
        tl.store(y_ptr + places, (x * w).to(y_ptr.dtype.element_ty), mask=inside)
