"""The training forward over packed tokens: each prompt once, all its completions against it, no padding.

    tokens  [ prompt 1 | prompt 2 | ... | completions of unit 1 | completions of unit 2 | ... ]
    self    every segment attends to itself, causally
    across  a completion also sees all of its unit's prompt: out = sum_i e^(lse_i - lse) out_i, lse = log sum_i e^lse_i
    backward each part alone, with the joint out and lse (the identity that ring attention uses, 2310.01889)

Exact, not an approximation: a completion token sees what it would see behind a prompt of its own. What is shared is the
prompt's gradient: a prompt token's part belongs to all rollouts of its unit together, so a unit holds rollouts of one
source only. 256 rollouts of 340 tokens on prompts of 400: 93 k tokens a step in place of 185 k.

Symbols: N packed tokens, S segments, H query heads, K key/value heads, D head width, r rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.net import Geometry, has_rope, rms_norm


@dataclass(frozen=True)
class Unit:
    """Completions of one prompt that may share its gradient, and each one's index among all rollouts."""

    prompt_ids: list[int]
    completions: list[list[int]]
    rollouts: list[int]

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + sum(map(len, self.completions))


def cut_units(units: Sequence[Unit], tokens: int) -> list[Unit]:
    """Units of at most `tokens` tokens (one completion at least); a cut unit's parts repeat its prompt."""
    out = []
    for u in units:
        part: list[int] = []
        used = len(u.prompt_ids)
        for i, c in enumerate(u.completions):
            if part and used + len(c) > tokens:
                out.append(Unit(u.prompt_ids, [u.completions[j] for j in part], [u.rollouts[j] for j in part]))
                part, used = [], len(u.prompt_ids)
            part.append(i)
            used += len(c)
        if part:
            out.append(Unit(u.prompt_ids, [u.completions[j] for j in part], [u.rollouts[j] for j in part]))
    return out


def micro_batches(units: Sequence[Unit], tokens: int) -> list[list[Unit]]:
    """Cut units, in order, in batches of at most `tokens` packed tokens (one unit at least)."""
    batches: list[list[Unit]] = []
    room = 0
    for u in cut_units(units, tokens):
        if not batches or u.length > room:
            batches.append([])
            room = tokens
        batches[-1].append(u)
        room -= u.length
    return batches


class Packed:
    """Where everything lies in one packed micro-batch; index tensors on the device, lengths on the host."""

    def __init__(self, units: Sequence[Unit], device: torch.device):
        prompts = [u.prompt_ids for u in units]
        done = [c for u in units for c in u.completions]
        if not all(prompts) or not all(done):
            raise ValueError("an empty prompt or completion cannot be trained on")
        self.n_prompt = sum(map(len, prompts))
        self.segments = [len(x) for x in (*prompts, *done)]
        self.cu_self = [0, *accumulate(self.segments)]
        self.cu_prompt = [0, *accumulate(map(len, prompts))]
        self.cu_unit = [0, *accumulate(sum(map(len, u.completions)) for u in units)]
        tokens = torch.tensor([t for x in (*prompts, *done) for t in x])
        starts = [0] * len(units) + [len(u.prompt_ids) for u in units for _ in u.completions]
        position = torch.cat([torch.arange(s, s + n) for s, n in zip(starts, self.segments, strict=True)])
        self.longest = max(s + n for s, n in zip(starts, self.segments, strict=True))
        before = torch.arange(-1, len(tokens) - 1)  # the token that predicts each one
        first = self.cu_self[len(units) : -1]
        ends = torch.tensor(self.cu_prompt[1:]) - 1
        before[torch.tensor(first)] = ends.repeat_interleave(torch.tensor([len(u.completions) for u in units]))
        self.ids, self.position = tokens.to(device), position.to(device)
        self.before, self.targets = before[self.n_prompt :].to(device), self.ids[self.n_prompt :]
        self.rollouts = [i for u in units for i in u.rollouts]
        lengths = torch.tensor([len(c) for c in done])
        self.rollout_of = torch.tensor(self.rollouts).repeat_interleave(lengths).to(device)  # of each completion token
        self.host = {"self": self.cu_self, "prompt": self.cu_prompt, "unit": self.cu_unit}
        self.cu = {name: torch.tensor(x, dtype=torch.int32, device=device) for name, x in self.host.items()}
        self.pads: dict[str, list] = {}  # of _Part

    def mask(self) -> Tensor:
        """(N, N) bool, True where a query token may see a key token: the definition that attention must meet."""
        n_units, dev = len(self.cu_prompt) - 1, self.ids.device
        sizes = torch.tensor(self.segments, device=dev)
        segment = torch.arange(len(sizes), device=dev).repeat_interleave(sizes)
        unit = torch.arange(n_units, device=dev).repeat_interleave(torch.diff(torch.tensor(self.cu_unit, device=dev)))
        at = torch.arange(len(self.ids), device=dev)
        own = (segment[:, None] == segment[None]) & (at[:, None] >= at[None])
        across = torch.zeros_like(own)
        across[self.n_prompt :, : self.n_prompt] = unit[:, None] == segment[None, : self.n_prompt]
        return own | across


# ----------------------------------------------------------------------------------------------------------- attention


def _heads_first(*xs: Tensor) -> list[Tensor]:
    """(N, H, D) -> (1, H, N, D), as torch's kernels want it."""
    return [x.transpose(0, 1)[None] for x in xs]


def _longest(cu: list[int]) -> int:
    return max(b - a for a, b in zip(cu, cu[1:], strict=False))


class _Padded:
    """Segments as rows, x (N, H, D) -> (S, longest, H, D), zeros past each end: as many launches for any S."""

    MOST = 1 << 28  # scores of all heads of one such block, 1 GiB in float32

    def __init__(self, cu_q: Tensor, cu_k: Tensor, n_q: int, n_k: int, causal: bool):
        """n_q, n_k: longest segment."""
        (self.q, self.at_q), (self.k, self.at_k) = self._places(cu_q, n_q), self._places(cu_k, n_k)
        self.hidden = (self.k == cu_k[-1])[:, None, None]  # (S, 1, 1 | n_q, n_k)
        if causal:
            self.hidden = self.hidden | torch.ones(n_q, n_k, dtype=torch.bool, device=cu_q.device).triu(1)

    @classmethod
    def blocks(cls, cu_q: list[int], cu_k: list[int], heads: int, causal: bool, device: torch.device) -> list:
        """[(block, its q, its k)]: consecutive segments, together at most MOST scores, or one."""
        cuts = [0]
        longest = [0, 0]
        for i, (a, b, c, d) in enumerate(zip(cu_q, cu_q[1:], cu_k, cu_k[1:], strict=False)):
            longest = [max(longest[0], b - a), max(longest[1], d - c)]
            if i > cuts[-1] and (i + 1 - cuts[-1]) * longest[0] * longest[1] * heads > cls.MOST:
                cuts.append(i)
                longest = [b - a, d - c]
        out = []
        for i, j in zip(cuts, [*cuts[1:], len(cu_q) - 1], strict=True):
            ends = [[x - cu[i] for x in cu[i : j + 1]] for cu in (cu_q, cu_k)]
            block = cls(*(torch.tensor(x, device=device) for x in ends), *map(_longest, ends), causal)
            out.append((block, slice(cu_q[i], cu_q[j]), slice(cu_k[i], cu_k[j])))
        return out

    @staticmethod
    def _places(cu: Tensor, longest: int) -> tuple[Tensor, Tensor]:
        """((S, longest) token in each place, N for none; (N,) place of each token)."""
        at = torch.arange(longest, device=cu.device)
        inside = at < torch.diff(cu)[:, None]
        return torch.where(inside, cu[:-1, None] + at, cu[-1]).long(), inside.flatten().nonzero()[:, 0]

    @staticmethod
    def rows(x: Tensor, places: Tensor, fill: float = 0.0) -> Tensor:
        return torch.cat([x, x.new_full((1, *x.shape[1:]), fill)])[places]

    def scores(self, q: Tensor, k: Tensor, scale: float) -> Tensor:
        """Padded q (S, m, H, D), k (S, l, H, D) -> (S, H, m, l)."""
        return (torch.einsum("bmhd,blhd->bhml", q, k) * scale).masked_fill(self.hidden, float("-inf"))

    def forward(self, q, k, v, scale: float):
        g = q.shape[1] // k.shape[1]
        kk, vv = (self.rows(x, self.k).repeat_interleave(g, 2) for x in (k, v))
        s = self.scores(self.rows(q, self.q), kk, scale)
        lse = s.logsumexp(-1, keepdim=True)
        out = torch.einsum("bhml,blhd->bmhd", (s - lse).exp(), vv)
        return out.flatten(0, 1)[self.at_q], lse[..., 0].transpose(1, 2).flatten(0, 1)[self.at_q].T

    def backward(self, do, q, k, v, out, lse, scale: float):
        g = q.shape[1] // k.shape[1]
        qq, dd, delta = (self.rows(x, self.q) for x in (q, do, (do * out).sum(-1)))
        kk, vv = (self.rows(x, self.k).repeat_interleave(g, 2) for x in (k, v))
        none = float("inf")  # a query that is not there has no share of anything
        p = (self.scores(qq, kk, scale) - self.rows(lse.T, self.q, none).transpose(1, 2)[..., None]).exp()
        ds = p * (torch.einsum("bmhd,blhd->bhml", dd, vv) - delta.transpose(1, 2)[..., None]) * scale
        dq = torch.einsum("bhml,blhd->bmhd", ds, kk).flatten(0, 1)[self.at_q]
        fold = lambda x: x.unflatten(2, (-1, g)).sum(3).flatten(0, 1)[self.at_k]  # noqa: E731  heads of one k together
        dk, dv = (fold(torch.einsum("bhml,bmhd->blhd", a, b)) for a, b in ((ds, qq), (p, dd)))
        return dq, dk, dv


@dataclass(frozen=True)
class _Part:
    """Attention of each segment of one kind to one of another: flash in bf16 on CUDA, padded in float32 there (launches
    cost most), segment by segment on the CPU (padding does)."""

    lay: Packed
    which_q: str
    which_k: str
    causal: bool
    scale: float

    def forward(self, q, k, v) -> tuple[Tensor, Tensor]:
        """out (n, H, D), log-sum-exp (H, n)."""
        if _padded(q):
            parts = [x.forward(q[at], k[to], v[to], self.scale) for x, at, to in self._blocks(q)]
            return torch.cat([out for out, _ in parts]), torch.cat([lse for _, lse in parts], 1)
        if not _flash(q):
            return self._forward_by_segment(q, k, v)
        out, lse, *_ = torch.ops.aten._flash_attention_forward(
            q, k, v, *self._lengths(), 0.0, self.causal, False, scale=self.scale
        )
        if lse.shape != (q.shape[1], q.shape[0]):
            raise RuntimeError(
                f"flash attention of torch {torch.__version__} gives a log-sum-exp of shape {tuple(lse.shape)}, not "
                f"(heads, tokens): use torch 2.11 to 2.15"
            )
        return out, lse

    def backward(self, do, q, k, v, out, lse) -> tuple[Tensor, Tensor, Tensor]:
        """dq, dk, dv of this part, from the joint out and log-sum-exp of all parts."""
        if _padded(q):
            parts = [
                x.backward(do[at], q[at], k[to], v[to], out[at], lse[:, at], self.scale)
                for x, at, to in self._blocks(q)
            ]
            return tuple(map(torch.cat, zip(*parts, strict=True)))
        if not _flash(q):
            return self._backward_by_segment(do, q, k, v, out, lse)
        state = torch.zeros(2, dtype=torch.uint64, device=q.device)  # of dropout, which is 0
        return torch.ops.aten._flash_attention_backward(
            do, q, k, v, out, lse, *self._lengths(), 0.0, self.causal, state, torch.empty(0, device=q.device),
            scale=self.scale,
        )  # fmt: skip

    def _lengths(self) -> tuple[Tensor, Tensor, int, int]:
        """Ends and longest segment of queries and keys, as flash attention wants them."""
        lay, names = self.lay, (self.which_q, self.which_k)
        return *(lay.cu[x] for x in names), *(_longest(lay.host[x]) for x in names)

    def _segments(self) -> list[tuple[slice, slice]]:
        """(queries, keys) of each segment."""
        q, k = self.lay.host[self.which_q], self.lay.host[self.which_k]
        return [(slice(a, b), slice(c, d)) for a, b, c, d in zip(q, q[1:], k, k[1:], strict=False)]

    def _blocks(self, q: Tensor) -> list:
        """_Padded.blocks, made by the first layer and read by all."""
        lay = self.lay
        if self.which_q not in lay.pads:
            ends = (lay.host[self.which_q], lay.host[self.which_k])
            lay.pads[self.which_q] = _Padded.blocks(*ends, q.shape[1], self.causal, q.device)
        return lay.pads[self.which_q]

    def _forward_by_segment(self, q, k, v) -> tuple[Tensor, Tensor]:
        """torch's flash kernel for CPUs, once a segment."""
        g = q.shape[1] // k.shape[1]
        out = torch.empty_like(q)
        lse = torch.empty(q.shape[1], q.shape[0], dtype=torch.promote_types(q.dtype, torch.float32))
        q, k, v = _heads_first(q, k.repeat_interleave(g, 1), v.repeat_interleave(g, 1))
        for at, to in self._segments():
            o, l = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                q[:, :, at], k[:, :, to], v[:, :, to], 0.0, self.causal, scale=self.scale
            )
            out[at], lse[:, at] = o[0].transpose(0, 1), l[0]
        return out, lse

    def _backward_by_segment(self, do, q, k, v, out, lse) -> tuple[Tensor, Tensor, Tensor]:
        g = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(g, 1), v.repeat_interleave(g, 1)
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        do, q, k, v, out = _heads_first(do, q, k, v, out)
        for at, to in self._segments():
            grads = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                do[:, :, at], q[:, :, at], k[:, :, to], v[:, :, to], out[:, :, at], lse[None, :, at], 0.0, self.causal,
                scale=self.scale,
            )  # fmt: skip
            dq[at], dk[to], dv[to] = (x[0].transpose(0, 1) for x in grads)
        fold = lambda x: x.unflatten(1, (-1, g)).sum(2)  # noqa: E731  heads of one k together
        return dq, fold(dk), fold(dv)


def _flash(q: Tensor) -> bool:
    return q.is_cuda and q.dtype in (torch.bfloat16, torch.float16)


def _padded(q: Tensor) -> bool:
    return q.is_cuda and not _flash(q)


class _SharedAttention(torch.autograd.Function):
    """q (N, H, D), k and v (N, K, D) -> (N, H, D) under Packed.mask, without ever forming it."""

    @staticmethod
    def forward(ctx, q, k, v, lay: Packed, scale: float):
        p = lay.n_prompt
        own, across = _Part(lay, "self", "self", True, scale), _Part(lay, "unit", "prompt", False, scale)
        out, lse = own.forward(q, k, v)
        o2, lse2 = across.forward(q[p:], k[:p], v[:p])
        lse1 = lse[:, p:]
        share = torch.sigmoid(lse2 - lse1)  # (H, n): the prompt's share of the softmax mass
        weight = share.T[..., None].to(torch.promote_types(out.dtype, torch.float32))
        out[p:] = (out[p:] + weight * (o2 - out[p:])).to(out.dtype)
        lse = torch.cat([lse[:, :p], torch.logaddexp(lse1, lse2)], dim=1)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.own, ctx.across, ctx.n_prompt = own, across, p
        return out

    @staticmethod
    def backward(ctx, do):
        q, k, v, out, lse = ctx.saved_tensors
        p, do = ctx.n_prompt, do.contiguous()
        dq, dk, dv = ctx.own.backward(do, q, k, v, out, lse)
        dq2, dk2, dv2 = ctx.across.backward(do[p:], q[p:], k[:p], v[:p], out[p:], lse[:, p:].contiguous())
        for whole, part in ((dq[p:], dq2), (dk[:p], dk2), (dv[:p], dv2)):
            whole += part
        return dq, dk, dv, None, None


# ------------------------------------------------------------------------------------------------------------- forward


def _norm(x: Tensor, module: nn.Module) -> Tensor:
    if x.is_cuda and x.dtype == torch.bfloat16:
        from model.kernels import norm  # Triton is only needed here

        return norm(x, module.weight, module.variance_epsilon)
    return rms_norm(x, module.weight, module.variance_epsilon)


def _head_norm_rope(x: Tensor, module: nn.Module | None, cos: Tensor | None, sin: Tensor | None) -> Tensor:
    """x (N, heads, D) -> normed over D and rotated where the model does so; sin carries rotate_half's minus."""
    if x.is_cuda and x.dtype == torch.bfloat16 and module is not None and cos is not None:
        from model.kernels import norm_rope

        return norm_rope(x, module.weight, cos, sin, module.variance_epsilon)
    if module is not None:
        x = rms_norm(x, module.weight, module.variance_epsilon)
    return x if cos is None else x * cos[:, None] + x.roll(x.shape[-1] // 2, -1) * sin[:, None]


def _gated(gate: Tensor, up: Tensor, act: nn.Module, silu: bool) -> Tensor:
    if silu and gate.is_cuda and gate.dtype == torch.bfloat16:
        from model.kernels import silu_mul

        return silu_mul(gate, up)
    return act(gate) * up


def hidden_states(model: nn.Module, lay: Packed) -> Tensor:
    """(N, hidden) after the last norm of a model of net.ARCHITECTURES; layers are recomputed where it says so."""
    geo = Geometry(model)
    table_cos, table_sin = geo.rope_table(lay.longest)
    cos, sin = table_cos[lay.position], table_sin[lay.position]  # (N, D)
    silu = getattr(geo.cfg, "hidden_act", "silu") == "silu"

    def block(h: Tensor, layer: nn.Module) -> Tensor:
        a, m = layer.self_attn, layer.mlp
        x = _norm(h, layer.input_layernorm)
        angles = (cos, sin) if has_rope(layer) else (None, None)
        q = _head_norm_rope(a.q_proj(x).unflatten(-1, (geo.H, geo.D)), getattr(a, "q_norm", None), *angles)
        k = _head_norm_rope(a.k_proj(x).unflatten(-1, (geo.K, geo.D)), getattr(a, "k_norm", None), *angles)
        v = a.v_proj(x).unflatten(-1, (geo.K, geo.D))
        h = geo.add(h, a.o_proj(_SharedAttention.apply(q, k, v, lay, geo.scale).flatten(1)))
        x = _norm(h, layer.post_attention_layernorm)
        return geo.add(h, m.down_proj(_gated(m.gate_proj(x), m.up_proj(x), m.act_fn, silu)))

    h = geo.embed(lay.ids)
    for layer in geo.layers:
        recompute = layer.training and getattr(layer, "gradient_checkpointing", False)
        h = checkpoint(block, h, layer, use_reentrant=False) if recompute else block(h, layer)
    return _norm(h, geo.body.norm)
