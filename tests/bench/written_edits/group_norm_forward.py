KERNEL = "_group_norm_forward_kernel"
REASON = (
    "Four warps hold a block of 16384, the weight and bias of each element are gathered behind an integer division, and "
    "sums are added in bf16. As a tile of channels by columns the weights are one number a channel, the group is read "
    "once, and sums are added in float32."
)
META = {"CHANNELS": [4, 1, 8], "COLS": [4096, 1024]}
GRID = ""
OPTIONS = {"num_warps": [8, 16, 32]}


def _group_norm_forward_kernel(
    Y_ptr,
    Y_row_stride,
    Y_col_stride,
    X_ptr,
    X_row_stride,
    X_col_stride,
    Mean_ptr,
    Mean_row_stride,
    Mean_col_stride,
    RSTD_ptr,
    RSTD_row_stride,
    RSTD_col_stride,
    W_ptr,
    B_ptr,
    hidden_size,
    channels_per_group,
    eps,
    BLOCK_SIZE: tl.constexpr,
    CHANNELS: tl.constexpr,
    COLS: tl.constexpr,
):
    batch = tl.program_id(0)
    group = tl.program_id(1)
    X_ptr += batch * X_row_stride + group * X_col_stride
    Y_ptr += batch * Y_row_stride + group * Y_col_stride
    W_ptr += group * channels_per_group
    B_ptr += group * channels_per_group
    width = hidden_size // channels_per_group
    channels = tl.arange(0, CHANNELS)
    cols = tl.arange(0, COLS)
    if (channels_per_group <= CHANNELS) & (width <= COLS) & (width * channels_per_group == hidden_size):
        inside = channels < channels_per_group
        mask = inside[:, None] & (cols < width)[None, :]
        places = channels[:, None] * width + cols[None, :]
        X = tl.load(X_ptr + places, mask=mask, other=0.0).to(tl.float32)
        W = tl.load(W_ptr + channels, mask=inside, other=0.0).to(tl.float32)
        B = tl.load(B_ptr + channels, mask=inside, other=0.0).to(tl.float32)
        m = tl.sum(tl.sum(X, axis=1), axis=0) / hidden_size
        centred = tl.where(mask, X - m, 0.0)
        rstd = rsqrt(tl.sum(tl.sum(centred * centred, axis=1), axis=0) / hidden_size + eps.to(tl.float32))
        tl.store(Y_ptr + places, centred * rstd * W[:, None] + B[:, None], mask=mask)
    else:
        total = tl.zeros((COLS,), dtype=tl.float32)
        for i in tl.range(0, hidden_size, COLS):
            total += tl.load(X_ptr + i + cols, mask=i + cols < hidden_size, other=0.0).to(tl.float32)
        m = tl.sum(total, axis=0) / hidden_size
        squares = tl.zeros((COLS,), dtype=tl.float32)
        for i in tl.range(0, hidden_size, COLS):
            x = tl.load(X_ptr + i + cols, mask=i + cols < hidden_size, other=0.0).to(tl.float32)
            part = tl.where(i + cols < hidden_size, x - m, 0.0)
            squares += part * part
        rstd = rsqrt(tl.sum(squares, axis=0) / hidden_size + eps.to(tl.float32))
        for i in tl.range(0, hidden_size, COLS):
            there = i + cols < hidden_size
            x = tl.load(X_ptr + i + cols, mask=there, other=0.0).to(tl.float32)
            w = tl.load(W_ptr + (i + cols) // width, mask=there, other=0.0).to(tl.float32)
            bias = tl.load(B_ptr + (i + cols) // width, mask=there, other=0.0).to(tl.float32)
            tl.store(Y_ptr + i + cols, (x - m) * rstd * w + bias, mask=there)
    tl.store(Mean_ptr + batch * Mean_row_stride + group * Mean_col_stride, m)
    tl.store(RSTD_ptr + batch * RSTD_row_stride + group * RSTD_col_stride, rstd)
