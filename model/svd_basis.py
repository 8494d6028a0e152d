"""The coordinates that extraction and training share: W = U diag(S) Vh, per target Linear.

A gradient G = dL/dW of one weight is described by its coordinates in the singular-value basis of that weight,

    diag   g = diag(U^T G Vh^T)              d = r numbers    (what `delta_s` trains: W' = U diag(S + delta) Vh)
    core   M = U_q^T G Vh_q^T, flattened     d = q*q numbers  (what `--train full` is projected in)
    raw    G itself, flattened               d = out*in       (`--train full` of models small enough)

All maps are isometric on their range: the direction v is the weight-space matrix D(v), ||D(v)||_F = ||v||_2 and
<G, D(v)>_F = v . g, so erasing D(v) from G and v from g use the same coefficient (docs/method.md).

All modules' coordinates live in ONE flat vector of length D, modules of equal d side by side, so that the projection
of every weight is a few batched products (`Basis.groups`). Per-rollout gradients come from one backward: in these
coordinates a gradient is a sum over tokens, so `SVDLinear` can sum it per rollout instead (`Basis.capture`).

Symbols: N tokens, r = min(out, in), q core rank, d coordinates of one weight, D of all, n rollouts, M weights.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
Train = Literal["delta_s", "full"]
Coords = Literal["diag", "core", "raw"]


@torch.no_grad()
def thin_svd(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin SVD of w (out, in) -> U (out, r), S (r,) descending, Vh (r, in), all float32, signs fixed.

    On CUDA: eigenvectors of the smaller Gram matrix in float64, since cuSOLVER's SVD takes ~10x longer; error in S_i is
    eps64 * (S_1/S_i)^2 relative, so a spectrum wider than 1e5 falls back to LAPACK's algorithm in float64.
    Signs: the largest entry of each left vector is positive (diag coordinates do not depend on it, core ones do).
    """
    a = w.detach().double()
    if a.is_cuda:
        tall = a.shape[0] >= a.shape[1]
        gram = a.T @ a if tall else a @ a.T
        lam, q = torch.linalg.eigh(gram)
        lam, q = lam.flip(0), q.flip(1)
        s = lam.clamp_min(0).sqrt()
        if bool(s[-1] > 1e-5 * s[0]):
            u, vh = (a @ q / s, q.T) if tall else (q, (q.T @ a) / s[:, None])
        else:
            u, s, vh = torch.linalg.svd(a, full_matrices=False)
    else:
        u, s, vh = torch.linalg.svd(a, full_matrices=False)
    top = u.abs().argmax(0)
    sign = torch.where(u[top, torch.arange(u.shape[1], device=u.device)] < 0, -1.0, 1.0)
    return (u * sign).float(), s.float(), (vh * sign[:, None]).float()


def times(a: Tensor, s: Tensor) -> Tensor:
    """a (..., r) * s (r,) float32, rounded once to a's dtype: bfloat16 would round S + delta back to S."""
    return torch.mul(a, s, out=torch.empty_like(a))


class _KnobLinear(torch.autograd.Function):
    """y = W x + U (delta * (Vh x)); backward adds this weight's coordinates, per rollout, to the open capture.

    With basis.fused, y = U ((S + delta) * (Vh x)): W is never read, 1.35 instead of 2.35 products of W's size, at the
    price of bf16 rounding at delta = 0 (0.37 % of the output against 0.17 % for one bf16 product).
    """

    @staticmethod
    def forward(ctx, x, weight, bias, delta, layer):  # x (..., in)
        a = x @ layer.Vh.T if delta is not None else None  # (..., r)
        if layer.basis.fused:
            y = F.linear(times(a, layer.S + delta), layer.U, bias)
        else:
            y = F.linear(x, weight, bias)
            if delta is not None:
                y = y + (a * delta.to(a.dtype)) @ layer.U.T
        keep_x = a is None or ctx.needs_input_grad[1]  # 24 % of what a fused layer would keep
        ctx.save_for_backward(x if keep_x else None, weight, delta, a)
        ctx.layer, ctx.has_bias = layer, bias is not None
        return y

    @staticmethod
    def backward(ctx, gy):  # gy (..., out)
        x, weight, delta, a = ctx.saved_tensors
        layer, cap = ctx.layer, ctx.layer.basis.open_capture
        gx = gw = gdelta = gu = scale = scaled = None
        if delta is not None:
            gu = gy @ layer.U  # (..., r): d loss / d (scale * a)
            scale = layer.S + delta if layer.basis.fused else delta
        if cap is not None:
            scaled = cap.add(layer, x, gy, a, gu, scale)
        elif delta is not None:
            gdelta = (gu.float() * a.float()).flatten(0, -2).sum(0)
        if ctx.needs_input_grad[0]:
            if scale is not None and scaled is None:
                scaled = times(gu, scale)
            if layer.basis.fused:
                gx = scaled @ layer.Vh
            else:
                gx = gy @ weight if scaled is None else gy @ weight + scaled @ layer.Vh
        if ctx.needs_input_grad[1] and (cap is None or cap.weight_grads):
            gw = gy.flatten(0, -2).T @ x.flatten(0, -2)
        return gx, gw, None, gdelta, None


class SVDLinear(nn.Module):
    """A frozen (delta_s) or trained (full) Linear that knows its singular basis; stands in for nn.Linear by name."""

    def __init__(self, linear: nn.Linear, name: str, basis: Basis):
        super().__init__()
        w = linear.weight
        if basis.coords == "raw":  # no singular basis
            u, s, vh = w.new_zeros(w.shape[0], 0), w.new_zeros(0).float(), w.new_zeros(0, w.shape[1])
        else:
            u, s, vh = thin_svd(w)
        rank = min(basis.core_rank, s.shape[0]) if basis.coords == "core" else s.shape[0]
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        dt = linear.weight.dtype
        for key, value in (("U", u[:, :rank].to(dt)), ("S", s), ("Vh", vh[:rank].to(dt))):
            self.register_buffer(key, value.contiguous(), persistent=False)
        self.delta = None
        if basis.train == "delta_s":
            self.delta = nn.Parameter(torch.zeros(rank, dtype=torch.float32, device=linear.weight.device))
        self.weight.requires_grad_(basis.train == "full")
        self.name, self.rank = name, rank
        self.__dict__["basis"] = basis  # not a submodule: the basis owns the layers, not the other way round

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or (self.basis.fused and not self.basis.folded):
            return _KnobLinear.apply(x, self.weight, self.bias, self.delta, self)
        y = F.linear(x, self.weight, self.bias)
        if self.delta is None or self.basis.folded:
            return y
        return y + ((x @ self.Vh.T) * self.delta.to(x.dtype)) @ self.U.T

    def extra_repr(self) -> str:
        return f"{self.in_features} -> {self.out_features}, rank {self.rank}, coords {self.basis.coords}"


@dataclass
class Capture:
    """Per-rollout coordinates of one backward: rows (B,) gives the rollout of each row of the micro-batch.

    ends (B + 1,) int32: the micro-batch is packed, x (N, in), and its row i holds the tokens ends[i] .. ends[i + 1].
    """

    out: Tensor  # (n, D) float32, added to in place
    rows: Tensor  # (B,) long
    weight_grads: bool
    ends: Tensor | None = None
    member: Tensor | None = None  # packed, diag: (B, N) float32, 1 where a token is of a row; made once
    tokens: Tensor | None = None  # packed, core: (B, longest) a row's tokens, N once it has ended; made once

    def add(
        self, layer: SVDLinear, x: Tensor | None, gy: Tensor, a: Tensor | None, gu: Tensor | None, scale: Tensor | None
    ) -> Tensor | None:
        """Book this weight's coordinates; returns gu * scale where the same pass over gu made it."""
        if layer.basis.coords == "raw":
            a, gu = x, gy
        a = x @ layer.Vh.T if a is None else a  # (B, L, r) or packed (N, r)
        gu = gy @ layer.U if gu is None else gu
        if self.ends is not None:
            return self._add_packed(layer, a, gu, scale)
        if layer.basis.coords == "diag":
            g = (gu.float() * a.float()).sum(1)  # (B, r)
        else:
            g = torch.einsum("blp,blq->bpq", gu.float(), a.float()).flatten(1)  # (B, q*q)
        lo, hi = layer.basis.spans[layer.name]
        self.out[:, lo:hi].index_add_(0, self.rows, g)
        return None

    def _add_packed(self, layer: SVDLinear, a: Tensor, gu: Tensor, scale: Tensor | None) -> Tensor | None:
        lo, hi = layer.basis.spans[layer.name]
        if layer.basis.coords == "raw":  # a row at a time: padding to the longest would cost as much as the backward
            for row, at, end in zip(self.rows.tolist(), self.ends.tolist(), self.ends[1:].tolist(), strict=False):
                self.out[row, lo:hi].view(gu.shape[1], -1).addmm_(gu[at:end].float().T, a[at:end].float())
            return None
        if layer.basis.coords == "core":
            if self.tokens is None:
                sizes = torch.diff(self.ends)
                at = torch.arange(int(sizes.max()), device=a.device)
                self.tokens = torch.where(at < sizes[:, None], self.ends[:-1, None] + at, len(a))
            x, y = (F.pad(t.to(self.out.dtype), (0, 0, 0, 1))[self.tokens] for t in (gu, a))  # (B, longest, q)
            self.out[:, lo:hi].index_add_(0, self.rows, torch.bmm(x.transpose(1, 2), y).flatten(1))
            return None
        if a.is_cuda:
            from model.kernels import add_segment_dots  # Triton is only needed here

            return add_segment_dots(gu, a, self.ends, self.rows, self.out, lo, scale)
        if self.member is None:
            at = torch.arange(len(a), device=a.device)
            self.member = ((at >= self.ends[:-1, None]) & (at < self.ends[1:, None])).to(self.out.dtype)
        kind = self.out.dtype
        self.out[:, lo:hi].index_add_(0, self.rows, self.member @ (gu.to(kind) * a.to(kind)))
        return None


@dataclass
class Basis:
    """The singular bases of all target Linears of one model and the flat layout of their coordinates."""

    train: Train
    coords: Coords
    core_rank: int
    layers: dict[str, SVDLinear] = field(default_factory=dict)  # in flat order
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    groups: list[tuple[int, int, int]] = field(default_factory=list)  # (offset, m weights, d coordinates each)
    size: int = 0  # D
    open_capture: Capture | None = None
    folded: bool = False  # W alone is read: merged weights while sampling, or the untrained reference
    fused: bool = False  # forward, backward and sampler read U (S + delta) Vh instead of W and a side product

    @property
    def device(self) -> torch.device:
        return next(iter(self.layers.values())).U.device

    def knobs(self) -> list[nn.Parameter]:
        """The trained parameters, in flat order: delta (r,) per weight, or the weight (out, in) itself."""
        return [layer.delta if self.train == "delta_s" else layer.weight for layer in self.layers.values()]

    @contextlib.contextmanager
    def capture(self, out: Tensor, rows: Tensor, weight_grads: bool = False, ends: Tensor | None = None):
        """Inside, a backward adds each rollout's coordinates to out (n, D); knobs get no .grad in delta_s mode."""
        self.open_capture = Capture(out, rows, weight_grads, ends)
        try:
            yield
        finally:
            self.open_capture = None

    def split(self, flat: Tensor) -> list[Tensor]:
        """(..., D) -> one view (..., m, d) per group of equally sized weights."""
        return [flat[..., o : o + m * d].unflatten(-1, (m, d)) for o, m, d in self.groups]

    def energy(self, V: Tensor, g: Tensor) -> float:
        """|V g|^2 of flat g (D,) for rows V (k, D), orthonormal or zero within each weight."""
        parts = zip(self.split(V), self.split(g), strict=True)
        return float(sum(torch.einsum("kmd,md->km", v, x).square().sum() for v, x in parts))

    def overlap(self, V: Tensor, g: Tensor) -> float:
        """|relu(V g)| / |g| of flat g (D,) over all weights."""
        parts = zip(self.split(V), self.split(g), strict=True)
        c2 = sum(torch.einsum("kmd,md->km", v, x).clamp_min(0).square().sum() for v, x in parts)
        return float((c2.sqrt() if torch.is_tensor(c2) else 0.0) / g.norm().clamp_min(1e-30))

    def subtract(self, tensors: list[Tensor], coords: Tensor) -> None:
        """Take the knob-space tensors of coordinates (D,) from `tensors`, one a weight, in place."""
        for (name, (lo, hi)), t in zip(self.spans.items(), tensors, strict=True):
            t -= self.lift(name, coords[lo:hi], like=t)

    @torch.no_grad()
    def coords_of(self, name: str, matrix: Tensor) -> Tensor:
        """Coordinates (d,) of a weight-space matrix (out, in), or of a delta vector (r,), which is its own."""
        if matrix.ndim == 1:
            return matrix.float()
        if self.coords == "raw":
            return matrix.float().flatten()
        layer = self.layers[name]
        core = layer.U.float().T @ matrix.float() @ layer.Vh.float().T
        return core.diagonal().clone() if self.coords == "diag" else core.flatten()

    @torch.no_grad()
    def lift(self, name: str, g: Tensor, like: Tensor) -> Tensor:
        """The knob-space tensor with coordinates g (d,): g itself for a delta vector, D(g) = U C Vh for a weight."""
        if like.ndim == 1:
            return g.to(like.dtype)
        if self.coords == "raw":
            return g.view(like.shape).to(like.dtype)
        layer = self.layers[name]
        u, vh = layer.U.float(), layer.Vh.float()
        c = u * g if self.coords == "diag" else u @ g.view(layer.rank, layer.rank)
        return (c @ vh).to(like.dtype)

    @torch.no_grad()
    def flat(self, tensors: list[Tensor]) -> Tensor:
        """Coordinates (D,) of one knob-space tensor per weight (grads or updates, in flat order)."""
        return torch.cat([self.coords_of(n, t) for n, t in zip(self.layers, tensors, strict=True)])


def attach(
    model: nn.Module, train: Train = "delta_s", coords: Coords | None = None, core_rank: int = 32, fused: bool = False
) -> Basis:
    """Replace every target Linear by an SVDLinear, freeze all else; return the Basis that lays out their coordinates.

    coords defaults to the space that trains: diag for delta_s, core for full (a diagonal V inside a full-weight run is
    nearly a no-op: it holds ~1/max(out, in) of the gradient). Raises ValueError if the model has no target Linear.
    """
    coords = coords or ("diag" if train == "delta_s" else "core")
    if train == "delta_s" and coords != "diag":
        raise ValueError(f"--coords {coords} needs --train full: delta_s trains the diagonal and nothing else")
    if fused and train != "delta_s":
        raise ValueError("--fused needs --train delta_s: with full weights there is no side product to save")
    basis = Basis(train, coords, core_rank, fused=fused)
    for p in model.parameters():
        p.requires_grad_(False)
    found = [
        (f"{parent_name}.{child_name}", parent, child_name, child)
        for parent_name, parent in model.named_modules()
        for child_name, child in parent.named_children()
        if child_name in TARGETS and isinstance(child, nn.Linear)
    ]
    if not found:
        raise ValueError(
            f"no Linear named {', '.join(TARGETS)} in {type(model).__name__}: choose a Llama- or Qwen-like model"
        )
    layers = {}
    for name, parent, child_name, child in found:
        layers[name] = SVDLinear(child, name, basis)
        setattr(parent, child_name, layers[name])
    size_of = {
        n: {"diag": x.rank, "core": x.rank**2, "raw": x.out_features * x.in_features}[coords] for n, x in layers.items()
    }
    for name in sorted(layers, key=lambda n: size_of[n]):  # stable: model order within a size
        d = size_of[name]
        basis.layers[name] = layers[name]
        basis.spans[name] = (basis.size, basis.size + d)
        if basis.groups and basis.groups[-1][2] == d:
            o, m, _ = basis.groups[-1]
            basis.groups[-1] = (o, m + 1, d)
        else:
            basis.groups.append((basis.size, 1, d))
        basis.size += d
    return basis


@contextlib.contextmanager
def merged(basis: Basis | None):
    """Fold delta into float32 weights for cheap sampling, restored bit for bit after; bf16 models keep the exact hooks.

    bf16 is left alone since W sits on the bf16 grid: rounding W + U diag(delta) Vh keeps ~6% of a delta of 1e-4.
    """
    fold = (
        basis is not None
        and basis.train == "delta_s"
        and all(x.weight.dtype == torch.float32 for x in basis.layers.values())
    )
    if not fold:
        yield
        return
    saved = {name: x.weight.data for name, x in basis.layers.items()}
    with torch.no_grad():
        for x in basis.layers.values():
            x.weight.data = x.weight.data + (x.U * x.delta) @ x.Vh
    basis.folded = True
    try:
        yield
    finally:
        basis.folded = False
        for name, x in basis.layers.items():
            x.weight.data = saved[name]


def model_hash(model: nn.Module) -> str:
    """sha256 (16 hex digits) of the model's parameters: names, shapes and at most 4096 numbers of each."""
    h = hashlib.sha256()
    for name, p in sorted(model.named_parameters()):
        if name.endswith(".delta"):
            continue
        flat = p.detach().flatten()
        step = max(1, flat.numel() // 4096)
        h.update(f"{name}{tuple(p.shape)}".encode())
        h.update(flat[::step].float().cpu().numpy().tobytes())
    return h.hexdigest()[:16]
