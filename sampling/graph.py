"""The sampler's CUDA engine: one CUDA graph per live-batch size, paged KV, Triton attention that reads prompts once.

    admit rows (prefill new prompts) -> [ replay the step's graph `poll` times -> drop ended rows ] until none is left

A row is a live rollout and owns a slot (its state on the device: last token, length, block table, uniforms). Dropping
rows rewrites the slot list only: KV never moves. KV lives in pages of 64 tokens that rows take as they grow and give
back when they end, so memory follows the tokens alive, not rows x cap; when pages run out, the youngest rows are put
back in the queue and drawn again later, with the same uniforms and so with the same tokens up to rounding.

One step, per layer: [add + norm] [qkv] [q/k norm + rope + KV store] [attention over prompts, one tile per prompt and 64
queries] [attention over completions] [combine] [o] [add + norm] [gate, up] [silu * up] [down]; then the head and a
two-kernel sampler (inverse CDF over chunks of the vocabulary) that also books the token, so nothing waits on the host.

delta_s models in bfloat16: y = U ((S + delta) * (Vh x)), the very function that is trained; W is not read.
"""

from __future__ import annotations

import heapq
import weakref
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor, nn

from model import kernels
from model.kernels import allowed_logits, nucleus_kernel, pow2
from model.net import Block, Geometry, Net, has_delta, has_rope, is_fused, is_plain
from sampling.draw import Job, Sampled, draw

PAGE = 64  # tokens a KV page
MAX_EOS = 16
BUCKETS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024)
LOG2E = 1.4426950408889634


# ------------------------------------------------------------------------------------------------------------- kernels


@triton.jit
def _norm_kernel(x, add, w, out, eps, N: tl.constexpr, ADD: tl.constexpr, BLOCK: tl.constexpr):
    """x <- x + add (in place, if ADD); out = w * x / rms(x), each rounding where transformers rounds."""
    r = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    ok = i < N
    h = tl.load(x + r * N + i, mask=ok, other=0.0)
    if ADD:
        h = (h.to(tl.float32) + tl.load(add + r * N + i, mask=ok, other=0.0).to(tl.float32)).to(x.dtype.element_ty)
        tl.store(x + r * N + i, h, mask=ok)
    f = h.to(tl.float32)
    y = (f * (1.0 / tl.sqrt(tl.sum(f * f, 0) / N + eps))).to(out.dtype.element_ty).to(tl.float32)
    y = y * tl.load(w + i, mask=ok, other=0.0).to(tl.float32)
    tl.store(out + r * N + i, y.to(out.dtype.element_ty), mask=ok)


@triton.jit
def _rope_kernel(  # noqa: PLR0913
    qkv, qkw, cos, sin, q, kpool, vpool, slot, ntok, base, table, eps,
    NT: tl.constexpr, H: tl.constexpr, K: tl.constexpr, D: tl.constexpr, BD: tl.constexpr,
    PAGE: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """qkv (b, H + 2K, D) -> q (b, H, D) normed and rotated; k likewise, and v, into the row's current page."""
    r, h = tl.program_id(0), tl.program_id(1)
    s = tl.load(slot + r)
    c = tl.load(ntok + s) - 1  # completion index of the token fed now
    i = tl.arange(0, BD)
    ok = i < D
    dt = q.dtype.element_ty
    src = qkv + (r.to(tl.int64) * (H + 2 * K) + h) * D
    x = tl.load(src + i, mask=ok, other=0.0)
    kh = tl.where(h < H + K, h - H, h - H - K)
    page = tl.load(table + s * NT + c // PAGE).to(tl.int64)
    cell = ((page * K + kh) * PAGE + c % PAGE) * D + i
    if h >= H + K:
        tl.store(vpool + cell, x, mask=ok)
    else:
        j = tl.where(i < D // 2, i + D // 2, i - D // 2)
        y = tl.load(src + j, mask=ok, other=0.0)  # the other half
        if NORM:
            f = x.to(tl.float32)
            inv = 1.0 / tl.sqrt(tl.sum(f * f, 0) / D + eps)
            wx = tl.load(qkw + h * D + i, mask=ok, other=0.0).to(tl.float32)
            wy = tl.load(qkw + h * D + j, mask=ok, other=0.0).to(tl.float32)
            x = ((f * inv).to(dt).to(tl.float32) * wx).to(dt)
            y = ((y.to(tl.float32) * inv).to(dt).to(tl.float32) * wy).to(dt)
        pos = tl.load(base + s) + c
        a = (x.to(tl.float32) * tl.load(cos + pos * D + i, mask=ok, other=0.0).to(tl.float32)).to(dt)
        b = (y.to(tl.float32) * tl.load(sin + pos * D + i, mask=ok, other=0.0).to(tl.float32)).to(dt)
        z = (a.to(tl.float32) + b.to(tl.float32)).to(dt)
        if h < H:
            tl.store(q + (r.to(tl.int64) * H + h) * D + i, z, mask=ok)
        else:
            tl.store(kpool + cell, z, mask=ok)


@triton.jit
def _attend_kernel(  # noqa: PLR0913
    q, kpool, vpool, tiles, slot, lens, table, part, stat, scale2,
    NT: tl.constexpr, H: tl.constexpr, K: tl.constexpr, G: tl.constexpr, D: tl.constexpr, BD: tl.constexpr,
    PAGE: tl.constexpr, BM: tl.constexpr, NS: tl.constexpr, S0: tl.constexpr, NSPLIT: tl.constexpr,
    PROMPT: tl.constexpr,
):  # fmt: skip
    """One split of the keys of one tile of queries: unnormalised output, running maximum (base 2) and sum.

    PROMPT: tile (source, first row, rows) of a prompt's rows, source a row of table/lens. Otherwise: one row, own keys.
    """
    tile, kh, sp = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    if PROMPT:
        src = tl.load(tiles + tile * 3).to(tl.int64)
        row0 = tl.load(tiles + tile * 3 + 1)
        rows = tl.load(tiles + tile * 3 + 2)
    else:
        src = tl.load(slot + tile)
        row0 = tile
        rows = 1
    if rows > 0:
        n = tl.load(lens + src)
        blocks = (n + PAGE - 1) // PAGE
        per = (blocks + NSPLIT - 1) // NSPLIT
        lo = sp * per
        hi = tl.minimum(lo + per, blocks)
        mi = tl.arange(0, BM)
        i = tl.arange(0, BD)
        nn = tl.arange(0, PAGE)
        ok = i < D
        head = (row0 + mi // G).to(tl.int64) * H + kh * G + mi % G  # (BM,) flat (row, head)
        live = mi < rows * G
        qt = tl.load(q + head[:, None] * D + i[None, :], mask=live[:, None] & ok[None, :], other=0.0)
        top = tl.full((BM,), float("-inf"), tl.float32)
        total = tl.zeros((BM,), tl.float32)
        acc = tl.zeros((BM, BD), tl.float32)
        for blk in range(lo, hi):
            page = tl.load(table + src * NT + blk).to(tl.int64)
            cell = ((page * K + kh) * PAGE + nn)[:, None] * D + i[None, :]
            seen = blk * PAGE + nn < n
            kt = tl.load(kpool + cell, mask=seen[:, None] & ok[None, :], other=0.0)
            vt = tl.load(vpool + cell, mask=seen[:, None] & ok[None, :], other=0.0)  # in flight beside K
            s = tl.dot(qt, tl.trans(kt), input_precision="ieee") * scale2
            s = tl.where(seen[None, :], s, float("-inf"))
            new = tl.maximum(top, tl.max(s, 1))
            fade = tl.exp2(top - new)
            p = tl.exp2(s - new[:, None])
            acc = acc * fade[:, None] + tl.dot(p.to(vt.dtype), vt, input_precision="ieee")
            total = total * fade + tl.sum(p, 1)
            top = new
        at = head * NS + S0 + sp
        tl.store(part + at[:, None] * D + i[None, :], acc, mask=live[:, None] & ok[None, :])
        tl.store(stat + at * 2, top, mask=live)
        tl.store(stat + at * 2 + 1, total, mask=live)


@triton.jit
def _combine_kernel(part, stat, out, D: tl.constexpr, BD: tl.constexpr, NS: tl.constexpr, BS: tl.constexpr):
    """Join the splits of one (row, head): out = sum_s 2^(m_s - M) acc_s / sum_s 2^(m_s - M) l_s."""
    at = tl.program_id(0).to(tl.int64)
    s = tl.arange(0, BS)
    i = tl.arange(0, BD)
    ok = i < D
    m = tl.load(stat + (at * NS + s) * 2, mask=s < NS, other=float("-inf"))
    total = tl.load(stat + (at * NS + s) * 2 + 1, mask=s < NS, other=0.0)
    w = tl.exp2(m - tl.max(m, 0))
    acc = tl.load(part + (at * NS + s)[:, None] * D + i[None, :], mask=(s < NS)[:, None] & ok[None, :], other=0.0)
    y = tl.sum(acc * w[:, None], 0) / tl.sum(w * total, 0)
    tl.store(out + at * D + i, y.to(out.dtype.element_ty), mask=ok)


@triton.jit
def _silu_kernel(gu, out, N: tl.constexpr, BLOCK: tl.constexpr):
    """gu (b, 2N) -> silu(first half) * second half."""
    r = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    ok = i < N
    g = tl.load(gu + r * 2 * N + i, mask=ok, other=0.0).to(tl.float32)
    u = tl.load(gu + r * 2 * N + N + i, mask=ok, other=0.0).to(tl.float32)
    a = (g / (1.0 + tl.exp(-g))).to(out.dtype.element_ty).to(tl.float32)
    tl.store(out + r * N + i, (a * u).to(out.dtype.element_ty), mask=ok)


@triton.jit
def _vocab_kernel(  # noqa: PLR0913
    logits, low, inv_t, banned, stats, arg,
    V: tl.constexpr, NC: tl.constexpr, CHUNK: tl.constexpr, NB: tl.constexpr, FILTER: tl.constexpr,
):  # fmt: skip
    """Per chunk of one row: max and sum of exponentials of all logits, and of the allowed ones with their argmax."""
    r, c = tl.program_id(0), tl.program_id(1)
    i = c * CHUNK + tl.arange(0, CHUNK)
    ok = i < V
    t = tl.load(inv_t)
    z = tl.load(logits + r.to(tl.int64) * V + i, mask=ok, other=float("-inf")).to(tl.float32) * t
    m = tl.max(z, 0)
    at = stats + (r * NC + c) * 4
    tl.store(at, m)
    tl.store(at + 1, tl.sum(tl.exp(z - m), 0))
    floor = tl.load(low + r) if FILTER else float("-inf")
    z = allowed_logits(logits, r.to(tl.int64), i, V, banned, NB, floor) * t
    m = tl.max(z, 0)
    tl.store(at + 2, m)
    tl.store(at + 3, tl.sum(tl.where(z > float("-inf"), tl.exp(z - m), 0.0), 0))
    tl.store(arg + r * NC + c, (c * CHUNK + tl.argmax(z, 0)).to(tl.int32))


@triton.jit
def _pick_kernel(  # noqa: PLR0913
    logits, low, inv_t, banned, stats, arg, eos, slot, tok, ntok, done, limit, uni, out_ids, out_logps,
    V: tl.constexpr, NC: tl.constexpr, BC: tl.constexpr, CHUNK: tl.constexpr, T: tl.constexpr, NB: tl.constexpr,
    NE: tl.constexpr, FILTER: tl.constexpr, GREEDY: tl.constexpr,
):  # fmt: skip
    """Choose a row's token (inverse CDF of its uniform, or argmax) and book it, unless the row has ended."""
    r = tl.program_id(0).to(tl.int64)
    s = tl.load(slot + r)
    if tl.load(done + s) == 0:
        n = tl.load(ntok + s)
        t = tl.load(inv_t)
        c = tl.arange(0, BC)
        ok = c < NC
        at = stats + (r * NC + c) * 4
        m_all = tl.load(at, mask=ok, other=float("-inf"))
        top_all = tl.max(m_all, 0)
        lse = top_all + tl.log(tl.sum(tl.load(at + 1, mask=ok, other=0.0) * tl.exp(m_all - top_all), 0))
        m = tl.load(at + 2, mask=ok, other=float("-inf"))
        top = tl.max(m, 0)
        if GREEDY:
            best = tl.argmax(m, 0)  # the lowest index wins a tie, as torch.argmax has it on the whole row
            token = tl.load(arg + r * NC + best).to(tl.int64)
        else:
            mass = tl.load(at + 3, mask=ok, other=0.0) * tl.exp(m - top)
            cdf = tl.cumsum(mass, 0)
            x = tl.load(uni + s * T + n) * tl.sum(tl.where(c == NC - 1, cdf, 0.0), 0)
            pick = tl.minimum(tl.sum(((cdf <= x) & ok).to(tl.int32), 0), NC - 1)
            before = tl.sum(tl.where(c == pick, cdf - mass, 0.0), 0)
            i = pick * CHUNK + tl.arange(0, CHUNK)
            floor = tl.load(low + r) if FILTER else float("-inf")
            z = allowed_logits(logits, r, i, V, banned, NB, floor) * t
            p = tl.where(z > float("-inf"), tl.exp(z - top), 0.0)
            inside = tl.sum((before + tl.cumsum(p, 0) <= x).to(tl.int32), 0)
            last = tl.max(tl.where(p > 0, tl.arange(0, CHUNK), 0), 0)  # rounding must not pass the last live token
            token = (pick * CHUNK + tl.minimum(inside, last)).to(tl.int64)
        token = tl.minimum(tl.maximum(token, 0), V - 1)
        logp = tl.load(logits + r * V + token).to(tl.float32) * t - lse
        tl.store(out_ids + s * T + n, token.to(tl.int32))
        tl.store(out_logps + s * T + n, logp)
        tl.store(tok + s, token)
        tl.store(ntok + s, n + 1)
        over = n + 1 >= tl.load(limit + s)
        for j in range(NE):
            over = over | (token == tl.load(eos + j))
        tl.store(done + s, over.to(tl.int32))


# ------------------------------------------------------------------------------------------------------------- weights


class Joined:
    """Several Linears of one input in few matrix products; refreshed each call.

    plain     one product with their weights
    folded    the same with U diag(delta) Vh added, which float32 holds without loss
    fused     y = U ((S + delta) * (Vh x)), as trained: one product with every Vh, one scaling, a product with each U
    modules   the model's own, for adapters of others, bfloat16 that is not fused, and where memory is tight
    """

    def __init__(self, linears: list[nn.Module], copies: bool):
        self.linears, self.copies = linears, copies
        self.way = self.way_of(linears, copies)
        if self.way == "modules":
            return
        parts = self._parts(linears, self.way)
        self.matrix = parts[0].detach()  # (weights' rows or ranks, in)
        if self.copied(linears):
            self.matrix = self.matrix.new_empty(sum(map(len, parts)), self.matrix.shape[1])
        self.cuts = [0, *accumulate(map(len, parts))]
        self.outs = [0, *accumulate(m.weight.shape[0] for m in linears)]
        self.scale = torch.empty(self.cuts[-1], device=self.matrix.device)
        biased = any(m.bias is not None for m in linears)
        self.bias = self.matrix.new_zeros(self.outs[-1]) if biased else None

    @classmethod
    def way_of(cls, linears: list[nn.Module], copies: bool = True) -> str:
        if not all(map(is_plain, linears)) or (not copies and cls.copied(linears)):
            return "modules"
        if is_fused(linears[0]):
            return "fused"
        if all(getattr(m, "delta", None) is None for m in linears):
            return "plain"
        return "folded" if linears[0].weight.dtype == torch.float32 else "modules"

    @staticmethod
    def _parts(linears: list[nn.Module], way: str) -> list[Tensor]:
        return [m.Vh if way == "fused" else m.weight for m in linears]

    @classmethod
    def copied(cls, linears: list[nn.Module]) -> int:
        """Numbers that the joined matrix holds beside the model."""
        way = cls.way_of(linears)
        if way == "modules" or (len(linears) == 1 and way != "folded"):
            return 0
        return sum(x.numel() for x in cls._parts(linears, way))

    def pointers(self) -> list:
        """How the model is read now, and the addresses of its tensors that a captured graph would read directly."""
        way = self.way_of(self.linears, self.copies)
        if way == "modules":
            return [way, *(p.data_ptr() for m in self.linears for p in (*m.parameters(), *m.buffers()))]
        own = [] if self.copied(self.linears) else self._parts(self.linears, way)
        return [way, *(x.data_ptr() for x in own), *(m.U.data_ptr() for m in self.linears if way == "fused")]

    @torch.no_grad()
    def refresh(self) -> None:
        if self.way == "modules":
            return
        copied = bool(self.copied(self.linears))
        parts = self._parts(self.linears, self.way)
        for i, (m, part) in enumerate(zip(self.linears, parts, strict=True)):
            at = slice(*self.cuts[i : i + 2])
            if self.way == "folded" and has_delta(m):
                torch.addmm(m.weight, m.U * m.delta, m.Vh, out=self.matrix[at])
            elif copied:
                self.matrix[at].copy_(part)
            if self.way == "fused":
                torch.add(m.S, m.delta, out=self.scale[at])
            if m.bias is not None:
                self.bias[slice(*self.outs[i : i + 2])].copy_(m.bias)

    def __call__(self, x: Tensor) -> Tensor:
        if self.way == "modules":
            ys = [m(x) for m in self.linears]
            return ys[0] if len(ys) == 1 else torch.cat(ys, dim=-1)
        if self.way != "fused":
            return F.linear(x, self.matrix, self.bias)
        a = F.linear(x.flatten(0, -2), self.matrix).mul_(self.scale)  # the scale in float32, rounded once: `times`
        y = x.new_empty(len(a), self.outs[-1])
        for i, m in enumerate(self.linears):
            torch.mm(a[:, slice(*self.cuts[i : i + 2])], m.U.T, out=y[:, slice(*self.outs[i : i + 2])])
        if self.bias is not None:
            y += self.bias
        return y.view(*x.shape[:-1], -1)


def _linears(layer: nn.Module) -> list[list[nn.Module]]:
    """The layer's Linears, those of one input together, in Block's order."""
    a, m = layer.self_attn, layer.mlp
    return [[a.q_proj, a.k_proj, a.v_proj], [a.o_proj], [m.gate_proj, m.up_proj], [m.down_proj]]


# -------------------------------------------------------------------------------------------------------------- engine


@dataclass
class Row:
    """Host side of a live rollout."""

    rollout: int
    slot: int
    prompt: int
    pages: list[int] = field(default_factory=list)
    ntok: int = 1


def lacks(geo: Geometry) -> str:
    """What of a model this engine does not compute, in words; "" where it computes all."""
    if getattr(geo.cfg, "hidden_act", "silu") != "silu":
        return f"has silu only, not {geo.cfg.hidden_act}"
    if (geo.embed_factor, geo.residual_factor, geo.logit_factor) != (1, 1, 1):
        return f"has none of the factors of {geo.cfg.model_type}"
    return f"has even head widths only, not {geo.D}" if geo.D % 2 else ""


class Engine:
    """Static buffers, weights and captured graphs of one model; kept between calls, rebuilt when they no longer fit."""

    def __init__(self, model: nn.Module, max_rows: int, steps: int, prompt: int, worst_pages: int, memory_gb, capture):
        geo = self.geo = Geometry(model)
        if why := lacks(geo):
            raise ValueError(f"the graph engine {why}; the eager one has it")
        self.capture, self.max_rows, self.steps, self.prompt = capture, max_rows, steps, prompt
        self.memory_gb, self.wanted = memory_gb, worst_pages
        dev, dt = geo.device, geo.dtype
        copies, pages = self._plan_memory(worst_pages, memory_gb)
        self.pages = pages
        blocks = []
        self.joined: list[Joined] = []
        for layer in geo.layers:
            js = [Joined(p, copies) for p in _linears(layer)]
            self.joined += js
            qk = None
            if geo.qk_norm:
                qk = torch.empty(geo.H + geo.K, geo.D, dtype=dt, device=dev)
            norms = (layer.input_layernorm, layer.post_attention_layernorm)
            blocks.append(Block(*norms, *js, layer.mlp.act_fn, qk, has_rope(layer)))
        self.net = Net(geo, prompt + steps, blocks)
        turn, still = (self.net.cos, self.net.sin), (torch.ones_like(self.net.cos), torch.zeros_like(self.net.sin))
        self.angles = [turn if block.rope else still for block in blocks]
        kv = (geo.n_layers, pages, geo.K, PAGE, geo.D)
        self.kpool = torch.zeros(kv, dtype=dt, device=dev)  # zeros: page 0 (idle rows) must never hold a NaN
        self.vpool = torch.zeros(kv, dtype=dt, device=dev)
        n = max_rows + 1  # the last slot idles: it pads a bucket
        self.nt, self.np = -(-steps // PAGE), -(-prompt // PAGE)
        long, i32, f32 = torch.long, torch.int32, torch.float32

        def zeros(*shape, dtype):
            return torch.zeros(*shape, dtype=dtype, device=dev)

        self.slot = torch.full((max_rows,), max_rows, dtype=long, device=dev)
        self.tok, self.ntok = zeros(n, dtype=long), torch.ones(n, dtype=i32, device=dev)
        self.base, self.limit = zeros(n, dtype=i32), torch.ones(n, dtype=i32, device=dev)
        self.done = torch.ones(n, dtype=i32, device=dev)
        self.uni, self.out_logps = zeros(n, steps, dtype=f32), zeros(n, steps, dtype=f32)
        self.out_ids = zeros(n, steps, dtype=i32)
        self.table, self.ptable = zeros(n, self.nt, dtype=i32), zeros(n, self.np, dtype=i32)
        self.plen = zeros(n, dtype=i32)
        self.tiles = zeros(max_rows, 3, dtype=i32)
        self.eos, self.banned = zeros(MAX_EOS, dtype=long) - 1, zeros(MAX_EOS, dtype=long) - 1
        self.inv_t = torch.ones(1, device=dev)
        self.graphs: dict[tuple, Callable[[], None]] = {}
        self.pool = None
        self.pointers = self._pointers()

    def _plan_memory(self, worst_pages: int, memory_gb: float | None) -> tuple[bool, int]:
        """Whether to hold joined weights, and how many KV pages, within the budget."""
        g = self.geo
        page_gb = 2 * g.n_layers * g.K * PAGE * g.D * g.dtype.itemsize / 1e9
        numbers = sum(Joined.copied(part) for layer in g.layers for part in _linears(layer))
        copies_gb = numbers * g.dtype.itemsize / 1e9
        if memory_gb is None:
            if g.device.type != "cuda":
                return True, worst_pages
            free = torch.cuda.mem_get_info(g.device)[0]
            free += torch.cuda.memory_reserved(g.device) - torch.cuda.memory_allocated(g.device)
            memory_gb = 0.6 * free / 1e9
        copies = copies_gb <= 0.75 * memory_gb
        kv_gb = memory_gb - (copies_gb if copies else 0)
        return copies, min(worst_pages, int(kv_gb / page_gb))

    def fits(self, max_rows: int, steps: int, prompt: int, worst_pages: int, memory_gb: float | None) -> bool:
        """Whether this engine can serve such a call and its graphs still read the model's live tensors."""
        room = self.pages >= worst_pages or self.pages < self.wanted  # the budget bound it: a new one is no larger
        sizes = max_rows <= self.max_rows and steps <= self.steps and prompt <= self.prompt
        now = [m for layer in self.geo.layers for part in _linears(layer) for m in part]
        held = [m for j in self.joined for m in j.linears]
        same = all(a is b for a, b in zip(now, held)) and self.pointers == self._pointers()  # attach() swaps modules
        return sizes and room and same and memory_gb == self.memory_gb

    def _pointers(self) -> list:
        g = self.geo
        own = [g.body.embed_tokens.weight, g.head.weight, g.body.norm.weight]
        own += [n.weight for layer in g.layers for n in (layer.input_layernorm, layer.post_attention_layernorm)]
        return [p.data_ptr() for p in own] + [x for j in self.joined for x in j.pointers()]

    @torch.no_grad()
    def refresh(self) -> None:
        """Bring joined weights, scales and norm tables up to date with the model."""
        g = self.geo
        for j in self.joined:
            j.refresh()
        for block, layer in zip(self.net.blocks, g.layers, strict=True):
            if block.qk_weight is not None:
                block.qk_weight[: g.H] = layer.self_attn.q_norm.weight
                block.qk_weight[g.H :] = layer.self_attn.k_norm.weight

    # ---- one decode step of b rows

    def _norm(self, h: Tensor, add: Tensor | None, module: nn.Module) -> Tensor:
        out = torch.empty_like(h)
        n = h.shape[1]
        _norm_kernel[(h.shape[0],)](
            h, h if add is None else add, module.weight, out, module.variance_epsilon, N=n, ADD=add is not None,
            BLOCK=pow2(n), num_warps=8 if n > 1024 else 4,
        )  # fmt: skip
        return out

    def _splits(self, b: int, loose: bool) -> tuple[int, int]:
        """Splits of the prompt's and of the completion's keys: two to four programs for each of ~132 processors."""
        tiles = b if loose else max(1, b // 16)
        prompt = min(8, self.np, -(-256 // (self.geo.K * tiles)))
        own = min(16, self.nt, -(-512 // (self.geo.K * b)))
        return prompt, own

    def step(self, b: int, loose: bool, job: Job) -> None:
        """Feed every row's last token, choose and book the next one; only device work, so it can be captured."""
        g, slot = self.geo, self.slot[:b]
        caps = self._tile_cap(b, loose)
        bm = self._tile_queries(loose)
        bd = max(16, pow2(g.D))
        ns_p, ns_c = self._splits(b, loose)
        ns = ns_p + ns_c
        dev, dt = g.device, g.dtype
        q = torch.empty(b, g.H, g.D, dtype=dt, device=dev)
        o = torch.empty(b, g.H * g.D, dtype=dt, device=dev)
        part = torch.empty(b, g.H, ns, g.D, dtype=torch.float32, device=dev)
        stat = torch.empty(b, g.H, ns, 2, dtype=torch.float32, device=dev)
        geometry = dict(H=g.H, K=g.K, D=g.D, BD=bd, PAGE=PAGE)
        h = F.embedding(self.tok[slot], g.body.embed_tokens.weight)  # (b, hidden)
        add = None
        for i, block in enumerate(self.net.blocks):
            x = self._norm(h, add, block.norm1)
            kp, vp = self.kpool[i], self.vpool[i]
            _rope_kernel[(b, g.H + 2 * g.K)](
                block.qkv(x), block.qk_weight if g.qk_norm else x, *self.angles[i], q, kp, vp, slot, self.ntok,
                self.base, self.table, g.layers[0].self_attn.q_norm.variance_epsilon if g.qk_norm else 0.0,
                NT=self.nt, NORM=g.qk_norm, **geometry, num_warps=1,
            )  # fmt: skip
            for prompts in (True, False):
                _attend_kernel[(caps if prompts else b, g.K, ns_p if prompts else ns_c)](
                    q, kp, vp, self.tiles, slot, self.plen if prompts else self.ntok,
                    self.ptable if prompts else self.table, part, stat, g.scale * LOG2E,
                    NT=self.np if prompts else self.nt, G=g.g, BM=bm if prompts else max(16, pow2(g.g)), NS=ns,
                    S0=0 if prompts else ns_p, NSPLIT=ns_p if prompts else ns_c, PROMPT=prompts, **geometry,
                    num_warps=4, num_stages=3 if g.dtype != torch.float32 else 1,
                )  # fmt: skip
            _combine_kernel[(b * g.H,)](part, stat, o, D=g.D, BD=bd, NS=ns, BS=pow2(ns), num_warps=1)
            x = self._norm(h, block.out(o), block.norm2)
            gu = block.gate_up(x)
            a = torch.empty(b, g.inter, dtype=dt, device=dev)
            _silu_kernel[(b, triton.cdiv(g.inter, 1024))](gu, a, N=g.inter, BLOCK=1024, num_warps=4)
            add = block.down(a)
        logits = g.head(self._norm(h, add, g.body.norm))  # (b, V)
        filtered = job.temperature > 0 and job.top_p < 1
        low = self._floor(logits, job) if filtered else logits
        nc = triton.cdiv(g.vocab, kernels.CHUNK)
        stats = torch.empty(b, nc, 4, dtype=torch.float32, device=dev)
        arg = torch.empty(b, nc, dtype=torch.int32, device=dev)
        shared = dict(V=g.vocab, NC=nc, CHUNK=kernels.CHUNK, NB=len(job.banned), FILTER=filtered)
        _vocab_kernel[(b, nc)](logits, low, self.inv_t, self.banned, stats, arg, **shared, num_warps=8)
        _pick_kernel[(b,)](
            logits, low, self.inv_t, self.banned, stats, arg, self.eos, slot, self.tok, self.ntok, self.done,
            self.limit, self.uni, self.out_ids, self.out_logps, BC=pow2(nc), T=self.steps, NE=MAX_EOS,
            GREEDY=job.temperature == 0, **shared, num_warps=8,
        )  # fmt: skip

    def _floor(self, logits: Tensor, job: Job) -> Tensor:
        """(b,) float32: the smallest logit that top_p leaves; equal ones stay too."""
        b, v = logits.shape
        low = torch.full((b,), float("-inf"), device=logits.device)
        nucleus_kernel[(b,)](
            logits, low, self.inv_t, self.banned, job.top_p, V=v, NB=len(job.banned), CHUNK=kernels.CHUNK,
            BITS=16 if logits.dtype == torch.bfloat16 else 32, num_warps=16,
        )  # fmt: skip
        return low

    def _tile_cap(self, b: int, loose: bool) -> int:
        return b if loose else max(1, min(b, max(16, b // 8)))

    def _tile_queries(self, loose: bool) -> int:
        """Queries (rows x grouped heads) a prompt tile holds: small tiles where prompts have few rows each."""
        return max(16 if loose else 64, pow2(self.geo.g))

    def run(self, b: int, loose: bool, job: Job) -> Callable[[], None]:
        """The step for b rows as a callable: a captured graph on CUDA, captured on first use."""
        if not self.capture:
            return lambda: self.step(b, loose, job)
        key = (b, loose, job.temperature == 0, job.top_p if job.temperature > 0 else 1.0, len(job.banned))
        if key not in self.graphs:
            saved = self.slot.clone()
            self.slot.fill_(self.max_rows)  # idle rows only while warming up: nothing is booked, page 0 is scratch
            try:
                stream = torch.cuda.Stream()
                stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(stream):  # compiles the kernels and opens cuBLAS before the capture
                    self.step(b, loose, job)
                torch.cuda.current_stream().wait_stream(stream)
                torch.cuda.synchronize()
                graph = torch.cuda.CUDAGraph()
                self.pool = self.pool or torch.cuda.graph_pool_handle()
                with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                    self.step(b, loose, job)
            except Exception as e:
                raise RuntimeError(
                    f"the CUDA graph of {b} rows could not be captured ({type(e).__name__}: {e}); lower "
                    "--memory-gb, or see whether the driver fits this PyTorch"
                ) from e
            self.slot.copy_(saved)
            self.graphs[key] = graph.replay
        return self.graphs[key]


_engines: weakref.WeakKeyDictionary[nn.Module, Engine] = weakref.WeakKeyDictionary()


def release(model: nn.Module) -> None:
    """Free the KV pool, joined weights and graphs held for this model."""
    _engines.pop(model, None)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _engine(model: nn.Module, job: Job, max_rows: int, memory_gb: float | None, capture: bool) -> Engine:
    longest, steps = max(map(len, job.prompts)), max(job.limits)
    rows = min(max_rows, len(job.limits))
    per_row = -(-steps // PAGE)
    worst = 1 + rows * per_row + sum(sorted((-(-len(p) // PAGE) for p in job.prompts), reverse=True)[:rows])
    engine = _engines.get(model)
    if engine is None or not engine.fits(max_rows, steps, longest, worst, memory_gb):
        grow = engine or None
        steps = max(steps, 1024 if capture else 0, grow.steps if grow else 0)
        longest = max(longest, 1024 if capture else 0, grow.prompt if grow else 0)
        max_rows = max(max_rows, grow.max_rows if grow else 0)
        engine = grow = None
        release(model)
        engine = Engine(model, max_rows, steps, longest, worst, memory_gb, capture)
        _engines[model] = engine
    need = 1 + per_row + -(-max(map(len, job.prompts)) // PAGE)
    if engine.pages < need:
        raise ValueError(
            f"the KV cache holds {engine.pages} pages of {PAGE} tokens, one rollout needs {need}: raise memory_gb "
            f"(now {memory_gb}) or lower max_new_tokens"
        )
    return engine


# ----------------------------------------------------------------------------------------------------------- scheduler


class _Run:
    """One call of sample(): which rollouts are queued, live and done, and who holds which page."""

    def __init__(self, engine: Engine, job: Job, max_rows: int, poll: int):
        self.e, self.job, self.max_rows, self.poll = engine, job, max_rows, poll
        self.queue = deque(range(len(job.limits)))
        self.live: list[Row] = []
        self.out: list[Sampled | None] = [None] * len(job.limits)
        self.free_pages = list(range(1, engine.pages))  # page 0 is scratch; a heap keeps reuse dense and repeatable
        self.free_slots = list(range(engine.max_rows))
        self.prompt_slots: dict[int, int] = {}  # prompt -> row of ptable
        self.free_prompt_slots = list(range(engine.max_rows))
        self.prompt_pages: dict[int, list[int]] = {}
        self.members: Counter[int] = Counter()  # live rows of each prompt
        self.last_logits: dict[int, Tensor] = {}  # while the next rollout of the prompt is still to start
        self.stats = dict(steps=0, row_steps=0, evicted=0, prefill_tokens=0)
        e = engine
        e.done.fill_(1)
        e.ntok.fill_(1)
        e.table.zero_()
        for buf, ids in ((e.eos, job.eos), (e.banned, job.banned)):
            if len(ids) > MAX_EOS:
                raise ValueError(f"{len(ids)} end-of-sequence ids; the graph engine holds {MAX_EOS}")
            buf.copy_(torch.tensor([*ids, *[-1] * (MAX_EOS - len(ids))]))
        e.inv_t.fill_(1.0 / job.temperature if job.temperature > 0 else 1.0)

    def admit(self) -> None:
        """Start queued rollouts while slots and pages last, keeping a page in hand for every row that may grow."""
        rows, prompts = [], []
        growing = sum(self._will_grow(r) for r in self.live)
        while self.queue and len(self.live) + len(rows) < self.max_rows:
            p = self.queue[0] // self.job.n
            fresh = p not in self.prompt_slots
            need = 1 + (-(-len(self.job.prompts[p]) // PAGE) if fresh else 0)
            growing += self.job.limits[self.queue[0]] > PAGE
            alone = not self.live and not rows
            if len(self.free_pages) - need < (0 if alone else growing):
                break
            if fresh:
                self.prompt_slots[p] = heapq.heappop(self.free_prompt_slots)
                self.prompt_pages[p] = [heapq.heappop(self.free_pages) for _ in range(need - 1)]
            if p not in self.last_logits and p not in prompts:
                prompts.append(p)
            self.members[p] += 1
            row = Row(self.queue.popleft(), heapq.heappop(self.free_slots), p)
            row.pages.append(heapq.heappop(self.free_pages))
            rows.append(row)
        if prompts:
            self._prefill(prompts)
        if rows:
            self._start(rows)
            self.live = sorted(self.live + rows, key=lambda r: r.rollout)

    def _will_grow(self, row: Row) -> bool:
        return self.job.limits[row.rollout] > PAGE * len(row.pages)

    def _prefill(self, prompts: list[int]) -> None:
        e, dev = self.e, self.e.geo.device
        texts = [self.job.prompts[p] for p in prompts]
        table = torch.zeros(len(prompts), e.np, dtype=torch.int32)
        for j, p in enumerate(prompts):
            table[j, : len(self.prompt_pages[p])] = torch.tensor(self.prompt_pages[p], dtype=torch.int32)
        table = table.to(dev)
        at = torch.tensor([self.prompt_slots[p] for p in prompts], device=dev)
        e.ptable[at] = table
        e.plen[at] = torch.tensor([len(t) for t in texts], dtype=torch.int32, device=dev)
        where: dict[str, object] = {"chunk": None}

        def store(layer: int, which: list[int], lens: Tensor, k: Tensor, v: Tensor) -> None:
            if where["chunk"] is not which:  # the same chunk comes once a layer
                t = torch.arange(k.shape[2], device=dev)
                i, t = (t < lens[:, None]).nonzero(as_tuple=True)
                page = table[torch.tensor(which, device=dev)[i], t // PAGE].long()
                where.update(chunk=which, i=i, t=t, page=page, off=t % PAGE)
            for pool, x in ((e.kpool[layer], k), (e.vpool[layer], v)):
                pool[where["page"], :, where["off"]] = x[where["i"], :, where["t"]]

        logits = e.net.prefill(texts, 8192, store)
        self.stats["prefill_tokens"] += sum(map(len, texts))
        self.last_logits.update(zip(prompts, logits, strict=True))

    def _start(self, rows: list[Row]) -> None:
        """Draw each new row's first token from its prompt's last logits and fill its slot."""
        e, dev, job = self.e, self.e.geo.device, self.job
        which = [r.rollout for r in rows]
        u = job.uniforms[which]
        u_dev = u.to(dev)
        first, logp = [], []
        for lo in range(0, len(rows), 64):  # 64 rows of a 152k vocabulary at a time: float32 copies stay small
            logits = torch.stack([self.last_logits[r.prompt] for r in rows[lo : lo + 64]])
            t, lp = draw(logits, u_dev[lo : lo + 64, 0], job)
            first.append(t)
            logp.append(lp)
        token, logp = torch.cat(first), torch.cat(logp)
        at = torch.tensor([r.slot for r in rows], device=dev)
        limit = torch.tensor([job.limits[i] for i in which], dtype=torch.int32, device=dev)
        e.uni[at, : u.shape[1]] = u_dev
        e.out_ids[at, 0], e.out_logps[at, 0] = token.int(), logp
        e.tok[at], e.ntok[at], e.limit[at] = token, torch.ones_like(limit), limit
        e.base[at] = torch.tensor([len(job.prompts[r.prompt]) for r in rows], dtype=torch.int32, device=dev)
        e.done[at] = (torch.isin(token, e.eos) | (limit <= 1)).int()
        queued = {self.queue[0] // job.n} if self.queue else set()
        for p in {r.prompt for r in rows} - queued:
            self.last_logits.pop(p, None)

    def grow(self) -> None:
        """Give every live row the pages of its next `poll` tokens; where none is left, put the youngest rows back."""
        i = 0
        while i < len(self.live):
            row = self.live[i]
            cells = min(row.ntok + self.poll - 1, self.job.limits[row.rollout])
            need = -(-cells // PAGE) - len(row.pages)
            if need > len(self.free_pages):
                young = self.live[-1]
                if young is row and i == 0:
                    raise RuntimeError("the KV cache cannot hold one rollout; raise memory_gb")
                self._give_back(self.live.pop())
                self.queue.appendleft(young.rollout)
                self.stats["evicted"] += 1
                continue
            row.pages += [heapq.heappop(self.free_pages) for _ in range(need)]
            i += 1

    def _give_back(self, row: Row) -> None:
        for page in row.pages:
            heapq.heappush(self.free_pages, page)
        heapq.heappush(self.free_slots, row.slot)
        self.members[row.prompt] -= 1
        if not self.members[row.prompt]:
            for page in self.prompt_pages.pop(row.prompt):
                heapq.heappush(self.free_pages, page)
            heapq.heappush(self.free_prompt_slots, self.prompt_slots.pop(row.prompt))
            self.last_logits.pop(row.prompt, None)

    def arrange(self) -> tuple[int, bool]:
        """Upload slots, block tables and prompt tiles of the live rows; returns the bucket, and if tiles are small."""
        e, n = self.e, len(self.live)
        bucket = next((b for b in BUCKETS if n <= b <= e.max_rows), e.max_rows)
        host = torch.full((bucket,), e.max_rows, dtype=torch.long)
        host[:n] = torch.tensor([r.slot for r in self.live])
        e.slot[:bucket] = host.to(e.slot.device)
        table = torch.zeros(n, e.nt, dtype=torch.int32)
        for j, r in enumerate(self.live):
            table[j, : len(r.pages)] = torch.tensor(r.pages, dtype=torch.int32)
        e.table[e.slot[:n]] = table.to(e.table.device)
        for loose in (False, True):
            cap, rows_a_tile = e._tile_cap(bucket, loose), e._tile_queries(loose) // e.geo.g
            tiles: list[list[int]] = []
            for j, r in enumerate(self.live):
                s = self.prompt_slots[r.prompt]
                if tiles and tiles[-1][0] == s and tiles[-1][2] < rows_a_tile:
                    tiles[-1][2] += 1
                else:
                    tiles.append([s, j, 1])
            # idle rows meet an empty prompt: their partial sums must be written too
            tiles += [[e.max_rows, j, min(rows_a_tile, bucket - j)] for j in range(n, bucket, rows_a_tile)]
            if len(tiles) <= cap:
                break
        tiles += [[0, 0, 0]] * (cap - len(tiles))
        e.tiles[:cap] = torch.tensor(tiles, dtype=torch.int32).to(e.tiles.device)
        return bucket, loose

    def harvest(self) -> list[tuple[int, list[int]]]:
        """Read the flags back, take ended rows out and return them as (rollout, ids)."""
        e = self.e
        flags = torch.stack([e.ntok, e.done]).tolist()
        over = []
        for row in self.live:
            row.ntok = flags[0][row.slot]
            if flags[1][row.slot]:
                over.append(row)
        if not over:
            return []
        at = torch.tensor([r.slot for r in over], device=e.geo.device)
        width = max(r.ntok for r in over)
        ids, logps = e.out_ids[at, :width].tolist(), e.out_logps[at, :width].tolist()
        gone = {r.slot for r in over}
        self.live = [r for r in self.live if r.slot not in gone]
        ended = []
        for row, i, lp in zip(over, ids, logps, strict=True):
            i, lp = i[: row.ntok], lp[: row.ntok]
            self.out[row.rollout] = Sampled(i, lp, i[-1] in self.job.eos)
            ended.append((row.rollout, i))
            self._give_back(row)
        return ended

    def all(self) -> list[Sampled]:
        ended: list[tuple[int, list[int]]] = []
        while True:
            self.admit()
            ended += self.harvest()  # a first token may already end a row
            self.grow()
            if self.live:
                bucket, loose = self.arrange()
                step = self.e.run(bucket, loose, self.job)
                left = max(self.job.limits[r.rollout] - r.ntok for r in self.live)
                count = min(self.poll, left)
                for _ in range(count):
                    step()
                self.stats["steps"] += count
                self.stats["row_steps"] += count * bucket
            for index, ids in ended:  # the GPU is busy with the steps just launched
                self.job.on_finish(index, ids)
            if not self.live and not self.queue:
                return self.out
            ended = self.harvest() if self.live else []


last_stats: dict[str, int] = {}  # of the last call, for the benchmark: steps, row_steps, evicted, prefill_tokens


def sample_graph(
    model: nn.Module, job: Job, max_rows: int | None = None, memory_gb: float | None = None, capture: bool = True
) -> list[Sampled]:
    """The graph engine's side of `sampler.sample`; capture=False runs its steps one by one (for tests)."""
    if max_rows is None:
        max_rows = 256 if model.config.hidden_size >= 1024 else 1024
    engine = _engine(model, job, max_rows, memory_gb, capture)
    engine.refresh()
    run = _Run(engine, job, max_rows, 16 if model.config.hidden_size >= 1024 else 32)
    out = run.all()
    last_stats.clear()
    last_stats.update(run.stats)
    return out
