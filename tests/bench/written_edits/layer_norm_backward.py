KERNEL = "_layer_norm_backward_kernel"
REASON = (
    "Each of 132 programs goes through its rows one after another: load, reduce twice, store, and the memory idles in "
    "between. Several rows a turn share their reductions, and with stages the loads of the next turns are under way."
)
META = {"ROWS": [1, 2, 4], "STAGES": [2, 3, 4]}
GRID = ""
OPTIONS = {"num_warps": [8, 16]}


def _layer_norm_backward_kernel(
    X_ptr,
    stride_x,
    W_ptr,
    Mean_ptr,
    stride_mean,
    RSTD_ptr,
    stride_rstd,
    DX_ptr,
    stride_dx,
    DW_ptr,
    stride_dw,
    DB_ptr,
    stride_db,
    DY_ptr,
    stride_dy,
    n_rows,
    n_cols,
    rows_per_program: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    COMPUTE_DW: tl.constexpr = True,
    COMPUTE_DB: tl.constexpr = True,
    ROWS: tl.constexpr = 1,
    STAGES: tl.constexpr = 2,
):
    program = tl.program_id(0).to(tl.int64)
    row_start = program * rows_per_program
    row_end = min((program + 1) * rows_per_program, n_rows)
    cols = tl.arange(0, BLOCK_SIZE)
    col_mask = cols < n_cols
    if COMPUTE_DW:
        dW = tl.zeros((ROWS, BLOCK_SIZE), dtype=tl.float32)
    if COMPUTE_DB:
        dB = tl.zeros((ROWS, BLOCK_SIZE), dtype=tl.float32)
    w = tl.load(W_ptr + cols, mask=col_mask, other=0.0).to(tl.float32)[None, :]
    share = 1.0 / n_cols
    for first in tl.range(row_start, row_end, ROWS, num_stages=STAGES):
        rows = first + tl.arange(0, ROWS)
        row_mask = rows < row_end
        mask = row_mask[:, None] & col_mask[None, :]
        x = tl.load(X_ptr + rows[:, None] * stride_x + cols[None, :], mask=mask, other=0.0).to(tl.float32)
        dy = tl.load(DY_ptr + rows[:, None] * stride_dy + cols[None, :], mask=mask, other=0.0).to(tl.float32)
        mean = tl.load(Mean_ptr + rows * stride_mean, mask=row_mask, other=0.0).to(tl.float32)[:, None]
        rstd = tl.load(RSTD_ptr + rows * stride_rstd, mask=row_mask, other=0.0).to(tl.float32)[:, None]
        x_hat = (x - mean) * rstd
        wdy = w * dy
        c1 = (tl.sum(x_hat * wdy, axis=1) * share)[:, None]
        c2 = (tl.sum(wdy, axis=1) * share)[:, None]
        dx = (wdy - (x_hat * c1 + c2)) * rstd
        tl.store(DX_ptr + rows[:, None] * stride_dx + cols[None, :], dx, mask=mask)
        if COMPUTE_DW:
            dW += dy * x_hat
        if COMPUTE_DB:
            dB += dy
    if COMPUTE_DW:
        tl.store(DW_ptr + program * stride_dw + cols, tl.sum(dW, axis=0), mask=col_mask)
    if COMPUTE_DB:
        tl.store(DB_ptr + program * stride_db + cols, tl.sum(dB, axis=0), mask=col_mask)
