"""A program with two Triton kernels, one autotuned and one in place. Nothing in it knows of this project.

python -m agent capture -o run.capture -- python examples/captured_program.py"""

import torch
import triton
import triton.language as tl

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # on a CPU set TRITON_INTERPRET=1


@triton.autotune([triton.Config({"BLOCK": b}, num_warps=w) for b in (256, 1024) for w in (2, 4)], key=["n"])
@triton.jit
def gated(x_ptr, gate_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n).to(tl.float32)
    gate = tl.load(gate_ptr + at, mask=at < n).to(tl.float32)
    tl.store(out_ptr + at, x * tl.sigmoid(gate), mask=at < n)


@triton.jit
def normalise(x_ptr, columns, eps, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    row = x_ptr + tl.program_id(0) * columns + at
    x = tl.load(row, mask=at < columns, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, axis=0) / columns + eps)
    tl.store(row, x * scale, mask=at < columns)


def layer(x, gate):
    out = torch.empty_like(x)
    gated[lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)](x, gate, out, x.numel())
    normalise[(out.shape[0],)](out, out.shape[1], 1e-6, BLOCK=triton.next_power_of_2(out.shape[1]), num_warps=4)
    return out


if __name__ == "__main__":
    torch.manual_seed(0)
    for rows in (64, 64, 32):
        y = layer(*torch.randn(2, rows, 300, device=DEVICE, dtype=torch.float16))
    print(f"mean square {y.float().square().mean():.3f}")
