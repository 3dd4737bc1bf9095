"""Loads a file that somebody else wrote, and finds in it what the judge calls. Every mistake is one sentence."""

from __future__ import annotations

import importlib.util
import random
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import torch

from kernels.finder import SourceLoader
from tools.harness.process.refusal import Refusal

Json = dict[str, Any]


class Raised(Exception):
    """A stranger's code raised something. ``status`` is ``runtime``, or ``needs_gpu`` if the lack of one is the cause;
    the message is a clause."""

    def __init__(self, error: BaseException, doing: str, file: str) -> None:
        super().__init__(f"{doing} {describe_error(error, file)}")
        self.status = "needs_gpu" if not torch.cuda.is_available() and _asks_for_gpu(error) else "runtime"


def load_file(path: str, name: str, doing: str) -> ModuleType:
    """The module of the file at `path`, imported as `name`. Raises Raised."""
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceLoader(name, path))
    if spec is None or spec.loader is None:
        raise Refusal(f"{Path(path).name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as e:  # SystemExit too: whatever the file does is its own fault
        raise Raised(e, doing, path) from e
    return module


def member(module: ModuleType, name: str, what: str) -> Any:
    """What `module` calls `name`. Raises Refusal if it lacks it."""
    found = getattr(module, name, None)
    if not callable(found):
        raise Refusal(f"{what} has no {name}")
    return found


def describe_error(error: BaseException, file: str) -> str:
    """One clause: the error, and the line of `file` that it came from: ``raised KeyError: 'x' (a.py:3, b[x])``."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    message = " ".join(str(error).split())[:300]
    if isinstance(error, SystemExit):
        text = f"called exit({message})"
    else:
        text = f"raised {type(error).__name__}" + (f": {message}" if message else "")
    if isinstance(error, SyntaxError):
        return f"{text} (line {error.lineno})" if error.lineno and "line" not in message else text
    if not frames:
        return text
    last = frames[-1]
    return f"{text} ({Path(file).name}:{last.lineno}" + (f", {last.line[:120]})" if last.line else ")")


def _asks_for_gpu(error: BaseException) -> bool:
    """Whether the code failed because it wants a GPU and there is none."""
    lines = [f.line or "" for f in traceback.extract_tb(error.__traceback__)[-1:]]
    words = " ".join([str(error), *lines]).lower()
    return any(word in words for word in ("cuda", "nvidia", "nvcc", "gpu", "0 active drivers"))


def seed_all(seed: int) -> None:
    """Seed PyTorch, Python and numpy."""
    torch.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed % (1 << 32))


def numerics() -> Json:
    """The global flags that decide in what precision PyTorch computes."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "default_dtype": str(torch.get_default_dtype()),
        "cuda.matmul.allow_fp16_reduced_precision_reduction": bool(cuda.allow_fp16_reduced_precision_reduction),
        "cuda.matmul.allow_bf16_reduced_precision_reduction": bool(cuda.allow_bf16_reduced_precision_reduction),
        "cudnn.allow_tf32": bool(cudnn.allow_tf32),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "flush_denormal": _flushes_denormals(),
    }


def _flushes_denormals() -> bool:
    return float(torch.tensor(1e-30) * torch.tensor(1e-12)) == 0.0
