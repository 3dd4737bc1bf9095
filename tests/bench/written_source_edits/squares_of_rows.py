KERNEL = "squares_by_turns"
REASON = (
    "Every 128 elements are summed across the warp before the next are loaded. A block of sums in registers takes wide "
    "vectors and is summed once, at the end of the row."
)
META = {"TILE": [4096, 2048, 8192]}
GRID = ""
OPTIONS = {"num_warps": [2, 4]}


def squares_by_turns(x_ptr, out_ptr, N, BLOCK: tl.constexpr, TILE: tl.constexpr = 4096):
    row = tl.program_id(0).to(tl.int64)
    if N > TILE // 4:
        many = tl.zeros((TILE,), dtype=tl.float32)
        for start in range(0, N, TILE):
            columns = start + tl.arange(0, TILE)
            x = tl.load(x_ptr + row * N + columns, mask=columns < N, other=0.0).to(tl.float32)
            many += x * x
        tl.store(out_ptr + row, tl.sum(many, 0))
    else:
        few = tl.zeros((BLOCK,), dtype=tl.float32)
        for start in range(0, N, BLOCK):
            columns = start + tl.arange(0, BLOCK)
            x = tl.load(x_ptr + row * N + columns, mask=columns < N, other=0.0).to(tl.float32)
            few += x * x
        tl.store(out_ptr + row, tl.sum(few, 0))
