KERNEL = "transpose_by_rows"
REASON = (
    "Each row is stored as a column, two bytes to a sector. Square tiles that are turned in shared memory are read and "
    "written along the rows."
)
META = {"TILE": [64, 128]}
GRID = "cdiv(M, TILE) * cdiv(N, TILE)"
OPTIONS = {"num_warps": [4, 8], "BLOCK": [1024]}


def transpose_by_rows(x_ptr, y_ptr, M, N, BLOCK: tl.constexpr, TILE: tl.constexpr = 64):
    program = tl.program_id(0)
    if M <= 4:
        begin = program.to(tl.int64) * BLOCK
        if begin < N:
            few = begin + tl.arange(0, BLOCK)
            for i in range(0, M):
                value = tl.load(x_ptr + tl.cast(i, tl.int64) * N + few, mask=few < N, other=0.0)
                tl.store(y_ptr + few * M + i, value, mask=few < N)
    else:
        tiles = tl.cdiv(N, TILE)
        rows = program // tiles * TILE + tl.arange(0, TILE)
        columns = program % tiles * TILE + tl.arange(0, TILE)
        x = tl.load(
            x_ptr + rows.to(tl.int64)[:, None] * N + columns[None, :],
            mask=(rows < M)[:, None] & (columns < N)[None, :],
            other=0.0,
        )
        tl.store(
            y_ptr + columns.to(tl.int64)[:, None] * M + rows[None, :],
            tl.trans(x),
            mask=(columns < N)[:, None] & (rows < M)[None, :],
        )
