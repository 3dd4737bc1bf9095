"""Refuses the derivatives that the ops do not have. PyTorch lets an operator that is written in Python pass a tangent
by: the result would have none, as if its derivative were zero."""

from __future__ import annotations

import torch
from torch._C._functorch import is_gradtrackingtensor
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling


def refuse_transforms(op: str, *tensors: torch.Tensor) -> None:
    """Raises NotImplementedError if one of the tensors has a tangent, or is differentiated by ``torch.func``."""
    if is_dynamo_compiling():
        return
    if forward_ad._current_level >= 0 and any(forward_ad.unpack_dual(t).tangent is not None for t in tensors):
        raise NotImplementedError(f"{op} has no forward-mode derivative (jvp, jacfwd): use a backward pass")
    if torch.is_grad_enabled() and any(is_gradtrackingtensor(t) and t.requires_grad for t in tensors):
        raise NotImplementedError(f"{op} has no derivative for torch.func (grad, vjp, jacrev): use a backward pass")
