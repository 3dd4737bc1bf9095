"""Trains a small Llama with Liger's layers for some steps on random tokens: ``python llama_step.py [--steps N]``.

Needs ``transformers`` and ``liger-kernel``. Nothing in it knows of this project. Prints ``step X ms``, the median of
the steps after the first three."""

import argparse
import statistics
import time

import torch
from liger_kernel.transformers import apply_liger_kernel_to_llama
from transformers import LlamaConfig, LlamaForCausalLM

LAYERS, HIDDEN, FEED, HEADS, KV_HEADS, VOCABULARY, TOKENS = 4, 2048, 8192, 16, 8, 32000, 4096
WARM = 3


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    # GEGLU in place of SwiGLU would be another model; all other layers are Liger's own, too.
    apply_liger_kernel_to_llama(
        rope=True, rms_norm=True, swiglu=True, cross_entropy=True, fused_linear_cross_entropy=False
    )
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=FEED, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, max_position_embeddings=TOKENS, use_cache=False,
    )  # fmt: skip
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    tokens = torch.randint(0, VOCABULARY, (1, TOKENS), device="cuda")
    took = []
    for _ in range(WARM + steps):
        torch.cuda.synchronize()
        started = time.perf_counter()
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        torch.cuda.synchronize()
        took.append((time.perf_counter() - started) * 1e3)
    print(f"loss {loss.item():.4f}, step {statistics.median(took[WARM:]):.4f} ms")


if __name__ == "__main__":
    main()
