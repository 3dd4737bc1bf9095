KERNEL = "_rms_norm_backward_kernel"
REASON = (
    "Each of 132 programs goes through its rows one after another: load, reduce, store, and the memory idles in between. "
    "Several rows a turn share one reduction, and with stages the loads of the next turns are under way."
)
META = {"ROWS": [1, 2, 4], "STAGES": [2, 3, 4]}
GRID = ""
OPTIONS = {"num_warps": [8, 16]}


def _rms_norm_backward_kernel(
    dY_ptr,
    dY_row_stride,
    dX_ptr,
    dX_row_stride,
    X_ptr,
    X_row_stride,
    X_dtype: tl.constexpr,
    W_ptr,
    W_row_stride,
    RSTD_ptr,
    RSTD_row_stride,
    dW_ptr,
    dW_row_stride,
    n_rows,
    n_cols,
    offset,
    rows_per_program,
    casting_mode: tl.constexpr,
    elementwise_affine: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    COMPUTE_DW: tl.constexpr = True,
    ROWS: tl.constexpr = 1,
    STAGES: tl.constexpr = 2,
):
    program = tl.program_id(0).to(tl.int64)
    row_start = program * rows_per_program
    row_end = min((program + 1) * rows_per_program, n_rows)
    cols = tl.arange(0, BLOCK_SIZE)
    col_mask = cols < n_cols
    if elementwise_affine and COMPUTE_DW:
        dW = tl.zeros((ROWS, BLOCK_SIZE), dtype=tl.float32)
    if elementwise_affine:
        W_row = tl.load(W_ptr + cols, mask=col_mask, other=0.0)
        W_row = (W_row + offset.to(tl.float32))[None, :]
    scale = -(1 / n_cols)
    for first in tl.range(row_start, row_end, ROWS, num_stages=STAGES):
        rows = first + tl.arange(0, ROWS)
        row_mask = rows < row_end
        mask = row_mask[:, None] & col_mask[None, :]
        dY = tl.load(dY_ptr + rows[:, None] * dY_row_stride + cols[None, :], mask=mask, other=0.0)
        X = tl.load(X_ptr + rows[:, None] * X_row_stride + cols[None, :], mask=mask, other=0.0)
        rstd = tl.load(RSTD_ptr + rows * RSTD_row_stride, mask=row_mask, other=0.0).to(tl.float32)[:, None]
        X = X.to(tl.float32)
        if casting_mode == _CASTING_MODE_GEMMA:
            dY = dY.to(tl.float32)
        if elementwise_affine:
            m = (dY * W_row).to(tl.float32)
        else:
            m = dY.to(tl.float32)
        inner = tl.sum(m * X, axis=1)[:, None]
        dX = rstd * m + (rstd * (scale * rstd * rstd * inner)) * X
        if elementwise_affine and COMPUTE_DW:
            if casting_mode == _CASTING_MODE_LLAMA:
                dW += dY * (X * rstd).to(X_dtype)
            else:
                dW += dY * (X * rstd)
        tl.store(dX_ptr + rows[:, None] * dX_row_stride + cols[None, :], dX.to(X_dtype), mask=mask)
    if elementwise_affine and COMPUTE_DW:
        tl.store(dW_ptr + program * dW_row_stride + cols, tl.sum(dW, axis=0), mask=col_mask)
