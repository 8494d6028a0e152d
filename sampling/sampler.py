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

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Engine = Literal["auto", "eager", "graph"]
OnFinish = Callable[[int, list[int]], None]


@dataclass
class Sampled:
    """One rollout: ids with the EOS that ended it, log p of each id at the sampling temperature, ended by EOS."""

    ids: list[int]
    logps: list[float]
    finished: bool


@torch.no_grad()
def sample(
    model: nn.Module,
    prompts: list[list[int]],
    n: int,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    eos_ids: tuple[int, ...],
    seed: int,
    on_finish: OnFinish | None = None,
    engine: Engine = "auto",
    force_lengths: list[int] | None = None,
    max_rows: int | None = None,
    memory_gb: float | None = None,
    first_row: int = 0,
    all_rows: int | None = None,
) -> list[Sampled]:
    """n rollouts of each prompt, prompt-major; deterministic given (weights, prompts, n, seed, device, engine).

    token ~ softmax(logits / temperature), then top_k, then top_p; temperature 0 takes the argmax. Sampled.logps holds
    log softmax(logits / temperature)[token], before top_k / top_p (at temperature 0: of the plain logits).
    on_finish(index, ids) is called once for each rollout, as soon as it is known to have ended.
    force_lengths (len(prompts) * n token counts) switches EOS off and ends each rollout at its count (benchmarks).
    Memory: at most max_rows rollouts decode at once (default 512, graph engine 256 or 1024 by model size) and memory_gb
    bounds the KV cache (default: what is free on the GPU; no bound on a CPU); the rest follow as rows end.
    first_row of all_rows: these rollouts are that slice of a larger batch shared between processes, and draw the same
    numbers as they would in one.
    A delta_s model is sampled with its delta: merged in float32, by an exact side product in bfloat16.
    Raises ValueError for empty prompts, arguments out of range, or a model that is not of ARCHITECTURES.
    """
    _check(model, prompts, n, max_new_tokens, temperature, top_k, top_p, eos_ids, force_lengths, max_rows)
    total = len(prompts) * n
    if total == 0:
        return []
    limits = list(force_lengths) if force_lengths is not None else [max_new_tokens] * total
    job = Job(
        prompts=prompts, n=n, limits=limits, temperature=temperature, top_k=top_k, top_p=top_p,
        eos=() if force_lengths is not None else tuple(eos_ids), banned=eos_ids if force_lengths is not None else (),
        uniforms=uniforms(all_rows or total, max(limits), seed)[first_row : first_row + total],
        on_finish=on_finish or (lambda index, ids: None),
    )  # fmt: skip
    device = next(model.parameters()).device
    if engine == "graph" or (engine == "auto" and device.type == "cuda"):
        if device.type != "cuda":
            raise ValueError(f"--sampler graph needs a CUDA device, the model is on {device}; use --sampler eager")
        from sampling.graph import sample_graph  # Triton is only needed here

        return sample_graph(model, job, max_rows=max_rows, memory_gb=memory_gb)
    return _sample_eager(model, job, max_rows or 512, memory_gb)


@dataclass
class Job:
    """What both engines need: rollout i belongs to prompt i // n and ends at limits[i] tokens or an eos."""

    prompts: list[list[int]]
    n: int
    limits: list[int]
    temperature: float
    top_k: int
    top_p: float
    eos: tuple[int, ...]
    banned: tuple[int, ...]
    uniforms: Tensor  # (P*n, T) float32 in [0, 1)
    on_finish: OnFinish


def uniforms(total: int, steps: int, seed: int) -> Tensor:
    """(total, steps) float32 in [0, 1 - 2^-23], drawn on the CPU so that every device samples with the same numbers."""
    # 1 - 2^-23: u * cdf[-1] then stays below cdf[-1] in float32, so no token of probability 0 can be drawn
    return torch.rand(total, steps, generator=torch.Generator().manual_seed(seed)).clamp_(max=1 - 2.0**-23)


def _check(model, prompts, n, max_new_tokens, temperature, top_k, top_p, eos_ids, force_lengths, max_rows):
    bad = [i for i, p in enumerate(prompts) if not len(p)]
    if bad:
        raise ValueError(f"prompt {bad[0]} is empty: the sampler needs at least one token to condition on")
    for name, value, ok, want in (
        ("n", n, n >= 1, ">= 1"),
        ("max_new_tokens", max_new_tokens, max_new_tokens >= 1, ">= 1"),
        ("temperature", temperature, temperature >= 0, ">= 0"),
        ("top_k", top_k, top_k >= 0, ">= 0 (0 = off)"),
        ("top_p", top_p, 0 < top_p <= 1, "in (0, 1]"),
        ("max_rows", max_rows, max_rows is None or max_rows >= 1, ">= 1"),
    ):
        if not ok:
            raise ValueError(f"{name}={value}: must be {want}")
    if force_lengths is not None and (len(force_lengths) != len(prompts) * n or min(force_lengths, default=1) < 1):
        raise ValueError(f"force_lengths: give {len(prompts) * n} lengths >= 1, one for each rollout")
    longest = max((len(p) for p in prompts), default=0) + max(force_lengths or [max_new_tokens])
    cap = getattr(model.config, "max_position_embeddings", longest)
    if longest > cap:
        raise ValueError(
            f"prompt + max_new_tokens = {longest} tokens, but the model ends at {cap}: lower max_new_tokens"
        )
    vocab = model.config.vocab_size
    if any(not 0 <= t < vocab for p in prompts for t in p):
        raise ValueError(f"a prompt holds a token id outside the model's vocabulary of {vocab}: wrong tokenizer?")


# ---------------------------------------------------------------------------------------------------------------------
# The network, read from the model's own modules


def has_delta(linear: nn.Module) -> bool:
    """Whether this SVDLinear adds U (delta * (Vh x)) now (not folded into its weight)."""
    return getattr(linear, "delta", None) is not None and not linear.basis.folded


def side_matrix(linear: nn.Module, dtype: torch.dtype) -> Tensor:
    """U diag(delta) Vh (out, in): what an SVDLinear adds to its frozen weight."""
    return ((linear.U * linear.delta.to(linear.U.dtype)) @ linear.Vh).to(dtype)


def is_plain(linear: nn.Module) -> bool:
    return type(linear) is nn.Linear or hasattr(linear, "Vh")


def _joined(linears: list[nn.Module]) -> Callable[[Tensor], Tensor]:
    """x -> the outputs of several Linears of the same input side by side, as one matrix product where that is exact."""
    hooked = any(has_delta(m) for m in linears)
    if not all(is_plain(m) for m in linears) or (hooked and linears[0].weight.dtype != torch.float32):
        # bf16 weights cannot hold a small delta (it rounds away), foreign adapters are only known by their call
        return linears[0] if len(linears) == 1 else lambda x: torch.cat([m(x) for m in linears], dim=-1)
    parts = [m.weight + side_matrix(m, m.weight.dtype) if has_delta(m) else m.weight for m in linears]
    weight = parts[0] if len(parts) == 1 else torch.cat(parts)
    if all(m.bias is None for m in linears):
        bias = None
    else:
        bias = torch.cat([m.weight.new_zeros(m.weight.shape[0]) if m.bias is None else m.bias for m in linears])
    return lambda x: F.linear(x, weight, bias)


@dataclass
class Block:
    """One decoder layer: norms, joined projections, and the q/k norm weights (H+K, D) or None."""

    norm1: nn.Module
    norm2: nn.Module
    qkv: Callable[[Tensor], Tensor]  # (..., hidden) -> (..., (H + 2K) D)
    out: Callable[[Tensor], Tensor]
    gate_up: Callable[[Tensor], Tensor]  # (..., hidden) -> (..., 2 I)
    down: Callable[[Tensor], Tensor]
    act: Callable[[Tensor], Tensor]
    qk_weight: Tensor | None
    rope: bool = True  # SmolLM3 leaves some layers without


def logit_factor(model: nn.Module) -> float:
    """What the head's products are multiplied with to be logits: 1 / logits_scaling in Granite."""
    return 1.0 / getattr(model.config, "logits_scaling", 1.0)


def has_rope(layer: nn.Module) -> bool:
    return bool(getattr(layer.self_attn, "use_rope", True))


# The architectures whose forward this file and model/packed.py compute exactly, shown by tests in float32. A config
# that looks alike is no proof: others differ in where a norm, a factor or a rotation stands.
ARCHITECTURES = ("granite", "llama", "mistral", "qwen2", "qwen3", "seed_oss", "smollm3")


def refuse_unknown(cfg, name: str) -> None:
    """ValueError in one line where the model of this transformers config would not be computed exactly."""
    kind = getattr(cfg, "model_type", "") or type(cfg).__name__
    if kind not in ARCHITECTURES:
        raise ValueError(
            f"{name}: the architecture {kind} is not among those that are sampled and trained exactly "
            f"({', '.join(ARCHITECTURES)}); choose a model of one of these"
        )
    if getattr(cfg, "quantization_config", None):
        raise ValueError(f"{name}: its weights are quantised, which cannot be trained; choose the unquantised model")
    kinds = getattr(cfg, "layer_types", None)
    window = kinds is None and getattr(cfg, "use_sliding_window", True) and getattr(cfg, "sliding_window", None)
    if window or set(kinds or ()) - {"full_attention"}:
        raise ValueError(
            f"{name}: it has sliding-window layers, which are not supported; choose a model whose layers all see the "
            "whole text (Mistral: version 0.2 or later)"
        )
    rope = (getattr(cfg, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope in ("dynamic", "longrope"):
        raise ValueError(
            f"{name}: rope_type {rope} is not supported, since its angles change with the length; choose another model"
        )


class Geometry:
    """Sizes, factors and modules of a causal LM of ARCHITECTURES; raises ValueError naming what it cannot run."""

    def __init__(self, model: nn.Module):
        body, cfg = getattr(model, "model", None), model.config
        refuse_unknown(cfg, type(model).__name__)
        need = ("embed_tokens", "layers", "norm", "rotary_emb")
        if body is None or not all(hasattr(body, a) for a in need) or getattr(model, "lm_head", None) is None:
            raise ValueError(f"{type(model).__name__}: not a causal language model, it has no head over the vocabulary")
        self.body, self.cfg, self.head = body, cfg, model.lm_head
        self.embed_factor = getattr(cfg, "embedding_multiplier", 1.0)  # Granite's factors, 1 elsewhere
        self.residual_factor = getattr(cfg, "residual_multiplier", 1.0)
        self.logit_factor = logit_factor(model)
        self.layers = body.layers
        attn = self.layers[0].self_attn
        self.n_layers, self.D = len(self.layers), attn.head_dim
        self.H, self.K = cfg.num_attention_heads, cfg.num_key_value_heads
        self.g, self.scale = self.H // self.K, attn.scaling
        self.hidden, self.inter, self.vocab = cfg.hidden_size, cfg.intermediate_size, cfg.vocab_size
        self.qk_norm = hasattr(attn, "q_norm")
        self.device, self.dtype = body.embed_tokens.weight.device, body.embed_tokens.weight.dtype

    def embed(self, ids: Tensor) -> Tensor:
        h = self.body.embed_tokens(ids)
        return h if self.embed_factor == 1 else h * self.embed_factor

    def add(self, h: Tensor, out: Tensor) -> Tensor:
        """The residual stream h and a block's output."""
        return h + (out if self.residual_factor == 1 else out * self.residual_factor)

    def rope_table(self, length: int) -> tuple[Tensor, Tensor]:
        """cos, sin (length, D) with the minus of rotate_half folded into sin: rope(x) = x cos + roll(x, D/2) sin."""
        pos = torch.arange(length, device=self.device)[None]
        cos, sin = self.body.rotary_emb(torch.empty(0, dtype=self.dtype, device=self.device), pos)
        sin = torch.cat((-sin[0, :, : self.D // 2], sin[0, :, self.D // 2 :]), dim=-1)
        return cos[0].contiguous(), sin.contiguous()

    def blocks(self) -> list[Block]:
        out = []
        for layer in self.layers:
            a, m = layer.self_attn, layer.mlp
            qk = (
                torch.cat([a.q_norm.weight.expand(self.H, -1), a.k_norm.weight.expand(self.K, -1)])
                if self.qk_norm
                else None
            )
            out.append(Block(
                layer.input_layernorm, layer.post_attention_layernorm, _joined([a.q_proj, a.k_proj, a.v_proj]),
                _joined([a.o_proj]), _joined([m.gate_proj, m.up_proj]), _joined([m.down_proj]), m.act_fn, qk,
                has_rope(layer),
            ))  # fmt: skip
        return out


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """weight * x / sqrt(mean(x^2) + eps), rounded as transformers does: normalised in float32, cast, then scaled."""
    if x.dtype == torch.float32:
        return F.rms_norm(x, (x.shape[-1],), eps=eps) * weight
    h = x.float()
    return weight * (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def _norm(x: Tensor, module: nn.Module) -> Tensor:
    return rms_norm(x, module.weight, module.variance_epsilon)


class Net:
    """The forward pass over blocks; weights are gathered when it is built, so build one per call of `sample`."""

    def __init__(self, geo: Geometry, length: int, blocks: list[Block] | None = None):
        self.geo, self.blocks = geo, geo.blocks() if blocks is None else blocks
        self.cos, self.sin = geo.rope_table(length)

    def qkv(self, block: Block, h: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """h (..., hidden) -> q (..., H, D), k (..., K, D), v (..., K, D), q and k normed and rotated."""
        g = self.geo
        y = block.qkv(_norm(h, block.norm1)).unflatten(-1, (g.H + 2 * g.K, g.D))
        qk, v = y[..., : g.H + g.K, :], y[..., g.H + g.K :, :]
        if block.qk_weight is not None:
            qk = rms_norm(qk, block.qk_weight, g.layers[0].self_attn.q_norm.variance_epsilon)
        if block.rope:
            qk = qk * cos + qk.roll(g.D // 2, -1) * sin
        return qk[..., : g.H, :], qk[..., g.H :, :], v

    def mlp(self, block: Block, h: Tensor) -> Tensor:
        gate, up = block.gate_up(_norm(h, block.norm2)).chunk(2, dim=-1)
        return block.down(block.act(gate) * up)

    def logits(self, h: Tensor) -> Tensor:
        logits = self.geo.head(_norm(h, self.geo.body.norm)).float()
        return logits if self.geo.logit_factor == 1 else logits * self.geo.logit_factor

    def prefill(
        self, prompts: list[list[int]], budget: int, store: Callable[[int, list[int], Tensor, Tensor, Tensor], None]
    ) -> Tensor:
        """Run prompts once; store(layer, which, lengths, k, v) gets k, v (p, K, l, D); returns last logits (P, V)."""
        g = self.geo
        logits = torch.empty(len(prompts), g.vocab, device=g.device)
        for which in _chunks_by_length(prompts, budget):
            lens = torch.tensor([len(prompts[i]) for i in which], device=g.device)
            width = len(prompts[which[-1]])
            ids = torch.tensor([prompts[i] + [0] * (width - len(prompts[i])) for i in which], device=g.device)
            cos, sin = self.cos[:width, None], self.sin[:width, None]  # (l, 1, D)
            h = g.embed(ids)  # (p, l, hidden)
            for i, block in enumerate(self.blocks):
                q, k, v = (x.transpose(1, 2) for x in self.qkv(block, h, cos, sin))  # (p, heads, l, D)
                store(i, which, lens, k, v)
                # right padding: no real token looks right, so plain causal attention needs no mask
                o = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=g.scale, enable_gqa=g.g > 1)
                h = g.add(h, block.out(o.transpose(1, 2).flatten(2)))
                h = g.add(h, self.mlp(block, h))
            logits[which] = self.logits(h[torch.arange(len(which), device=g.device), lens - 1])
        return logits


def _chunks_by_length(prompts: list[list[int]], budget: int) -> Iterator[list[int]]:
    """Indices by rising length, cut so that count * longest <= budget tokens (at least one prompt a chunk)."""
    chunk: list[int] = []
    for i in sorted(range(len(prompts)), key=lambda j: len(prompts[j])):
        if chunk and (len(chunk) + 1) * len(prompts[i]) > budget:
            yield chunk
            chunk = []
        chunk.append(i)
    if chunk:
        yield chunk


# ---------------------------------------------------------------------------------------------------------------------
# Sampling


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


def filter_logits(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """(B, V) with everything outside the top_k tokens, then outside the smallest set of mass >= top_p, at -inf.

    Both sets hold every token whose logit ties with their last one.
    """
    if top_k and top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k, dim=-1).values[:, -1:], float("-inf"))
    if top_p < 1:
        logits = logits.masked_fill(logits < nucleus_floor(logits.contiguous(), top_p), float("-inf"))
    return logits


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
        allowed = filter_logits(allowed, job.top_k, job.top_p)
        # float32 sums over a large vocabulary drift on a CPU, which adds in sequence
        wide = torch.float64 if z.shape[-1] > 8192 and z.device.type == "cpu" else torch.float32
        p = allowed.softmax(-1, dtype=wide)
        cdf = p.cumsum(-1)
        token = torch.searchsorted(cdf, (u.to(wide) * cdf[:, -1])[:, None], right=True)[:, 0]
        if allowed is z:  # the drawn token has p > 0, so its log is exact enough and saves a pass
            return token, p.gather(1, token[:, None])[:, 0].log().float()
    return token, z.log_softmax(-1).gather(1, token[:, None])[:, 0]


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
