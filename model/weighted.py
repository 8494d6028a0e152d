"""The one gradient path: rollouts with advantages -> their gradient, a group's prompt run once a source."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor

from model.packed import Unit
from model.policy import Policy
from model.policy_grad import KL, Softmax, shared_grads


def distinct(rollouts: list) -> tuple[list[int], list[int], list[float]]:
    """(first of each kind, kind of each rollout, size of each kind); a kind is source, prompt and tokens."""
    seen: dict[tuple, list[int]] = {}
    for i, r in enumerate(rollouts):
        seen.setdefault((r.source, tuple(r.task.prompt_ids), tuple(r.completion_ids)), []).append(i)
    kind = [0] * len(rollouts)
    for j, members in enumerate(seen.values()):
        for i in members:
            kind[i] = j
    return [m[0] for m in seen.values()], kind, [float(len(m)) for m in seen.values()]


def whole_gradient(policy: Policy, rollouts: list, a: Tensor, n_all: int, acc) -> tuple[Tensor, float]:
    """(coordinates (D,), squared norm over all that trains) of weighted_gradient, without KL; all processes' sum.

    With full weights the coordinates hold a part only. The knobs' .grad is left as it was.
    """
    quiet = copy.copy(policy)
    quiet.cfg = dataclasses.replace(policy.cfg, kl_beta=0.0)
    kept = [k.grad for k in policy.knobs]
    for k in policy.knobs:
        k.grad = None
    h = weighted_gradient(quiet, rollouts, a, n_all)[0].sum(0)
    h, energy = acc.reduce(h, "sum") if acc.num_processes > 1 else h, 0.0
    for k, before in zip(policy.knobs, kept, strict=True):
        g = torch.zeros_like(k) if k.grad is None else k.grad
        energy += float((acc.reduce(g, "sum") if acc.num_processes > 1 else g).float().square().sum())
        k.grad = before
    return h, energy


def weighted_gradient(
    policy: Policy, rollouts: list, a: Tensor, n_all: int, step: bool = True
) -> tuple[Tensor, Tensor, list[float]]:
    """Gradient of student and teacher (2, D), of each rollout's -log p at its own positions (n, D), signed, and
    [sum of K3, its tokens].

        -sum_i a_i log p_i / (n_all max_new_tokens)           Dr.GRPO's fixed denominator

    a: advantages (n,). step: with the KL term, and with full weights the knobs' .grad too.
    """
    cfg, basis, dev = policy.cfg, policy.basis, policy.basis.device
    joint = torch.zeros(2, basis.size, device=dev)
    first, copy_of, copies = distinct(rollouts)  # the same tokens have the same gradient: repeats are run once
    copy_of, copies = torch.tensor(copy_of, dtype=torch.long), torch.tensor(copies)
    scale = 1 / (n_all * cfg.max_new_tokens)
    weight = torch.zeros(len(first)).index_add_(0, copy_of, a) * scale
    k3_sums, kl = torch.zeros(len(first), device=dev), None
    if step and cfg.kl_beta:
        kl = KL(cfg.kl_beta * copies * scale, k3_sums, policy.as_reference)
    shared: dict[tuple, list[int]] = {}  # (prompt, source) -> distinct rollouts: sources stay apart
    for j, f in enumerate(first):
        if kl or weight[j] != 0:
            key = (tuple(rollouts[f].task.prompt_ids), rollouts[f].source == "teacher")
            shared.setdefault(key, []).append(j)
    units = [
        Unit(list(prompt), [rollouts[first[j]].completion_ids for j in js], js) for (prompt, _), js in shared.items()
    ]
    how = {"tokens_per_micro": policy.tokens_per_micro, "weight_grads": step and cfg.train == "full", "kl": kl}
    own, prompts, _ = shared_grads(
        policy.model, basis, units, weight, softmax=Softmax(cfg.temperature, cfg.top_p), **how
    )
    for (_, teacher), js, part in zip(shared, shared.values(), prompts, strict=True):
        joint[int(teacher)] += own[js].sum(0) + part
    one = torch.where(weight == 0, 0.0, scale / weight.where(weight != 0, torch.ones(())))  # to unit advantage
    nll = (own * one[:, None].to(dev))[copy_of.to(dev)]
    tokens = sum(len(r.completion_ids) for r in rollouts) if kl else 0
    return joint, nll, [float(copies @ k3_sums.cpu()), tokens]
