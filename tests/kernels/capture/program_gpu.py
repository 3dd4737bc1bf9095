"""A program for the GPU's tests: every way by which a Triton kernel reaches a GPU."""

import torch
import triton
import triton.language as tl


@triton.autotune([triton.Config({"BLOCK": b}, num_warps=w) for b in (256, 1024) for w in (4, 8)], key=["n"])
@triton.jit
def tuned(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)


@triton.jit
def in_place(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at, mask=at < n) + 1, mask=at < n)


def grid(meta):
    return (triton.cdiv(meta["n"], meta["BLOCK"]),)


if __name__ == "__main__":
    x = torch.randn(1 << 20, device="cuda")
    out = torch.empty_like(x)
    for _ in range(20):
        tuned[grid](x, out, x.numel())
    for _ in range(10):
        in_place[grid](out, out.numel(), BLOCK=1024)
    compiled = in_place.warmup(out, out.numel(), BLOCK=1024, grid=(1,))
    compiled[(1024, 1, 1)](out, out.numel(), 1024) if len(compiled.src.signature) == 3 else compiled[(1024, 1, 1)](
        out, out.numel()
    )
    in_place[grid](x[: x.numel() // 2], x.numel() // 2, BLOCK=512)  # compiled before the graph, which takes no loading
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        in_place[grid](x, x.numel(), BLOCK=512)
    for _ in range(3):
        graph.replay()
    torch.compile(lambda t: torch.relu(t) * 3 + 1)(x)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        in_place[grid](torch.zeros(4096, device="cuda", dtype=torch.float64), 4096, BLOCK=256)
    torch.cuda.synchronize()
