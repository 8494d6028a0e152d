"""The nucleus of a next-token distribution, which the sampler draws from and the training forward renormalises to."""

from __future__ import annotations

import torch
from torch import Tensor


def nucleus_floor(logits: Tensor, top_p: float) -> Tensor:
    """(B, V) float32 -> (B, 1): the largest t with softmax mass of {logit >= t} >= top_p, found without a sort.

    {logit >= t} is then the smallest such set; logits equal to t are all inside (a sort would keep some of them).
    Bisection on the bits of t, 32 halvings, so t is one of the logits exactly; masses are float32 sums, hence a set
    whose mass is within ~1e-6 of top_p may gain or lose its last token.
    """
    p = logits.softmax(-1)
    need = top_p * p.sum(-1, keepdim=True)
    bits = logits.view(torch.int32)
    key = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the floats
    t = torch.full_like(need, -(2**31), dtype=torch.long)
    for bit in reversed(range(32)):
        higher = t + (1 << bit)
        t = torch.where((p * (key >= higher)).sum(-1, keepdim=True) >= need, higher, t)
    t = t.int()
    return (t ^ ((t >> 31) & 0x7FFFFFFF)).view(torch.float32)
