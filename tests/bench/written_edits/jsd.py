KERNEL = "_jsd_kernel"
REASON = (
    "A row of 128256 is one program's loop of blocks of 65536 with four exponentials an element: independent tiles keep "
    "more loads under way, and the smaller of both probabilities over the larger one needs a single exponential."
)
META = {"TILE": [2048, 4096, 1024]}
GRID = "grid_0 * cdiv(n_cols, TILE)"
OPTIONS = {"num_warps": [4, 8]}


def _jsd_kernel(
    X_ptr,
    X_stride,
    Y_ptr,
    Y_stride,
    loss_ptr,
    loss_stride,
    dX_ptr,
    dX_stride,
    label_ptr,
    beta: tl.constexpr,
    n_non_ignore: int,
    ignore_index: tl.constexpr,
    n_cols,
    BLOCK_SIZE: tl.constexpr,
    HAS_LABEL: tl.constexpr,
    TILE: tl.constexpr = 2048,
):
    tiles = tl.cdiv(n_cols, TILE)
    row = (tl.program_id(0) // tiles).to(tl.int64)
    cols = tl.program_id(0) % tiles * TILE + tl.arange(0, TILE)
    mask = cols < n_cols
    X_ptr += row * X_stride
    dX_ptr += row * dX_stride
    Y_ptr += row * Y_stride
    loss_ptr += row * loss_stride
    if HAS_LABEL:
        label = tl.load(label_ptr + row)
        if label == ignore_index:
            tl.store(dX_ptr + cols, 0.0, mask=mask)
            return
    X = tl.load(X_ptr + cols, mask=mask, other=float("-inf"), eviction_policy="evict_first").to(tl.float32)
    Y = tl.load(Y_ptr + cols, mask=mask, other=float("-inf"), eviction_policy="evict_first").to(tl.float32)
    if beta == 0.0:
        P = tl.exp(Y)
        loss = P * (Y - X)
        dX = -P
    elif beta == 1.0:
        Q = tl.exp(X)
        loss = Q * (X - Y)
        dX = loss + Q
    else:
        high = tl.maximum(X, Y)
        larger = tl.exp(high)
        ratio = tl.exp(tl.minimum(X, Y) - high)
        first = X >= Y
        x_part = tl.where(first, 1.0, ratio)
        y_part = tl.where(first, ratio, 1.0)
        log_M = high + tl.log(beta * y_part + (1 - beta) * x_part)
        beta_P = beta * (larger * y_part)
        beta_Q = (1 - beta) * (larger * x_part)
        dX = beta_Q * (X - log_M)
        loss = beta_P * (Y - log_M) + dX
    scale = 1.0 / n_non_ignore
    tl.store(loss_ptr + cols, loss * scale, mask=mask, eviction_policy="evict_first")
    tl.store(dX_ptr + cols, dX * scale, mask=mask, eviction_policy="evict_first")
