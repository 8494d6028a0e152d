"""The network as it is computed here: sizes, factors and modules of a causal LM, and the sampler's forward over them.

    Geometry(model) --blocks--> Block per layer --Net--> prefill of prompts; q, k, v, mlp and logits of a decode step

Symbols: P prompts, p of them in a chunk, l their length, H query heads, K key/value heads, g = H/K, D head width, I the
width of the MLP, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def has_delta(linear: nn.Module) -> bool:
    """Whether this SVDLinear adds U (delta * (Vh x)) now (not folded into its weight)."""
    return getattr(linear, "delta", None) is not None and not linear.basis.folded


def is_fused(linear: nn.Module) -> bool:
    """Whether this SVDLinear computes U ((S + delta) * (Vh x)) now and never reads its weight."""
    return has_delta(linear) and linear.basis.fused


def side_matrix(linear: nn.Module, dtype: torch.dtype) -> Tensor:
    """U diag(delta) Vh (out, in): what an SVDLinear adds to its frozen weight."""
    return ((linear.U * linear.delta.to(linear.U.dtype)) @ linear.Vh).to(dtype)


def is_plain(linear: nn.Module) -> bool:
    return type(linear) is nn.Linear or hasattr(linear, "Vh")


def _joined(linears: list[nn.Module]) -> Callable[[Tensor], Tensor]:
    """x -> the outputs of several Linears of the same input side by side, as one matrix product where that is exact."""
    hooked = any(has_delta(m) for m in linears)
    inexact = hooked and (is_fused(linears[0]) or linears[0].weight.dtype != torch.float32)
    if inexact or not all(is_plain(m) for m in linears):
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
