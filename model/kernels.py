"""Triton kernels of the training forward and backward on CUDA, bfloat16 in and out, float32 inside.

Each stands for a chain of eager elementwise kernels and keeps only its input for the backward: the chains, not the
matrix products, were most of a step. Weights of the norms are frozen, so no gradient is formed for them.

    norm            w * (x / rms(x))                                         (N, hidden)
    norm_rope       the same over each head, then the rotation               (N, heads, D)
    silu_mul        silu(gate) * up                                          (N, inter)
    add_segment_dots   out[row of a segment] += sum over its tokens of a * b, and a * scale from the same pass
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 4096  # logits of a row that a program reads at once


def pow2(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


# ---------------------------------------------------------------------------------------------------------------- norm


@triton.jit
def _norm_forward(x, w, out, inv, eps, N: tl.constexpr, BLOCK: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    ok = i < N
    h = tl.load(x + r * N + i, mask=ok, other=0.0).to(tl.float32)
    s = 1.0 / tl.sqrt(tl.sum(h * h, 0) / N + eps)
    tl.store(inv + r, s)
    y = (h * s).to(out.dtype.element_ty).to(tl.float32) * tl.load(w + i, mask=ok, other=0.0).to(tl.float32)
    tl.store(out + r * N + i, y.to(out.dtype.element_ty), mask=ok)


@triton.jit
def _norm_backward(dy, x, w, inv, dx, N: tl.constexpr, BLOCK: tl.constexpr):
    """dx = s (w dy) - x s^3 / N sum(w dy x)."""
    r = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    ok = i < N
    h = tl.load(x + r * N + i, mask=ok, other=0.0).to(tl.float32)
    g = tl.load(dy + r * N + i, mask=ok, other=0.0).to(tl.float32) * tl.load(w + i, mask=ok, other=0.0).to(tl.float32)
    s = tl.load(inv + r)
    d = s * g - h * (s * s * s / N * tl.sum(g * h, 0))
    tl.store(dx + r * N + i, d.to(dx.dtype.element_ty), mask=ok)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, eps):
        x = x.contiguous()
        n = x.shape[-1]
        out, inv = torch.empty_like(x), torch.empty(x.numel() // n, device=x.device)
        _norm_forward[(len(inv),)](x, w, out, inv, eps, N=n, BLOCK=pow2(n), num_warps=8 if n > 1024 else 4)
        ctx.save_for_backward(x, w, inv)
        return out

    @staticmethod
    def backward(ctx, dy):
        x, w, inv = ctx.saved_tensors
        n, dx = x.shape[-1], torch.empty_like(x)
        _norm_backward[(len(inv),)](dy.contiguous(), x, w, inv, dx, N=n, BLOCK=pow2(n), num_warps=8 if n > 1024 else 4)
        return dx, None, None


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMSNorm over the last dimension, rounded as transformers does."""
    return _Norm.apply(x, weight, eps)


# ----------------------------------------------------------------------------------------------------------- norm, rope


@triton.jit
def _rope_forward(x, w, cos, sin, out, inv, eps, H: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr):  # noqa: PLR0913
    r, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    i = tl.arange(0, BLOCK)
    ok = i < D
    j = tl.where(i < D // 2, i + D // 2, i - D // 2)  # the other half
    at = (r * H + h) * D
    a = tl.load(x + at + i, mask=ok, other=0.0).to(tl.float32)
    b = tl.load(x + at + j, mask=ok, other=0.0).to(tl.float32)
    s = 1.0 / tl.sqrt(tl.sum(a * a, 0) / D + eps)
    tl.store(inv + r * H + h, s)
    dt = out.dtype.element_ty
    a = ((a * s).to(dt).to(tl.float32) * tl.load(w + i, mask=ok, other=0.0).to(tl.float32)).to(dt).to(tl.float32)
    b = ((b * s).to(dt).to(tl.float32) * tl.load(w + j, mask=ok, other=0.0).to(tl.float32)).to(dt).to(tl.float32)
    c = tl.load(cos + r * D + i, mask=ok, other=0.0).to(tl.float32)
    n = tl.load(sin + r * D + i, mask=ok, other=0.0).to(tl.float32)
    tl.store(out + at + i, ((a * c).to(dt).to(tl.float32) + (b * n).to(dt).to(tl.float32)).to(dt), mask=ok)


@triton.jit
def _rope_backward(dy, x, w, cos, sin, inv, dx, H: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr):  # noqa: PLR0913
    """y_i = z_i cos_i + z_j sin_i with j = i +- D/2, so dz_i = dy_i cos_i + dy_j sin_j; then the norm's backward."""
    r, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    i = tl.arange(0, BLOCK)
    ok = i < D
    j = tl.where(i < D // 2, i + D // 2, i - D // 2)
    at = (r * H + h) * D
    g = tl.load(dy + at + i, mask=ok, other=0.0).to(tl.float32) * tl.load(cos + r * D + i, mask=ok, other=0.0).to(
        tl.float32
    )
    g += tl.load(dy + at + j, mask=ok, other=0.0).to(tl.float32) * tl.load(sin + r * D + j, mask=ok, other=0.0).to(
        tl.float32
    )
    g *= tl.load(w + i, mask=ok, other=0.0).to(tl.float32)
    a = tl.load(x + at + i, mask=ok, other=0.0).to(tl.float32)
    s = tl.load(inv + r * H + h)
    d = s * g - a * (s * s * s / D * tl.sum(g * a, 0))
    tl.store(dx + at + i, d.to(dx.dtype.element_ty), mask=ok)


class _NormRope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, cos, sin, eps):
        x = x.contiguous()
        n, h, d = x.shape
        out, inv = torch.empty_like(x), torch.empty(n, h, device=x.device)
        _rope_forward[(n, h)](x, w, cos, sin, out, inv, eps, H=h, D=d, BLOCK=pow2(d), num_warps=1)
        ctx.save_for_backward(x, w, cos, sin, inv)
        return out

    @staticmethod
    def backward(ctx, dy):
        x, w, cos, sin, inv = ctx.saved_tensors
        n, h, d = x.shape
        dx = torch.empty_like(x)
        _rope_backward[(n, h)](dy.contiguous(), x, w, cos, sin, inv, dx, H=h, D=d, BLOCK=pow2(d), num_warps=1)
        return dx, None, None, None, None


def norm_rope(x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
    """x (N, heads, D), cos and sin (N, D), the minus of rotate_half in sin -> normed and rotated."""
    return _NormRope.apply(x, weight, cos, sin, eps)


# --------------------------------------------------------------------------------------------------------- elementwise


@triton.jit
def _silu_forward(gate, up, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    ok = i < n
    g = tl.load(gate + i, mask=ok, other=0.0).to(tl.float32)
    u = tl.load(up + i, mask=ok, other=0.0).to(tl.float32)
    a = (g / (1.0 + tl.exp(-g))).to(out.dtype.element_ty).to(tl.float32)
    tl.store(out + i, (a * u).to(out.dtype.element_ty), mask=ok)


@triton.jit
def _silu_backward(dy, gate, up, dgate, dup, n, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    ok = i < n
    d = tl.load(dy + i, mask=ok, other=0.0).to(tl.float32)
    g = tl.load(gate + i, mask=ok, other=0.0).to(tl.float32)
    u = tl.load(up + i, mask=ok, other=0.0).to(tl.float32)
    s = 1.0 / (1.0 + tl.exp(-g))
    tl.store(dup + i, (d * g * s).to(dup.dtype.element_ty), mask=ok)
    tl.store(dgate + i, (d * u * s * (1.0 + g * (1.0 - s))).to(dgate.dtype.element_ty), mask=ok)


class _SiluMul(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate, up):
        gate, up = gate.contiguous(), up.contiguous()
        out, n = torch.empty_like(gate), gate.numel()
        _silu_forward[(triton.cdiv(n, 2048),)](gate, up, out, n, BLOCK=2048, num_warps=4)
        ctx.save_for_backward(gate, up)
        return out

    @staticmethod
    def backward(ctx, dy):
        gate, up = ctx.saved_tensors
        dgate, dup, n = torch.empty_like(gate), torch.empty_like(up), gate.numel()
        _silu_backward[(triton.cdiv(n, 2048),)](dy.contiguous(), gate, up, dgate, dup, n, BLOCK=2048, num_warps=4)
        return dgate, dup


def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up; the backward keeps gate and up, and makes silu anew."""
    return _SiluMul.apply(gate, up)


# ---------------------------------------------------------------------------------------------- coordinates by segment


@triton.jit
def _segment_dots(  # noqa: PLR0913
    a, b, scale, scaled, ends, rows, out, width, lo,
    R: tl.constexpr, BT: tl.constexpr, BR: tl.constexpr, SCALE: tl.constexpr,
):  # fmt: skip
    seg = tl.program_id(0)
    c = tl.program_id(1) * BR + tl.arange(0, BR)
    t = tl.arange(0, BT)
    first, last = tl.load(ends + seg), tl.load(ends + seg + 1)
    total = tl.zeros((BR,), tl.float32)
    if SCALE:
        s = tl.load(scale + c, mask=c < R, other=0.0)
    for start in range(first, last, BT):
        token = (start + t).to(tl.int64)
        ok = (token < last)[:, None] & (c < R)[None, :]
        at = token[:, None] * R + c[None, :]
        x = tl.load(a + at, mask=ok, other=0.0)
        y = tl.load(b + at, mask=ok, other=0.0).to(tl.float32)
        total += tl.sum(x.to(tl.float32) * y, 0)
        if SCALE:
            tl.store(scaled + at, (x.to(tl.float32) * s[None, :]).to(scaled.dtype.element_ty), mask=ok)
    row = tl.load(rows + seg)
    tl.atomic_add(out + row * width + lo + c, total, mask=c < R)  # two segments of a cut prompt share a row


def add_segment_dots(
    a: Tensor, b: Tensor, ends: Tensor, rows: Tensor, out: Tensor, lo: int, scale: Tensor | None = None
) -> Tensor | None:
    """out[rows[i], lo : lo + r] += sum of (a * b)[ends[i] : ends[i + 1]]; a, b (N, r); returns a * scale (r,) if given.

    One pass over a and b makes both what the coordinates and what the gradient of the input need.
    """
    a, b = a.contiguous(), b.contiguous()
    r = a.shape[1]
    scaled = torch.empty_like(a) if scale is not None else a
    _segment_dots[(len(rows), triton.cdiv(r, 128))](
        a, b, scaled if scale is None else scale, scaled, ends, rows, out, out.stride(0), lo,
        R=r, BT=32, BR=128, SCALE=scale is not None, num_warps=4,
    )  # fmt: skip
    return scaled if scale is not None else None


# ------------------------------------------------------------------------------------------------------------- nucleus


@triton.jit
def allowed_logits(logits, row, i, V: tl.constexpr, banned, NB: tl.constexpr, low):
    """float32 logits i of a row; -inf outside the vocabulary, for banned tokens and below low."""
    z = tl.load(logits + row * V + i, mask=i < V, other=float("-inf")).to(tl.float32)
    z = tl.where(z >= low, z, float("-inf"))
    for j in range(NB):
        z = tl.where(i == tl.load(banned + j), float("-inf"), z)
    return z


@triton.jit
def nucleus_kernel(  # noqa: PLR0913
    logits, low, inv_t, banned, top_p,
    V: tl.constexpr, NB: tl.constexpr, CHUNK: tl.constexpr, BITS: tl.constexpr,
):  # fmt: skip
    """low[row] <- the largest t with mass of {logit >= t} >= top_p of the mass above low[row], as nucleus_floor has it.

    One program a row: a pass for the maximum, one for the sum, then two bits of t a pass, from the masses above three
    candidates.
    BITS 16: bfloat16 logits, whose float32 pattern has 16 bits to search.
    """
    r = tl.program_id(0).to(tl.int64)
    t = tl.load(inv_t)
    floor = tl.load(low + r)
    i = tl.arange(0, CHUNK)
    high = tl.full((CHUNK,), float("-inf"), tl.float32)  # a lane each: one reduction a pass, not one a chunk
    for at in range(0, V, CHUNK):
        high = tl.maximum(high, allowed_logits(logits, r, at + i, V, banned, NB, floor))
    top = tl.max(high, 0)
    total = tl.zeros((CHUNK,), tl.float32)
    for at in range(0, V, CHUNK):
        total += tl.exp((allowed_logits(logits, r, at + i, V, banned, NB, floor) - top) * t)
    need = top_p * tl.sum(total, 0)
    best = -(1 << (BITS - 1))
    width = 1 << (BITS - 2)
    for _ in range(BITS // 2):
        one = tl.zeros((CHUNK,), tl.float32)
        two = tl.zeros((CHUNK,), tl.float32)
        three = tl.zeros((CHUNK,), tl.float32)
        for at in range(0, V, CHUNK):
            z = allowed_logits(logits, r, at + i, V, banned, NB, floor)
            bits = z.to(tl.int32, bitcast=True)
            key = (bits ^ ((bits >> 31) & 0x7FFFFFFF)) >> (32 - BITS)
            p = tl.exp((z - top) * t)
            one += tl.where(key >= best + width, p, 0.0)
            two += tl.where(key >= best + 2 * width, p, 0.0)
            three += tl.where(key >= best + 3 * width, p, 0.0)
        higher = (tl.sum(one, 0) >= need).to(tl.int32) + (tl.sum(two, 0) >= need).to(tl.int32)
        higher += (tl.sum(three, 0) >= need).to(tl.int32)
        best += width * higher
        width = width >> 2
    key = best << (32 - BITS)
    if BITS == 16:  # a negative number's low bits are ones in the key
        key = tl.where(key < 0, key | 0xFFFF, key)
    tl.store(low + r, (key ^ ((key >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True))


def nucleus_floors(logits: Tensor, scale: float, top_p: float) -> Tensor:
    """logits (n, V) -> (n, 1) float32: nucleus.nucleus_floor of scale * logits, in units of logits."""
    n, v = logits.shape
    low = torch.full((n, 1), float("-inf"), device=logits.device)
    inv_t = torch.full((1,), scale, device=logits.device)
    nucleus_kernel[(n,)](
        logits, low, inv_t, inv_t, top_p, V=v, NB=0, CHUNK=CHUNK, BITS=16 if logits.dtype == torch.bfloat16 else 32,
        num_warps=16,
    )  # fmt: skip
    return low
