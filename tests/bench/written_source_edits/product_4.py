KERNEL = "rows_of_tiles"
REASON = (
    "16 tiles of 256 columns keep 16 of 132 multiprocessors busy. Tiles of 32 columns make 128 programs that stream the "
    "weights, with deeper steps along K so that enough bytes are under way, "
    "and two sums that do not wait for each other."
)
META = {"TILE_N": [32, 16], "TILE_K": [128, 256]}
GRID = "cdiv(M, BLOCK_M) * cdiv(N, TILE_N)"
OPTIONS = {"num_warps": [4], "num_stages": [3, 4, 5]}


def rows_of_tiles(
    a_ptr,
    b_ptr,
    c_ptr,
    M,
    N,
    K,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    TILE_N: tl.constexpr = 32,
    TILE_K: tl.constexpr = 128,
):
    program = tl.program_id(0)
    tiles = tl.cdiv(M, BLOCK_M)
    rows = program % tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = program // tiles * TILE_N + tl.arange(0, TILE_N)
    even = tl.zeros((BLOCK_M, TILE_N), dtype=tl.float32)
    odd = tl.zeros((BLOCK_M, TILE_N), dtype=tl.float32)
    for k in range(0, K, 2 * TILE_K):
        a, b = load_tiles(a_ptr, b_ptr, rows, columns, k, M, N, K, TILE_K)
        c, d = load_tiles(a_ptr, b_ptr, rows, columns, k + TILE_K, M, N, K, TILE_K)
        even = tl.dot(a, b, even)
        odd = tl.dot(c, d, odd)
    store_tile(c_ptr, even + odd, rows, columns, M, N)
