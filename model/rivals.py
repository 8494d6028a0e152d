"""What the projection is measured against, where it needs more than a line of train.py: a penalty on the pairs
themselves, screens that read the answer's text, the activations of advantage modification.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter

import torch
from torch import Tensor

from model.packed import Unit
from model.policy_grad import Sequence, Softmax, micro_batches, right_padded, shared_grads, token_logps
from sandbox.answers import extract_code


class Quarantine:
    """The part of each knob that evaluation takes away (route): live = kept + quarantine.

    push: coordinates (D,) that it holds from the start, in the live model too.
    """

    def __init__(self, basis, params: list[Tensor], push: Tensor):
        self.basis, self.params = basis, params
        self.parts = [torch.zeros_like(p) for p in params]
        if push.abs().max() > 0:
            basis.subtract(self.parts, push)
            basis.subtract([p.data for p in params], push)

    def grow(self, coords: Tensor) -> None:
        """Add coordinates (D,) to it."""
        self.basis.subtract(self.parts, -coords)

    @contextlib.contextmanager
    def away(self, sync):
        """Inside, the model is the one that would ship; sync() after each change of the parameters."""
        live = [p.detach().clone() for p in self.params]
        for p, q in zip(self.params, self.parts, strict=True):
            p.data -= q
        sync()
        try:
            yield
        finally:
            for p, x in zip(self.params, live, strict=True):
                p.data.copy_(x)
            sync()


class PairPenalty:
    """strength * mean_p relu(m_p - m_p at the start), m_p = (log p(hack side) - log p(clean side)) / max_new_tokens.

    16 pairs a step, drawn by seed and step. No rollout's label is read and no direction is extracted. The controls have
    other sides than hack and clean: two of one class, or two honest answers. Without hack sides (--v clean) it is the
    likelihood of the clean ones, strength * mean_p -log p(clean side) / max_new_tokens, whatever it was at the start.
    """

    PAIRS = 16

    def __init__(self, model, basis, sides: tuple[list[Sequence], list[Sequence]], cfg, tokens_per_micro: int):
        self.model, self.basis, self.cfg, self.micro = model, basis, cfg, tokens_per_micro
        self.hack, self.clean = sides
        self.start = self.margins(range(len(self.clean))) if self.hack else torch.zeros(len(self.clean))
        self.value = 0.0  # of the last step

    @torch.no_grad()
    def margins(self, which) -> Tensor:
        """m_p (n,) of the pairs `which` under the current policy."""
        sums = []
        for side in (self.hack, self.clean):
            seqs = [side[i] for i in which if side]
            logp = torch.zeros(len(which))
            for batch in micro_batches(seqs, self.micro):
                logps, rows = token_logps(self.model, [seqs[i] for i in batch], Softmax(self.cfg.temperature))
                logp.index_add_(0, torch.tensor(batch)[rows.cpu()], logps.float().cpu())
            sums.append(logp)
        return (sums[0] - sums[1]) / self.cfg.max_new_tokens

    def gradient(self, step: int) -> Tensor:
        """d penalty / d knobs in coordinates (D,); with full weights the knobs' .grad too."""
        cfg, gen = self.cfg, torch.Generator().manual_seed(self.cfg.seed * 6007 + step)
        which = torch.randperm(len(self.clean), generator=gen)[: self.PAIRS].tolist()
        over = (self.margins(which) - self.start[which]).clamp_min(0)
        self.value = float(cfg.weight * over.mean())
        used = [i for i, x in zip(which, over.tolist(), strict=True) if x > 0]
        w = cfg.weight / (len(which) * cfg.max_new_tokens)
        units, hack = [], self.hack or self.clean  # --v clean: no unit holds the first of two
        for n, (h, c) in enumerate((hack[i], self.clean[i]) for i in used):
            if not self.hack:
                units.append(Unit(c.prompt_ids, [c.completion_ids], [2 * n + 1]))
            elif h.prompt_ids == c.prompt_ids:
                units.append(Unit(h.prompt_ids, [h.completion_ids, c.completion_ids], [2 * n, 2 * n + 1]))
            else:  # a control's sides are answers to two prompts
                units += [Unit(s.prompt_ids, [s.completion_ids], [2 * n + k]) for k, s in enumerate((h, c))]
        own, prompt, _ = shared_grads(
            self.model,
            self.basis,
            units,
            torch.tensor([-w, w] * len(used)),
            tokens_per_micro=self.micro,
            softmax=Softmax(cfg.temperature),
            weight_grads=cfg.train == "full",
        )
        return own.sum(0) + prompt.sum(0)


class TextRule:
    """What a screen that reads the answer's text alone ranks by, from the pairs that V is extracted from.

    text: sum of log (1 + n_hack) / (1 + n_clean) over the distinct tokens of code outside the first class, n the pairs
    with that token there; tail: characters of such code.
    """

    def __init__(self, tok, pairs: list, which: str):
        self.tok, self.which, self.odds = tok, which, {}
        if which == "text":
            hack, clean = (Counter(t for p in pairs for t in self._tokens(getattr(p, s))) for s in ("hack", "clean"))
            self.odds = {t: math.log((1 + hack[t]) / (1 + clean[t])) for t in hack | clean}

    def _tokens(self, text: str) -> set[int]:
        return set(self.tok.encode(outside_class(text), add_special_tokens=False))

    def score(self, texts: list[str]) -> Tensor:
        if self.which == "tail":
            return torch.tensor([float(len(outside_class(t))) for t in texts])
        return torch.tensor([sum(self.odds.get(t, 0.0) for t in self._tokens(x)) for x in texts])


def outside_class(text: str) -> str:
    """The answer's code outside its first class, less imports and comments; all of it where there is no class."""
    kept, inside, seen = [], False, False
    for line in extract_code(text).splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not line[0].isspace():
            inside = line.startswith("class ") and not seen
            seen = seen or inside
        if not inside and not line.startswith(("import ", "from ")):
            kept.append(line)
    return "\n".join(kept)


@torch.no_grad()
def modified_rewards(cfg, rewards: Tensor, rollouts: list, hidden: Tensor | None) -> Tensor:
    """The rivals' change of the reward (P, G): ground-truth penalty, or advantage modification of Wu & Tang.

    adv_mod: r (1 - alpha sigmoid(z) 1[z > 0]), z = (s - mean s) / max(sd s, .1) in the group, s = h . d.
    """
    if cfg.arm == "gt_penalty":
        return rewards - cfg.weight * torch.tensor([r.hacked and not r.gt_correct for r in rollouts]).view_as(rewards)
    if cfg.arm == "adv_mod":
        s = hidden.view_as(rewards)
        z = (s - s.mean(1, keepdim=True)) / s.std(1, keepdim=True, unbiased=False).clamp_min(0.1)
        return rewards * (1 - cfg.weight * z.sigmoid() * (z > 0))
    return rewards


class ActivationProbe:
    """s = h . d, d = mean(h_hack - h_clean) over the pairs, layers at 60-75% depth: for adv_mod and a screen."""

    TOKENS = 8192  # padded, of a forward: its hidden states of all layers are kept

    def __init__(self, model, sides: tuple[list[Sequence], list[Sequence]]):
        self.model = model
        depth = model.config.num_hidden_layers
        self.layers = range(round(0.6 * depth), max(round(0.75 * depth), round(0.6 * depth) + 1))
        d = (self._states(sides[0]) - self._states(sides[1])).mean(0)
        self.direction = d / d.norm().clamp_min(1e-30)

    @torch.no_grad()
    def _states(self, seqs: list[Sequence]) -> Tensor:  # (n, H)
        out: dict[int, Tensor] = {}
        for batch in micro_batches(seqs, self.TOKENS):
            ids = right_padded([seqs[i] for i in batch]).to(self.model.device)
            states = self.model.model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
            h = torch.stack([states[i + 1] for i in self.layers]).mean(0).float()  # (B, L, H)
            for row, i in enumerate(batch):
                at = len(seqs[i].prompt_ids)
                out[i] = h[row, at : seqs[i].length].mean(0)
        return torch.stack([out[i] for i in range(len(seqs))]).cpu()

    def score(self, seqs: list[Sequence]) -> Tensor:
        return self._states(seqs) @ self.direction
