"""Prompts -> completions, batched: the one sampler that training, the teacher cache and evaluation use.

    prompts --prefill once each--> shared prompt KV --decode, all rollouts together, finished rows dropped--> Sampled

Two engines, the same numbers up to rounding:
    eager  any device, PyTorch operators; the reference, and fast on a CPU for small models
    graph  CUDA: one CUDA graph per live-batch size, paged KV, Triton attention (sampling/graph.py)

Differs from `model.generate`:
 1. each prompt is prefilled once and its KV is read by all its rollouts in place (attention over the prompt and over
    the completion are computed apart and joined by their log-sum-exp), where generate copies the prompt n times;
 2. rows that ended leave the batch, where generate runs them to the longest;
 3. sampling is the inverse CDF of ONE uniform number per (seed, rollout, position), so that a rollout does not depend
    on which others shared its batch, on waves, or on the engine (except where rounding tips a near-tie);
 4. grouped queries attend without repeating K and V.

Symbols: P prompts, n rollouts a prompt, B live rows, H query heads, K key/value heads, g = H/K, D head width,
t completion tokens so far, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from model.net import Geometry, Net
from sampling.draw import Job, OnFinish, Sampled, draw, uniforms

Engine = Literal["auto", "eager", "graph"]


@dataclass(frozen=True)
class Sampling:
    """What fixes the tokens: softmax(logits / temperature) within its nucleus top_p; at temperature 0 the argmax."""

    max_new_tokens: int
    eos_ids: tuple[int, ...]
    seed: int
    temperature: float = 1.0
    top_p: float = 1.0
    force_lengths: list[int] | None = None  # a token count for each rollout, EOS switched off (benchmarks)
    first_row: int = 0  # these rollouts are that slice of `all_rows` shared between processes, and draw the same
    all_rows: int | None = None  # numbers as they would in one


@torch.no_grad()
def sample(
    model: nn.Module,
    prompts: list[list[int]],
    n: int,
    how: Sampling,
    *,
    on_finish: OnFinish | None = None,
    engine: Engine = "auto",
    max_rows: int | None = None,
    memory_gb: float | None = None,
) -> list[Sampled]:
    """n rollouts of each prompt, prompt-major; deterministic given (weights, prompts, n, how, device, engine).

    Sampled.logps holds log softmax(logits / temperature)[token], before top_p (at temperature 0: of the plain logits).
    on_finish(index, ids) is called once for each rollout, as soon as it is known to have ended.
    Memory: at most max_rows rollouts decode at once (default 512, graph engine 256 or 1024 by model size) and memory_gb
    bounds the KV cache (default: what is free on the GPU; no bound on a CPU); the rest follow as rows end.
    A delta_s model is sampled with its delta: merged in float32, in bfloat16 as its own forward computes it.
    Raises ValueError for empty prompts, arguments out of range, or a model that is not of ARCHITECTURES.
    """
    _check(model, prompts, n, how, max_rows)
    total = len(prompts) * n
    if total == 0:
        return []
    limits = how.force_lengths or [how.max_new_tokens] * total
    eos, banned = ((), how.eos_ids) if how.force_lengths else (how.eos_ids, ())
    numbers = uniforms(how.all_rows or total, max(limits), how.seed)[how.first_row : how.first_row + total]
    job = Job(
        prompts=prompts, n=n, limits=limits, temperature=how.temperature, top_p=how.top_p, eos=eos, banned=banned,
        uniforms=numbers, on_finish=on_finish or (lambda index, ids: None),
    )  # fmt: skip
    device = next(model.parameters()).device
    if engine == "graph" or (engine == "auto" and engine_of(model) == "graph"):
        if device.type != "cuda":
            raise ValueError(f"the graph engine needs a CUDA device, the model is on {device}")
        from sampling.graph import sample_graph  # Triton is only needed here

        return sample_graph(model, job, max_rows=max_rows, memory_gb=memory_gb)
    return _sample_eager(model, job, max_rows or 512, memory_gb)


def engine_of(model: nn.Module) -> Engine:
    """CUDA graphs on a GPU where they compute the model, eager elsewhere."""
    if next(model.parameters()).device.type != "cuda":
        return "eager"
    from sampling.graph import lacks

    return "eager" if lacks(Geometry(model)) else "graph"


def _check(model: nn.Module, prompts: list[list[int]], n: int, how: Sampling, max_rows: int | None) -> None:
    bad = [i for i, p in enumerate(prompts) if not len(p)]
    if bad:
        raise ValueError(f"prompt {bad[0]} is empty: the sampler needs at least one token to condition on")
    for name, value, ok, want in (
        ("n", n, n >= 1, ">= 1"),
        ("max_new_tokens", how.max_new_tokens, how.max_new_tokens >= 1, ">= 1"),
        ("temperature", how.temperature, how.temperature >= 0, ">= 0"),
        ("top_p", how.top_p, 0 < how.top_p <= 1, "in (0, 1]"),
        ("max_rows", max_rows, max_rows is None or max_rows >= 1, ">= 1"),
    ):
        if not ok:
            raise ValueError(f"{name}={value}: must be {want}")
    forced = how.force_lengths
    if forced is not None and (len(forced) != len(prompts) * n or min(forced, default=1) < 1):
        raise ValueError(f"force_lengths: give {len(prompts) * n} lengths >= 1, one for each rollout")
    longest = max((len(p) for p in prompts), default=0) + max(forced or [how.max_new_tokens])
    cap = getattr(model.config, "max_position_embeddings", longest)
    if longest > cap:
        raise ValueError(
            f"prompt + max_new_tokens = {longest} tokens, but the model ends at {cap}: lower max_new_tokens"
        )
    vocab = model.config.vocab_size
    if any(not 0 <= t < vocab for p in prompts for t in p):
        raise ValueError(f"a prompt holds a token id outside the model's vocabulary of {vocab}: wrong tokenizer?")


# ---------------------------------------------------------------------------------------------------------------------
# The eager engine: all live rows have the same number t of completion tokens


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """q (b, m, D), k, v (b, l, D), mask (b, 1, l) -> softmax(q k^T scale + mask) v (b, m, D), log-sum-exp (b, m)."""
    if q.dtype == torch.float32:
        s = torch.bmm(q * scale, k.transpose(1, 2))
    else:
        s = torch.bmm(q, k.transpose(1, 2)).float() * scale
    if mask is not None:
        s += mask
    p = s.softmax(-1)
    # max p = exp(max s - lse): two maxima and a short log are cheaper than a second pass of exponentials
    return torch.bmm(p.to(v.dtype), v), s.amax(-1) - p.amax(-1).log()


class _Wave:
    """Rows decoded together: prompt KV once a prompt, completion KV a row, rows of ended rollouts squeezed out."""

    def __init__(self, net: Net, job: Job, rows: range):
        geo, dev = net.geo, net.geo.device
        self.net, self.geo, self.job = net, geo, job
        self.rows = torch.arange(rows.start, rows.stop, device=dev)  # rollout of each row
        self.owner = self.rows // job.n - rows.start // job.n  # its prompt within the wave
        prompts = job.prompts[rows.start // job.n : (rows.stop - 1) // job.n + 1]
        self.steps = max(job.limits[rows.start : rows.stop])
        width, b = max(map(len, prompts)), len(rows)
        self.plen = torch.tensor([len(p) for p in prompts], device=dev)
        kv = dict(dtype=geo.dtype, device=dev)
        self.pk = [torch.zeros(len(prompts), geo.K, width, geo.D, **kv) for _ in range(geo.n_layers)]
        self.pv = [torch.zeros_like(x) for x in self.pk]
        self.ck = [torch.empty(b, geo.K, self.steps, geo.D, **kv) for _ in range(geo.n_layers)]
        self.cv = [torch.empty_like(x) for x in self.ck]

        def store(layer, which, lens, k, v):
            self.pk[layer][which, :, : k.shape[2]] = k
            self.pv[layer][which, :, : v.shape[2]] = v

        self.first = net.prefill(prompts, 16384 if dev.type == "cuda" else 4096, store)[self.owner]
        self._arrange()

    def _arrange(self):
        """Lay rows out on a grid of prompts x most rows a prompt has: a prompt's KV meets all its rows at once."""
        present, self.owner = self.owner.unique(return_inverse=True)
        if len(present) < len(self.plen):
            self.plen = self.plen[present]
            width = int(self.plen.max())
            self.pk = [x[present, :, :width] for x in self.pk]
            self.pv = [x[present, :, :width] for x in self.pv]
        counts = self.owner.bincount(minlength=len(present))
        self.m = int(counts.max())
        start = counts.cumsum(0) - counts
        at = torch.arange(len(self.owner), device=self.owner.device)
        self.slot = self.owner * self.m + at - start[self.owner]  # cell of each row
        self.full = len(self.owner) == len(present) * self.m
        self.fill = torch.zeros(len(present) * self.m, dtype=torch.long, device=at.device)
        self.fill[self.slot] = at  # row of each cell; empty cells repeat row 0 and are never read
        width = self.pk[0].shape[2]
        pad = torch.arange(width, device=at.device) >= self.plen[:, None]  # (P, l)
        bias = torch.zeros(pad.shape, dtype=torch.float32, device=at.device).masked_fill_(pad, float("-inf"))
        self.mask = bias.repeat_interleave(self.geo.K, 0)[:, None] if bool(pad.any()) else None  # (P K, 1, l)
        self.base = self.plen[self.owner]  # (B,) position of the row's first completion token

    def _prompt_attention(self, q: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """q (B, H, D) -> (B, H, D), log-sum-exp (B, H) over the row's prompt."""
        geo, p, m = self.geo, len(self.plen), self.m
        cells = q if self.full else q[self.fill]
        cells = cells.view(p, m, geo.K, geo.g, geo.D).transpose(1, 2).reshape(p * geo.K, m * geo.g, geo.D)
        o, lse = attend(cells, self.pk[layer].flatten(0, 1), self.pv[layer].flatten(0, 1), geo.scale, self.mask)
        o = o.view(p, geo.K, m, geo.g, geo.D).transpose(1, 2).reshape(p * m, geo.H, geo.D)
        lse = lse.view(p, geo.K, m, geo.g).transpose(1, 2).reshape(p * m, geo.H)
        return (o, lse) if self.full else (o[self.slot], lse[self.slot])

    def step(self, token: Tensor, t: int) -> Tensor:
        """token (B,) at completion position t -> logits (B, V) of position t + 1."""
        net, geo, b = self.net, self.geo, len(token)
        pos = self.base + t
        cos, sin = net.cos[pos][:, None], net.sin[pos][:, None]  # (B, 1, D)
        h = geo.embed(token)  # (B, hidden)
        for i, block in enumerate(net.blocks):
            q, k, v = net.qkv(block, h, cos, sin)
            ck, cv = self.ck[i], self.cv[i]
            ck[:b, :, t], cv[:b, :, t] = k, v
            own = q.reshape(b * geo.K, geo.g, geo.D)
            o_c, lse_c = attend(own, ck[:b, :, : t + 1].flatten(0, 1), cv[:b, :, : t + 1].flatten(0, 1), geo.scale)
            o_p, lse_p = self._prompt_attention(q, i)
            share = torch.sigmoid(lse_p - lse_c.view(b, geo.H))[..., None]  # the prompt's share of the softmax mass
            o = o_c.view(b, geo.H, geo.D).lerp(o_p, share.to(o_p.dtype))
            h = geo.add(h, block.out(o.flatten(1)))
            h = geo.add(h, net.mlp(block, h))
        return net.logits(h)

    def drop(self, keep: Tensor, t: int):
        """Squeeze the rows out that keep (B,) bool leaves behind; t completion positions are filled."""
        idx = keep.nonzero()[:, 0]
        b = len(idx)
        for cache in (*self.ck, *self.cv):
            cache[:b, :, :t] = cache[idx, :, :t]
        self.rows, self.owner = self.rows[idx], self.owner[idx]
        self._arrange()


def _sample_eager(model: nn.Module, job: Job, max_rows: int, memory_gb: float | None) -> list[Sampled]:
    geo = Geometry(model)
    total = len(job.limits)
    if memory_gb is not None:
        longest = max(map(len, job.prompts)) + max(job.limits)  # a row may bring a prompt of its own
        per_row = 2 * geo.n_layers * geo.K * geo.D * longest * geo.dtype.itemsize
        if per_row > memory_gb * 1e9:
            raise ValueError(
                f"memory_gb={memory_gb}: one rollout of {longest} tokens needs {per_row / 1e9:.2f} GB; raise it"
            )
        max_rows = min(max_rows, int(memory_gb * 1e9 / per_row))
    net = Net(geo, max(map(len, job.prompts)) + max(job.limits))
    out: list[Sampled | None] = [None] * total
    for start in range(0, total, max_rows):
        _run_wave(_Wave(net, job, range(start, min(start + max_rows, total))), job, out)
    return out


def _run_wave(wave: _Wave, job: Job, out: list[Sampled | None]) -> None:
    dev, first = wave.geo.device, int(wave.rows[0])
    count = len(wave.rows)
    u = job.uniforms[first : first + count].to(dev)
    limit = torch.tensor(job.limits[first : first + count], device=dev)
    eos = torch.tensor(job.eos, dtype=torch.long, device=dev)
    ids = torch.zeros(wave.steps, count, dtype=torch.long, device=dev)
    logps = torch.zeros(wave.steps, count, device=dev)
    local = torch.arange(count, device=dev)  # column of each row in ids
    done = torch.zeros(count, dtype=torch.bool, device=dev)  # per row still in the batch
    length = torch.zeros(count, dtype=torch.long, device=dev)  # per column, set when it ends
    poll = 1 if dev.type == "cpu" else 8  # reading flags waits for the GPU
    logits, reported, waste = wave.first, torch.zeros_like(done), 0
    for t in range(wave.steps):
        token, logp = draw(logits, u[local, t], job)
        ids[t, local], logps[t, local] = token, logp
        ended = (torch.isin(token, eos) | (limit[local] <= t + 1)) & ~done
        length[local] = torch.where(ended, t + 1, length[local])
        done |= ended
        if (t + 1) % poll and t + 1 < wave.steps:
            logits = wave.step(token, t)
            continue
        dead = int(done.sum())
        if dead > int(reported[local].sum()):
            for j in local[done & ~reported[local]].tolist():
                k = int(length[j])
                row = ids[:k, j].tolist()
                out[first + j] = Sampled(row, logps[:k, j].tolist(), row[-1] in job.eos)
                job.on_finish(first + j, row)
            reported[local[done]] = True
        if dead == len(done):
            return
        waste += dead * poll
        if (
            2 * waste >= len(done) - dead
        ):  # squeezing copies the live KV once or twice, a dead row reads its own each step
            keep = ~done
            wave.drop(keep, t)
            token, local, done, waste = token[keep], local[keep], done[keep], 0
        logits = wave.step(token, t)
