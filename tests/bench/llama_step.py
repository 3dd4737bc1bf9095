"""Trains a small Llama with Liger's layers for some steps on random tokens: ``python llama_step.py [--steps N]``.

Needs ``transformers`` and ``liger-kernel``. Nothing in it knows of this project. Prints ``step X ms``, the median of
the steps after the first ones (``--warm``). Appends the seconds of its parts to the file of ``--parts``. Processes that
name the same file by ``--turns`` use the GPU one after the other."""

import argparse
import fcntl
import statistics
import time

LAYERS, HIDDEN, FEED, HEADS, KV_HEADS, VOCABULARY, TOKENS = 4, 2048, 8192, 16, 8, 32000, 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm", type=int, default=3)
    parser.add_argument("--turns", default="/dev/null")
    parser.add_argument("--parts", default="/dev/null")
    asked = parser.parse_args()
    began = time.perf_counter()
    import torch

    parts = [("PyTorch", time.perf_counter())]
    from liger_kernel.transformers import apply_liger_kernel_to_llama
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    # GEGLU in place of SwiGLU would be another model; all other layers are Liger's own, too.
    apply_liger_kernel_to_llama(
        rope=True, rms_norm=True, swiglu=True, cross_entropy=True, fused_linear_cross_entropy=False
    )
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=FEED, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, max_position_embeddings=TOKENS, use_cache=False,
    )  # fmt: skip
    parts.append(("the model's modules", time.perf_counter()))
    turns = open(asked.turns, "a")  # noqa: SIM115 -- as long as the process
    fcntl.flock(turns, fcntl.LOCK_EX)
    parts.append(("waiting", time.perf_counter()))
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    tokens = torch.randint(0, VOCABULARY, (1, TOKENS), device="cuda")
    torch.cuda.synchronize()
    parts.append(("model", time.perf_counter()))
    took = []
    for _ in range(asked.warm + asked.steps):
        torch.cuda.synchronize()
        started = time.perf_counter()
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        torch.cuda.synchronize()
        took.append((time.perf_counter() - started) * 1e3)
    fcntl.flock(turns, fcntl.LOCK_UN)
    parts += [("first step", parts[-1][1] + took[0] / 1e3), ("steps", time.perf_counter())]
    print(f"loss {loss.item():.4f}, step {statistics.median(took[asked.warm :]):.4f} ms")
    ends = [began, *(at for _, at in parts)]
    line = ", ".join(f"{name} {at - ends[i]:.2f} s" for i, (name, at) in enumerate(parts))
    with open(asked.parts, "a") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    main()
