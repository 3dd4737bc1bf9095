KERNEL = "liger_cross_entropy_kernel"
REASON = (
    "Each turn reduces a block of 32768 twice before the next one, and one program holds an SM: lanes keep maximum and "
    "sum of their own, four loads are under way in each turn, and the second pass goes backwards through the cache."
)
META = {"TILE": [2048, 1024, 4096], "BACK": [8192, 4096], "STAGES": [1, 2, 3]}
GRID = ""
OPTIONS = {"num_warps": [16, 8, 32]}


def liger_cross_entropy_kernel(
    X_ptr,
    X_stride,
    Y_ptr,
    Y_stride,
    weight_ptr,
    loss_ptr,
    z_loss_ptr,
    loss_stride,
    token_accuracy_ptr,
    token_accuracy_stride,
    predicted_tokens_ptr,
    predicted_tokens_stride,
    n_cols,
    n_non_ignore,
    sum_non_ignore_weight,
    weight_sum,
    ignore_index,
    lse_square_scale: tl.constexpr,
    label_smoothing: tl.constexpr,
    reduction: tl.constexpr,
    softcap,
    RETURN_Z_LOSS: tl.constexpr,
    RETURN_TOKEN_ACCURACY: tl.constexpr,
    RETURN_PREDICTED_TOKENS: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    HAS_SOFTCAPPING: tl.constexpr,
    HAS_GRADIENTS: tl.constexpr,
    TILE: tl.constexpr,
    BACK: tl.constexpr,
    STAGES: tl.constexpr,
):
    program_id = tl.program_id(0).to(tl.int64)
    Y_ptr += program_id * Y_stride
    y = tl.load(Y_ptr)
    X_ptr += program_id * X_stride
    if y == ignore_index:
        for i in range(0, n_cols, BLOCK_SIZE):
            X_offsets = i + tl.arange(0, BLOCK_SIZE)
            tl.store(X_ptr + X_offsets, 0.0, mask=X_offsets < n_cols)
        if RETURN_TOKEN_ACCURACY:
            token_accuracy_ptr += program_id * token_accuracy_stride
            tl.store(token_accuracy_ptr, 0.0)
        if RETURN_PREDICTED_TOKENS:
            predicted_tokens_ptr += program_id * predicted_tokens_stride
            tl.store(predicted_tokens_ptr, -1)
        return
    loss_ptr += program_id * loss_stride
    if RETURN_Z_LOSS:
        z_loss_ptr += program_id * loss_stride
    if RETURN_TOKEN_ACCURACY:
        token_accuracy_ptr += program_id * token_accuracy_stride
    if RETURN_PREDICTED_TOKENS:
        predicted_tokens_ptr += program_id * predicted_tokens_stride
    if HAS_SOFTCAPPING:
        softcap = softcap.to(tl.float32)
    if HAS_WEIGHT:
        sum_non_ignore_weight = sum_non_ignore_weight.to(tl.float32)
        weight_sum = weight_sum.to(tl.float32)
    if HAS_WEIGHT:
        weight_y = tl.load(weight_ptr + y).cast(tl.float32)
    m = float("-inf")
    d = 0.0
    argmax_idx = 0
    ori_X_y = tl.load(X_ptr + y).cast(tl.float32)
    if HAS_SOFTCAPPING:
        ori_X_y = softcap * tanh(ori_X_y / softcap)
    scaled_x_sum = 0.0
    eps = label_smoothing / n_cols
    if HAS_SOFTCAPPING or HAS_WEIGHT or RETURN_TOKEN_ACCURACY or RETURN_PREDICTED_TOKENS or label_smoothing > 0:
        for i in range(0, n_cols, BLOCK_SIZE):
            X_offsets = i + tl.arange(0, BLOCK_SIZE)
            X_block = tl.load(X_ptr + X_offsets, mask=X_offsets < n_cols, other=float("-inf")).cast(tl.float32)
            if HAS_SOFTCAPPING:
                X_block = softcap * tanh(X_block / softcap)
                X_block = tl.where(X_offsets < n_cols, X_block, float("-inf"))
            block_max = tl.max(X_block)
            if RETURN_TOKEN_ACCURACY or RETURN_PREDICTED_TOKENS:
                is_max_mask = X_block == block_max
                masked_offsets = tl.where(is_max_mask, X_offsets, n_cols)
                current_block_argmax_idx = tl.min(masked_offsets)
                is_new_max = block_max > m
                argmax_idx = tl.where(is_new_max, current_block_argmax_idx, argmax_idx)
            if label_smoothing > 0:
                if HAS_WEIGHT:
                    weight_block = tl.load(weight_ptr + X_offsets, mask=X_offsets < n_cols)
                    scaled_x_sum += tl.sum(tl.where(X_offsets < n_cols, -eps * X_block * weight_block, 0.0))
                else:
                    scaled_x_sum += tl.sum(tl.where(X_offsets < n_cols, -eps * X_block, 0.0))
            m_new = tl.maximum(m, block_max)
            d = d * tl.exp2((m - m_new) * LOG2_E) + tl.sum(tl.exp2((X_block - m_new) * LOG2_E))
            m = m_new
    else:
        # Each lane keeps its own maximum and sum, and rescales once for four elements: no reduction waits in the loop.
        highs = tl.full((TILE,), -3.4028234663852886e38, dtype=tl.float32)
        sums = tl.zeros((TILE,), dtype=tl.float32)
        places = tl.arange(0, TILE)
        for i in tl.range(0, n_cols, 4 * TILE, num_stages=STAGES):
            first = i + places
            x0 = tl.load(X_ptr + first, mask=first < n_cols, other=float("-inf")).to(tl.float32)
            x1 = tl.load(X_ptr + first + TILE, mask=first + TILE < n_cols, other=float("-inf")).to(tl.float32)
            x2 = tl.load(X_ptr + first + 2 * TILE, mask=first + 2 * TILE < n_cols, other=float("-inf")).to(tl.float32)
            x3 = tl.load(X_ptr + first + 3 * TILE, mask=first + 3 * TILE < n_cols, other=float("-inf")).to(tl.float32)
            higher = tl.maximum(highs, tl.maximum(tl.maximum(x0, x1), tl.maximum(x2, x3)))
            near = tl.exp2((x0 - higher) * LOG2_E) + tl.exp2((x1 - higher) * LOG2_E)
            far = tl.exp2((x2 - higher) * LOG2_E) + tl.exp2((x3 - higher) * LOG2_E)
            sums = sums * tl.exp2((highs - higher) * LOG2_E) + (near + far)
            highs = higher
        m = tl.max(highs)
        d = tl.sum(sums * tl.exp2((highs - m) * LOG2_E))
    lse = m + tl.log(d)
    if HAS_GRADIENTS:
        if HAS_WEIGHT or HAS_SOFTCAPPING:
            for i in range(0, n_cols, BLOCK_SIZE):
                X_offsets = i + tl.arange(0, BLOCK_SIZE)
                X_block = tl.load(X_ptr + X_offsets, mask=X_offsets < n_cols, other=float("-inf")).cast(tl.float32)
                if HAS_SOFTCAPPING:
                    intermediate = tanh(X_block / softcap)
                    X_block = softcap * intermediate
                if not HAS_WEIGHT:
                    X_block = tl.exp2((X_block - m) * LOG2_E) / d
                    X_block += 2 * lse_square_scale * lse * X_block
                    X_block += -eps
                    if reduction == "mean":
                        X_block = X_block / n_non_ignore
                else:
                    weight_block = tl.load(weight_ptr + X_offsets, mask=X_offsets < n_cols)
                    softmax_X = tl.exp2((X_block - m) * LOG2_E) / d
                    dloss_ori = (1 - label_smoothing) * softmax_X
                    dloss_ori = dloss_ori * weight_y
                    dloss_smooth = eps * (-weight_block + softmax_X * weight_sum)
                    dz_loss = 2 * lse_square_scale * lse * softmax_X
                    if reduction == "mean":
                        dloss_ori = dloss_ori / sum_non_ignore_weight
                        dloss_smooth = dloss_smooth / sum_non_ignore_weight
                        dz_loss = dz_loss / n_non_ignore
                    X_block = dloss_ori + dloss_smooth + dz_loss
                if HAS_SOFTCAPPING:
                    X_block = X_block * (1 - intermediate * intermediate)
                tl.store(X_ptr + X_offsets, X_block, mask=X_offsets < n_cols)
        else:
            # Backwards: what the first pass read last is still in the cache.
            scale = (1 + 2 * lse_square_scale * lse) / d
            shift = -eps
            if reduction == "mean":
                scale = scale / n_non_ignore
                shift = shift / n_non_ignore
            last = (tl.cdiv(n_cols, BACK) - 1) * BACK
            for i in tl.range(0, n_cols, BACK, num_stages=STAGES):
                X_offsets = last - i + tl.arange(0, BACK)
                X_block = tl.load(
                    X_ptr + X_offsets, mask=X_offsets < n_cols, other=float("-inf"), eviction_policy="evict_first"
                ).to(tl.float32)
                X_block = tl.exp2((X_block - m) * LOG2_E) * scale + shift
                tl.store(X_ptr + X_offsets, X_block, mask=X_offsets < n_cols, eviction_policy="evict_first")
        tl.debug_barrier()
        softmax_X_y = tl.exp2((ori_X_y - m) * LOG2_E) / d
        if not HAS_WEIGHT:
            dx_y = softmax_X_y
            dx_y += 2 * lse_square_scale * lse * dx_y
            dx_y += -eps
            dx_y += -(1 - label_smoothing)
            if reduction == "mean":
                dx_y = dx_y / n_non_ignore
        else:
            dloss_ori_y = (1 - label_smoothing) * softmax_X_y - (1 - label_smoothing)
            dloss_ori_y = dloss_ori_y * weight_y
            dloss_smooth_y = eps * (-weight_y + softmax_X_y * weight_sum)
            dz_loss_y = 2 * lse_square_scale * lse * softmax_X_y
            if reduction == "mean":
                dloss_ori_y = dloss_ori_y / sum_non_ignore_weight
                dloss_smooth_y = dloss_smooth_y / sum_non_ignore_weight
                dz_loss_y = dz_loss_y / n_non_ignore
            dx_y = dloss_ori_y + dloss_smooth_y + dz_loss_y
        if HAS_SOFTCAPPING:
            t_y = ori_X_y / softcap
            dx_y = dx_y * (1 - t_y * t_y)
        tl.store(X_ptr + y, dx_y)
    tl.debug_barrier()
    loss = lse - ori_X_y
    if HAS_WEIGHT:
        loss = weight_y * loss
    if label_smoothing > 0:
        if HAS_WEIGHT:
            smooth_loss = scaled_x_sum + eps * lse * weight_sum
        else:
            smooth_loss = scaled_x_sum + label_smoothing * lse
        loss = loss * (1 - label_smoothing) + smooth_loss
    z_loss = lse_square_scale * lse * lse
    if reduction == "mean":
        if HAS_WEIGHT:
            loss = loss / sum_non_ignore_weight
        else:
            loss = loss / n_non_ignore
        z_loss = z_loss / n_non_ignore
    loss += z_loss
    tl.store(loss_ptr, loss)
    if RETURN_Z_LOSS:
        tl.store(z_loss_ptr, z_loss)
    if RETURN_TOKEN_ACCURACY:
        is_correct = 1.0 if argmax_idx == y else 0.0
        tl.store(token_accuracy_ptr, is_correct)
    if RETURN_PREDICTED_TOKENS:
        tl.store(predicted_tokens_ptr, argmax_idx)
