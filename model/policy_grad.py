"""Sequences -> log-probabilities -> each rollout's gradient, from ONE backward (training and extraction share it).

Sequences are sorted by length and cut into micro-batches of at most `tokens_per_micro` tokens, padded on the right:
under a causal mask padding cannot reach a real token, so no attention mask is needed and fast kernels stay eligible.
The vocabulary projection runs on completion positions only, in chunks, recomputed in the backward: no [B, L, V].
`shared_grads` runs each prompt once for all its completions (model/packed.py), where their sum is all that is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from model import packed
from model.net import logit_factor
from model.nucleus import nucleus_floor
from model.packed import Packed, Unit
from model.svd_basis import Basis

LOGIT_CHUNK = 2048  # rows of float32 logits alive at once: 1.2 GB at V = 151,936
FLOOR_CHUNK = 256  # of those, rows whose nucleus a CPU seeks together: it takes four times their memory


@dataclass(frozen=True)
class Sequence:
    """Prompt and completion token ids, tokenised apart and joined (no BPE merge can cross the seam)."""

    prompt_ids: list[int]
    completion_ids: list[int]

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


def micro_batches(seqs: list[Sequence], tokens_per_micro: int) -> list[list[int]]:
    """Indices of seqs, longest first, in batches whose padded size (rows * longest) stays within tokens_per_micro."""
    order = sorted(range(len(seqs)), key=lambda i: -seqs[i].length)
    batches: list[list[int]] = []
    for i in order:
        if batches and (len(batches[-1]) + 1) * seqs[batches[-1][0]].length <= tokens_per_micro:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def right_padded(seqs: list[Sequence]) -> Tensor:
    """(B, L) token ids, shorter rows filled with 0 on the right: no real token of a causal model looks there."""
    ids = torch.zeros(len(seqs), max(s.length for s in seqs), dtype=torch.long)
    for row, s in enumerate(seqs):
        ids[row, : s.length] = torch.tensor(s.prompt_ids + s.completion_ids)
    return ids


class _TokenLogps(torch.autograd.Function):
    """log softmax(h W^T scale)[target] by chunks of rows; logits are recomputed in the backward, never kept.

    h (n, H), weight (V, H), targets (n,) -> (n,) float32. d logp / d h = (onehot - p) W scale. The head is frozen.
    top_p < 1: the softmax of the sampler's kept set (with the target, where a teacher drew it from outside that set).
    """

    @staticmethod
    def forward(ctx, h, weight, targets, scale, top_p):
        logps, lse, floors = [], [], []
        for hc, tc in zip(h.split(LOGIT_CHUNK), targets.split(LOGIT_CHUNK), strict=True):
            raw = hc @ weight.T  # (c, V)
            logits = raw.float().mul_(scale)
            target = logits.gather(-1, tc[:, None])
            if top_p < 1:
                floors.append(_floors(raw, logits, scale, top_p))
                _keep_nucleus(logits, floors[-1], tc)
            lse.append(logits.logsumexp(-1))
            logps.append(target.squeeze(-1) - lse[-1])
        ctx.save_for_backward(h, weight, targets, torch.cat(lse), torch.cat(floors) if floors else None)
        ctx.scale = scale
        return torch.cat(logps)

    @staticmethod
    def backward(ctx, g):  # (n,)
        h, weight, targets, lse, floors = ctx.saved_tensors
        out = torch.empty_like(h)
        for at in range(0, len(h), LOGIT_CHUNK):
            part = slice(at, at + LOGIT_CHUNK)
            d = (h[part] @ weight.T).float().mul_(ctx.scale)
            if floors is not None:
                _keep_nucleus(d, floors[part], targets[part])
            d.sub_(lse[part, None]).exp_().neg_()  # -p
            d.scatter_add_(-1, targets[part, None], torch.ones_like(d[:, :1]))
            out[part] = d.mul_(g[part, None] * ctx.scale).to(h.dtype) @ weight
        return out, None, None, None, None


def _floors(raw: Tensor, logits: Tensor, scale: float, top_p: float) -> Tensor:
    """(n, 1): the smallest of logits (n, V) = scale * raw that the sampler may draw from, found as it finds it."""
    if raw.is_cuda:
        from model.kernels import nucleus_floors  # Triton is only needed here

        return nucleus_floors(raw, scale, top_p).mul_(scale)
    return torch.cat([nucleus_floor(part, top_p) for part in logits.split(FLOOR_CHUNK)])


def _keep_nucleus(logits: Tensor, floor: Tensor, targets: Tensor) -> None:
    """In place: what is below floor (n, 1) gets -inf, the target excepted."""
    own = logits.gather(-1, targets[:, None])
    logits.masked_fill_(logits < floor, -torch.inf).scatter_(-1, targets[:, None], own)


@dataclass(frozen=True)
class Softmax:
    """What the sampler draws from: softmax(logits / temperature), cut to its smallest set of mass top_p."""

    temperature: float = 1.0
    top_p: float = 1.0


PLAIN = Softmax()


def head_logps(model, h: Tensor, targets: Tensor, softmax: Softmax = PLAIN) -> Tensor:
    """log-probabilities (n,) of targets under what the sampler draws from after hidden states h (n, H)."""
    scale = logit_factor(model) / softmax.temperature
    return _TokenLogps.apply(h, model.lm_head.weight, targets, scale, softmax.top_p)


def token_logps(model, seqs: list[Sequence], softmax: Softmax = PLAIN) -> tuple[Tensor, Tensor]:
    """log p(completion token | prefix) for a batch: (n_tokens,) float32 and the row (n_tokens,) each belongs to.

    Every completion token counts, EOS included; prompt and padding never do. p is what the sampler draws from.
    """
    device = model.get_input_embeddings().weight.device
    ids = right_padded(seqs)
    rows = torch.cat([torch.full((len(s.completion_ids),), row) for row, s in enumerate(seqs)])
    at = torch.cat([torch.arange(len(s.prompt_ids), s.length) for s in seqs])  # position of each target token
    targets = ids[rows, at].to(device)
    hidden = model.model(input_ids=ids.to(device), use_cache=False).last_hidden_state  # (B, L, H)
    h = hidden[rows.to(device), (at - 1).to(device)]  # (n_tokens, H): the position before predicts
    return head_logps(model, h, targets, softmax), rows.to(device)


def recompute_layers(model) -> None:
    """Recompute each layer in the backward; transformers does so in train mode only, which no dropout may see."""
    model.gradient_checkpointing_enable({"use_reentrant": False})
    for module in model.modules():
        module.training = getattr(module, "gradient_checkpointing", False)


def _refuse_non_finite(logp_sum: Tensor, loss: Tensor | None = None) -> None:
    """FloatingPointError naming the first sequence without a finite log-probability (-1: only the loss has none)."""
    bad = (~torch.isfinite(logp_sum)).nonzero().flatten().tolist()
    if bad or loss is not None and not bool(torch.isfinite(loss)):
        raise FloatingPointError(
            f"non-finite log-probability or loss (sequence {bad[0] if bad else -1} of {len(logp_sum)}): lower --lr or "
            "use --dtype float32"
        )


LossFn = Callable[[Tensor, Tensor, list[int]], Tensor]  # (logps, row of each, rollout index of each row) -> scalar


def rollout_grads(
    model,
    basis: Basis,
    seqs: list[Sequence],
    loss_fn: LossFn,
    *,
    tokens_per_micro: int = 16384,
    softmax: Softmax = PLAIN,
    weight_grads: bool = False,
) -> tuple[Tensor, Tensor, float]:
    """One backward over all sequences -> (G (n, D) per-rollout coordinates of dloss, sum logp (n,), loss).

    loss_fn sees one micro-batch and must be a sum over tokens; then the rows of G add up to the joint gradient. With
    weight_grads the weights' own .grad accumulates too (--train full).
    Raises FloatingPointError if the loss is not finite, naming the first bad sequence.
    """
    device = basis.device
    grads = torch.zeros(len(seqs), basis.size, device=device)
    logp_sum = torch.zeros(len(seqs), device=device)
    total = torch.zeros((), device=device)
    for batch in micro_batches(seqs, tokens_per_micro):
        logps, rows = token_logps(model, [seqs[i] for i in batch], softmax)
        index = torch.tensor(batch, device=device)
        loss = loss_fn(logps, rows, batch)
        with basis.capture(grads, index, weight_grads):
            loss.backward()
        logp_sum.index_add_(0, index[rows], logps.detach())
        total += loss.detach()
    _refuse_non_finite(logp_sum, total)
    return grads, logp_sum, float(total)


def k3(logps: Tensor, ref: Tensor) -> Tensor:
    """Schulman's K3 estimate of KL(policy || reference) a token: exp(r) - r - 1 with r = ref - logp; >= 0."""
    r = ref - logps
    return r.exp() - r - 1


@dataclass(frozen=True)
class KL:
    """A K3 term of the shared gradient: sum_i weights_i * sum_t K3_t, with the untrained model inside `reference()`."""

    weights: Tensor  # (n,)
    out: Tensor  # (n,) sum_t K3_t, added to in place
    reference: Callable[[], AbstractContextManager]


def shared_grads(
    model,
    basis: Basis,
    units: list[Unit],
    weights: Tensor,
    *,
    tokens_per_micro: int = 16384,
    softmax: Softmax = PLAIN,
    weight_grads: bool = False,
    kl: KL | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of sum_i weights_i * (-log p(completion_i)) + KL with each unit's prompt run once, from one backward.

    weights (n,) -> (C (n, D): rollout i's part at its own completion's positions, Q (len(units), D): the part at each
    unit's prompt positions, sum logp (n,)). Exact: C[i over the unit].sum(0) + Q[unit] is the sum that rollout_grads
    gives of the unit's rows; only the prompt's part cannot be told apart by rollout. Rollouts in no unit keep zeros.
    With weight_grads the weights' own .grad accumulates the whole sum too (--train full).
    Raises FloatingPointError if a log-probability is not finite.
    """
    device = basis.device
    n = len(weights)
    grads = torch.zeros(n + len(units), basis.size, device=device)  # rollouts, then prompts
    logp_sum = torch.zeros(n, device=device)
    home = {i: n + at for at, u in enumerate(units) for i in u.rollouts}

    def logps_of(lay: Packed) -> Tensor:
        h = packed.hidden_states(model, lay)[lay.before]  # (completion tokens, H)
        return head_logps(model, h, lay.targets, softmax)

    for batch in packed.micro_batches(units, tokens_per_micro):
        lay = Packed(batch, device)
        ref = None
        if kl is not None:
            with torch.no_grad(), kl.reference():
                ref = logps_of(lay)
        logps = logps_of(lay)
        loss = -(weights.to(device)[lay.rollout_of] * logps).sum()
        if ref is not None:
            k = k3(logps, ref)
            loss = loss + (kl.weights.to(device)[lay.rollout_of] * k).sum()
            kl.out.index_add_(0, lay.rollout_of, k.detach())
        where = [home[u.rollouts[0]] for u in batch] + lay.rollouts
        with basis.capture(grads, torch.tensor(where, device=device), weight_grads, lay.cu["self"]):
            loss.backward()
        logp_sum.index_add_(0, lay.rollout_of, logps.detach())
    _refuse_non_finite(logp_sum)
    return grads[:n], grads[n:], logp_sum


def nll_loss(scale: Tensor | float = 1.0) -> LossFn:
    """sum_i scale_i * (-log p(completion_i)): unit-advantage NLL; scale is a number or (n,)."""

    def loss(logps: Tensor, rows: Tensor, batch: list[int]) -> Tensor:
        if not torch.is_tensor(scale):
            return -(logps * scale).sum()
        return -(logps * scale[torch.tensor(batch, device=logps.device)][rows]).sum()

    return loss
