# Read as data (tests/bench/written_edits/__init__.py); what stands above the functions are constants alone.
KERNEL = "_geglu_tanh_forward_kernel"
REASON = (
    "One program holds a row of 14336 in a block of 16384, and libdevice's tanh branches: tiles of the row fill the GPU "
    "evenly, and 1 + tanh(z) is 2 / (1 + exp(-2 z)), one power of two and one division."
)
META = {"TILE": [2048, 1024, 4096]}
GRID = "grid_0 * cdiv(n_cols, TILE)"
OPTIONS = {"num_warps": [4, 8]}


def _geglu_tanh_forward_kernel(a, b, c, stride, n_cols: tl.constexpr, BLOCK_SIZE: tl.constexpr, TILE: tl.constexpr):
    tiles: tl.constexpr = (n_cols + TILE - 1) // TILE
    program_id = tl.program_id(0)
    row = (program_id // tiles).to(tl.int64)
    cols = program_id % tiles * TILE + tl.arange(0, TILE)
    a += row * stride
    b += row * stride
    c += row * stride
    mask = cols < n_cols
    a_row = tl.load(a + cols, mask=mask, other=0, eviction_policy="evict_first").to(tl.float32)
    b_row = tl.load(b + cols, mask=mask, other=0, eviction_policy="evict_first")
    # -2 sqrt(2 / pi) log2(e) (a + 0.044715 a^3)
    power = -2.302208198144325 * (a_row + 0.044715 * a_row * a_row * a_row)
    geglu_a = a_row / (1 + tl.exp2(power))
    tl.store(c + cols, geglu_a.to(b_row.dtype) * b_row, mask=mask, eviction_policy="evict_first")
