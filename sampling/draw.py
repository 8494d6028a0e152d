"""What both engines share: the job, its uniform numbers, and how logits and a uniform number become a token.

Symbols: P prompts, n rollouts a prompt, B live rows, T the most tokens of a completion, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from model.nucleus import nucleus_floor

OnFinish = Callable[[int, list[int]], None]


@dataclass
class Sampled:
    """One rollout: ids with the EOS that ended it, log p of each id at the sampling temperature, ended by EOS."""

    ids: list[int]
    logps: list[float]
    finished: bool


@dataclass
class Job:
    """What both engines need: rollout i belongs to prompt i // n and ends at limits[i] tokens or an eos."""

    prompts: list[list[int]]
    n: int
    limits: list[int]
    temperature: float
    top_p: float
    eos: tuple[int, ...]
    banned: tuple[int, ...]
    uniforms: Tensor  # (P*n, T) float32 in [0, 1)
    on_finish: OnFinish


def uniforms(total: int, steps: int, seed: int) -> Tensor:
    """(total, steps) float32 in [0, 1 - 2^-23], drawn on the CPU so that every device samples with the same numbers."""
    # 1 - 2^-23: u * cdf[-1] then stays below cdf[-1] in float32, so no token of probability 0 can be drawn
    return torch.rand(total, steps, generator=torch.Generator().manual_seed(seed)).clamp_(max=1 - 2.0**-23)


def filter_logits(logits: Tensor, top_p: float) -> Tensor:
    """(B, V) with everything outside the smallest set of mass >= top_p, ties with its last token in, at -inf."""
    if top_p == 1:
        return logits
    return logits.masked_fill(logits < nucleus_floor(logits.contiguous(), top_p), float("-inf"))


def draw(logits: Tensor, u: Tensor, job: Job) -> tuple[Tensor, Tensor]:
    """logits (B, V) float32, u (B,) in [0, 1) -> token (B,) by inverse CDF (argmax at temperature 0), log p (B,)."""
    z = logits / job.temperature if job.temperature not in (0.0, 1.0) else logits
    allowed = z
    if job.banned:
        allowed = z.clone()
        allowed[:, list(job.banned)] = float("-inf")
    if job.temperature == 0:
        token = allowed.argmax(-1)
    else:
        allowed = filter_logits(allowed, job.top_p)
        # float32 sums over a large vocabulary drift on a CPU, which adds in sequence
        wide = torch.float64 if z.shape[-1] > 8192 and z.device.type == "cpu" else torch.float32
        p = allowed.softmax(-1, dtype=wide)
        cdf = p.cumsum(-1)
        token = torch.searchsorted(cdf, (u.to(wide) * cdf[:, -1])[:, None], right=True)[:, 0]
        if allowed is z:  # the drawn token has p > 0, so its log is exact enough and saves a pass
            return token, p.gather(1, token[:, None])[:, 0].log().float()
    return token, z.log_softmax(-1).gather(1, token[:, None])[:, 0]
