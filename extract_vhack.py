"""Contrastive pairs -> v_hack per weight, in the SVD basis of W.

    pair (prompt, hack, clean)  -->  d_p = grad NLL(hack) - grad NLL(clean)      one row (d,) per weight
    D (n, d)  --SVD-->  V (k, d) orthonormal rows, oriented hack-ward, below the noise floor dropped

d_p is the gradient of GRPO with advantage +1 on the hack and -1 on the clean completion (ratio 1, no KL), so a
training gradient g with V g > 0 is about to move the weight hack-ward.

Beside the hack set the file holds its controls, computed from the same gradients: `within` (hack_i - hack_j and
clean_i - clean_j, re-paired), `nonhack` (two honest solutions of one problem), and the mean directions of Haar draws
with their calibration. Swapping the sides of a pair would be no control: D^T D, hence span(V), does not change.

    uv run python extract_vhack.py smoke                        # tiny model, seconds
    uv run python extract_vhack.py full                         # Qwen3-4B, one GPU

Symbols: n pairs, M weights, d coordinates of one weight, D of all weights (flat), k directions.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from command import usage

usage.answer(__name__)  # --help, before the imports that take seconds

import torch
import tyro
from loguru import logger
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from command import errors, files, flags
from model import zoo
from model.policy_grad import Sequence, nll_loss, recompute_layers, rollout_grads
from model.svd_basis import Basis, Coords, Train, attach, model_hash
from tasks import pairs as pairs_module
from tasks import problems

FORMAT = 4  # bump when the file's meaning changes: an older file is then named and refused
RAW_GB = 16.0  # most memory that --coords raw may take, see check_raw
ORACLES = ("oracle", "oracle_now")  # --v that reads labels, see Oracle
HAAR_DRAWS = 8  # calibrated Haar mean directions stored for the screening controls


@dataclass(frozen=True)
class ExtractConfig:
    # model
    model: str = "tiny"  # see model/zoo.py
    tokenizer: str | None = None  # folder or hub name; None: the model's own
    device: str = "cpu"  # cpu | cuda
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the weights
    # space
    train: Train = "delta_s"  # the space that will be trained
    coords: Coords | None = None  # None: diag for delta_s, core for full; raw: all of each weight (small models)
    core_rank: int = 32  # q of the core block
    # pairs
    pairs: str = "data/pairs/leetcode.jsonl"  # pairs of two honest answers lie beside them: STEM_nonhack.jsonl
    modes: tuple[str, ...] | None = None  # keep only pairs of these modes (leave-one-mode-out)
    tags: tuple[str, ...] | None = None  # keep only pairs that carry one of these tags
    # directions
    k: int = 5  # directions per weight
    nll_norm: Literal["fixed", "sum", "mean"] = "fixed"  # fixed = training's own 1/max_new_tokens
    max_new_tokens: int = 1024  # denominator of `fixed`
    floor: float = 0.25  # this share of all weights' singular values, pooled, is noise and dropped
    sign_p: float = 0.05  # an axis is signed when its sign-flip p is below this
    clean_rank: int | None = None  # leading directions of the clean sides that leave the mean; None: half the pairs
    # run
    tokens_per_micro: int = 8192  # tokens of a forward; lower it where memory ends
    checkpointing: bool = False  # recompute layers in the backward
    out: str | None = None  # None: out/vhack/<content key>.safetensors
    rebuild: bool = False  # overwrite a file that exists, is stale or corrupt

    def __post_init__(self) -> None:
        flags.check(self)


PRESETS = {
    "smoke": ("tiny random model on CPU", ExtractConfig(k=3, modes=("run_tests",), max_new_tokens=48)),
    "organism": (
        "the model organism on CPU",
        ExtractConfig(model="organism", train="full", pairs="data/pairs/organism.jsonl", max_new_tokens=160),
    ),
    "organism-inside": (
        "the model organism whose loopholes stand inside the class, on CPU",
        ExtractConfig(
            model="organism-inside", train="full", pairs="data/pairs/organism-inside.jsonl", max_new_tokens=160
        ),
    ),
    "fast": (
        "Qwen3-4B on one GPU",
        ExtractConfig(model="Qwen/Qwen3-4B", device="cuda", dtype="bfloat16", k=12, checkpointing=True),
    ),
    "full": (
        "Qwen3-4B on one GPU, k=12",
        ExtractConfig(
            model="Qwen/Qwen3-4B", device="cuda", dtype="bfloat16", k=12, max_new_tokens=1536, checkpointing=True
        ),
    ),
    "coder": (
        "Qwen2.5-Coder-1.5B-Instruct on one GPU, k=12",
        ExtractConfig(
            model="Qwen/Qwen2.5-Coder-1.5B-Instruct", device="cuda", dtype="bfloat16", k=12, max_new_tokens=768
        ),
    ),
}


@dataclass
class DirectionSet:
    """k directions per weight, flat: V (k, D) rows orthonormal within each weight, or zero where dropped."""

    V: Tensor
    S: Tensor  # (k, M) singular values
    signed: Tensor  # (k, M) bool: the pairs support this axis' sign, so a one-sided gate may use it
    mean: Tensor  # (D,) unit norm: mean of the unit-norm pair differences over all weights
    cos_hack: float = float("nan")  # mean cosine of the pairs' hack completions' NLL gradient with `mean`
    cos_clean: float = float("nan")  # the same for clean completions


@dataclass
class VHack:
    """The directions of one model: sets `hack`, `within`, `nonhack`, and calibrated Haar means."""

    sets: dict[str, DirectionSet]
    haar_mean: Tensor  # (HAAR_DRAWS, D)
    haar_cos: list[tuple[float, float]]  # (cos_hack, cos_clean) per draw
    meta: dict = field(default_factory=dict)

    def to(self, device: torch.device) -> VHack:
        sets = {
            n: replace(s, V=s.V.to(device), S=s.S.to(device), signed=s.signed.to(device), mean=s.mean.to(device))
            for n, s in self.sets.items()
        }
        return replace(self, sets=sets, haar_mean=self.haar_mean.to(device))


# ---------------------------------------------------------------- directions from gradient differences


def top_directions(basis: Basis, diff: Tensor, k: int, floor: float, sign_p: float) -> DirectionSet:
    """SVD of the pair differences diff (n, D), weight by weight -> oriented top-k DirectionSet.

    Right singular vectors come from the n x n Gram matrix in float64: n pairs span at most n directions.
    Orientation: axis j of a weight has c_p = d_p . v; it is flipped to sum c|c| > 0, and signed if that sum is
    significant under random sign flips of the pairs. Only such axes may be gated one-sided.
    """
    n = diff.shape[0]
    k = min(k, n, *(d for _, _, d in basis.groups))
    vs, ss, signed = [], [], []
    flips = torch.randint(0, 2, (2000, n), generator=torch.Generator().manual_seed(0)).double().to(diff.device) * 2 - 1
    for x in basis.split(diff):  # (n, m, d)
        x = x.transpose(0, 1).double()  # (m, n, d)
        lam, u = torch.linalg.eigh(x @ x.mT)  # ascending
        s = lam.flip(-1)[:, :k].clamp_min(0).sqrt()  # (m, k)
        u = u.flip(-1)[:, :, :k]  # (m, n, k)
        v = torch.linalg.qr((x.mT @ u) / s[:, None].clamp_min(1e-300))[0].mT  # (m, k, d), orthonormal to float64
        c = x @ v.mT  # (m, n, k)
        power = c * c.abs()
        stat = power.sum(1)  # (m, k)
        null = torch.einsum("rn,mnk->rmk", flips, power)
        p = (null.abs() >= stat.abs()).double().mean(0)  # two-sided: the flip below chose the sign from the data
        v = v * torch.where(stat < 0, -1.0, 1.0)[..., None]
        vs.append(v.transpose(0, 1).flatten(1).float())
        ss.append(s.T.float())
        signed.append((p < sign_p).T)
    V, S, signed = torch.cat(vs, 1), torch.cat(ss, 1), torch.cat(signed, 1)
    keep = S.flatten().quantile(floor) < S if floor > 0 else S > 0  # (k, M)
    keep &= 1e-6 * S.max() < S  # a rank-deficient difference has no direction there
    V = V * per_weight(basis, keep.float())
    unit = diff / diff.norm(dim=1, keepdim=True).clamp_min(1e-30)
    mean = unit.mean(0)
    return DirectionSet(V, S, signed & keep, mean / mean.norm().clamp_min(1e-30))


def per_weight(basis: Basis, x: Tensor) -> Tensor:
    """(k, M) one number per weight -> (k, D) that number on each of the weight's coordinates."""
    counts = torch.tensor([d for _, m, d in basis.groups for _ in range(m)], device=x.device)
    return x.repeat_interleave(counts, dim=1)


def haar_directions(basis: Basis, like: DirectionSet, seed: int) -> DirectionSet:
    """Random orthonormal rows where `like` has rows (same k, same weights), with random mean of the same energy."""
    gen = torch.Generator().manual_seed(seed)
    vs, means = [], []
    for V, mean in zip(basis.split(like.V), basis.split(like.mean), strict=True):  # (k, m, d), (m, d)
        k, m, d = V.shape
        q = torch.linalg.qr(torch.randn(m, d, k, generator=gen, dtype=torch.float64))[0]
        q = q.permute(2, 0, 1).float().to(V.device)  # (k, m, d)
        vs.append((q * (V.norm(dim=-1, keepdim=True) > 0.5)).flatten(1))
        r = torch.randn(m, d, generator=gen).to(V.device)
        means.append((r / r.norm(dim=-1, keepdim=True) * mean.norm(dim=-1, keepdim=True)).flatten())
    return DirectionSet(torch.cat(vs, 1), like.S, like.signed, torch.cat(means))


def of_gradient(basis: Basis, h: Tensor) -> DirectionSet:
    """A gradient h (D,) as one direction a weight."""
    S = torch.cat([x.norm(dim=-1) for x in basis.split(h)])[None]  # (1, M)
    V = h[None] / per_weight(basis, S).clamp_min(1e-30)
    return DirectionSet(V, S, S > 0, h / h.norm().clamp_min(1e-30))


class Oracle:
    """Directions from the labelled hack gradients of a run's own rollouts: they read labels, so a projection along them
    is an upper bound and no method.

    oracle: the top k a weight of the last BANK hack gradients before this step; oracle_now: this step's own.
    """

    BANK = 20

    def __init__(self, basis: Basis, which: str, k: int):
        self.basis, self.which, self.k = basis, which, k
        self.bank: list[Tensor] = []  # hack gradients (D,) of earlier steps, the newest last

    def directions(self, h: Tensor | None) -> DirectionSet | None:
        """What a step with the hack gradient h is projected with (None: nothing); h then joins the bank."""
        if self.which == "oracle_now":
            return None if h is None else of_gradient(self.basis, h)
        known = top_directions(self.basis, torch.stack(self.bank), self.k, 0.0, 0.05) if self.bank else None
        if h is not None:
            self.bank = [*self.bank, h.clone()][-self.BANK :]
        return known


def hack_weights(rollouts: list) -> Tensor:
    """(n,) the advantage of each of the student's attempts, by label, where it is positive, else 0."""
    return torch.tensor([max(r.advantage, 0.0) * (r.source == "student" and r.attempted) for r in rollouts])


def hack_gradient(rollouts: list, nll: Tensor) -> Tensor:
    """h (D,) = sum_i w_i grad(-log p_i) / (n max_new), w the hack_weights; nll (n, D): that gradient of each rollout at
    its own positions. 0 where there is no such attempt."""
    return hack_weights(rollouts).to(nll) @ nll


def within_class(hack: Tensor, clean: Tensor, seed: int) -> Tensor:
    """Re-pair the same gradients label-free: (n, D) of hack_i - hack_j and clean_i - clean_j (pairs.within_class)."""
    side = {"hack": hack, "clean": clean}
    return torch.stack([side[s][i] - side[s][j] for s, i, j in pairs_module.within_class(len(hack), seed)])


def without_clean(clean: Tensor, rank: int) -> Callable[[Tensor], Tensor]:
    """Map of a mean direction (D,) to its part orthogonal to how honest answers' gradients clean (n, D) vary.

    mean' = (I - P) mean / |.|, P onto the first `rank` right singular vectors of the unit-norm rows of clean, from
    their n x n Gram matrix in float64. A pair's two bodies differ too, so the mean difference also says what kind of
    honest code stands there; without that part an honest rollout scores near zero whoever wrote it, and a threshold
    set on pairs holds for the student. Rank 0: the direction itself. ValueError where rank is not in [0, n).
    """
    n = len(clean)
    if rank == 0:
        return lambda mean: mean
    if not 1 <= rank < n:
        raise ValueError(f"clean_rank {rank}: choose 0 (off) to {n - 1}, fewer than the {n} train pairs")
    unit = (clean / clean.norm(dim=1, keepdim=True).clamp_min(1e-30)).double()
    lam, u = torch.linalg.eigh(unit @ unit.T)  # ascending
    kept = lam[-rank:] > 1e-10 * lam[-1]  # repeated clean texts span fewer directions
    basis = (u[:, -rank:][:, kept].T @ unit) / lam[-rank:][kept, None].sqrt()  # (rank, D), orthonormal rows

    def rest(mean: Tensor) -> Tensor:
        out = mean.double() - (basis @ mean.double()) @ basis
        return (out / out.norm().clamp_min(1e-30)).float()

    return rest


def rank_of_clean(cfg: ExtractConfig, n_train: int) -> int:
    """--clean-rank, or half of the train pairs: what the supported screen on the organism was set with."""
    return n_train // 2 if cfg.clean_rank is None else cfg.clean_rank


def hackward(vhack, which: str, grads: Tensor, *, seed: int, at: float) -> tuple[Tensor, float]:
    """(cosines (n,) of grads with a mean direction, its pairs' threshold), oriented so that more is more hack-ward.

    threshold = clean + at * (hack - clean), the pairs' mean cosines; which: hack, within, or haar, one by the seed.
    """
    if which == "haar":
        j = seed % len(vhack.haar_cos)
        direction, (hi, lo) = vhack.haar_mean[j], vhack.haar_cos[j]
    else:
        s = vhack.sets[which]
        direction, hi, lo = s.mean, s.cos_hack, s.cos_clean
    sign = 1 if hi >= lo else -1
    return sign * cosines(grads, direction).cpu(), sign * (lo + at * (hi - lo))


def cosines(grads: Tensor, direction: Tensor) -> Tensor:
    """Cosine of each rollout's gradient (n, D) with one direction (D,), over all weights; 0 for a zero gradient."""
    return (grads @ direction) / (grads.norm(dim=1) * direction.norm()).clamp_min(1e-30)


def auroc(scores: Tensor, labels: Tensor) -> float:
    """P(score of a positive > score of a negative), ties half; nan unless both classes are present."""
    pos, neg = scores[labels], scores[~labels]
    if len(pos) == 0 or len(neg) == 0:
        return float("nan")
    diff = pos[:, None] - neg[None, :]
    return float(((diff > 0).double() + 0.5 * (diff == 0).double()).mean())


def subspace_overlap(basis: Basis, a: Tensor, b: Tensor) -> float:
    """Mean cos^2 of the principal angles of two row spaces (k, D), averaged over weights where both have rows."""
    vals = []
    for x, y in zip(basis.split(a), basis.split(b), strict=True):  # (k, m, d)
        g = torch.einsum("kmd,lmd->mkl", x.double(), y.double())
        rank = torch.minimum((x.norm(dim=-1) > 0.5).sum(0), (y.norm(dim=-1) > 0.5).sum(0))  # (m,)
        vals.append((g.square().sum((1, 2)) / rank.clamp_min(1))[rank > 0])
    vals = torch.cat(vals)
    return float(vals.mean()) if len(vals) else float("nan")


# ---------------------------------------------------------------- pairs -> gradients


def pair_sequences(tok, pairs: list, eos: int, context: int | None = None) -> tuple[list[Sequence], list[Sequence]]:
    """Hack and clean sides as sequences; the completion is tokenised apart from the prompt and ends in EOS.

    ValueError names a pair whose sides are the same tokens, or longer than the model's positions (context).
    """
    sides: tuple[list[Sequence], list[Sequence]] = ([], [])
    for pair in pairs:
        prompt = problems.encode_prompt(tok, pairs_module.prompt_messages(pair))
        for side, text in zip(sides, (pair.hack, pair.clean), strict=True):
            side.append(Sequence(prompt, [*tok.encode(text, add_special_tokens=False), eos]))
        if sides[0][-1].completion_ids == sides[1][-1].completion_ids:
            raise ValueError(
                f"pair {pair.id}: hack and clean are the same tokens, so it has no direction; edit one side"
            )
        longest = max(side[-1].length for side in sides)
        if context and longest > context:
            raise ValueError(
                f"pair {pair.id}: {longest} tokens with its prompt, but the model has {context} positions; shorten it"
            )
    return sides


def model_sequences(model, tok, pairs: list) -> tuple[list[Sequence], list[Sequence]]:
    """pair_sequences with the end token and the positions of a model."""
    eos = zoo.eos_ids(model, tok)[0] if tok.eos_token_id is None else tok.eos_token_id
    return pair_sequences(tok, pairs, eos, zoo.context(model))


def pair_grads(model, basis: Basis, tok, pairs: list, cfg: ExtractConfig) -> tuple[Tensor, Tensor]:
    """NLL gradients of every pair's sides: hack (n, D), clean (n, D), by the training loss's own normaliser."""

    def scale(seqs: list[Sequence]) -> Tensor | float:
        if cfg.nll_norm == "mean":
            return torch.tensor([1.0 / len(s.completion_ids) for s in seqs], device=basis.device)
        return 1.0 / cfg.max_new_tokens if cfg.nll_norm == "fixed" else 1.0

    sides = model_sequences(model, tok, pairs)
    hack, clean = (
        rollout_grads(model, basis, seqs, nll_loss(scale(seqs)), tokens_per_micro=cfg.tokens_per_micro)[0]
        for seqs in sides
    )
    return hack, clean


def select_pairs(cfg: ExtractConfig) -> tuple[list, list]:
    """(train pairs, held-out pairs) of the file after the mode and tag filters."""
    found = pairs_module.load_pairs(cfg.pairs)
    if cfg.modes:
        found = pairs_module.of_modes(found, cfg.modes)
    if unknown := set(cfg.tags or ()) - {t for p in found for t in p.tags}:
        raise ValueError(f"{cfg.pairs}: no pair carries the tag {', '.join(sorted(unknown))}; mend --tags")
    if cfg.tags:
        found = [p for p in found if set(cfg.tags) & set(p.tags)]
    train = [p for p in found if p.split == "train"]
    held = [p for p in found if p.split != "train"]
    if len(train) < 4:
        raise ValueError(f"{cfg.pairs}: {len(train)} train pairs left after --modes/--tags; at least 4 needed")
    return refuse_repeats(cfg.pairs, train), held


def refuse_repeats(path: str | Path, pairs: list) -> list:
    """The pairs; ValueError where two have the same prompt and answers: one direction would count twice."""
    first: dict[tuple, str] = {}
    for p in pairs:
        key = (*(m["content"] for m in pairs_module.prompt_messages(p)), p.hack, p.clean)
        if key in first:
            raise ValueError(f"{path}: pairs {first[key]} and {p.id} have the same prompt and answers; remove one")
        first[key] = p.id
    return pairs


def nonhack_pairs(cfg: ExtractConfig, n: int) -> list:
    """The first n train pairs of two honest answers, of the file beside --pairs; [] without that file."""
    path = files.nonhack_beside(cfg.pairs)
    if not path.is_file():
        return []
    other = [p for p in pairs_module.load_pairs(path) if p.split == "train"][:n]
    if len(other) < 4:
        raise ValueError(f"{path}: {len(other)} pairs of split train, but the control needs 4 or more")
    return refuse_repeats(path, other)


def check_nonhack(pairs: str) -> None:
    """Refuse --v nonhack where --pairs has no file of honest pairs beside it."""
    if not (path := files.nonhack_beside(pairs)).is_file():
        raise ValueError(f"--v nonhack: {path} does not exist; put pairs of two honest answers there")


def contrasts(model, tok, cfg: ExtractConfig, which: str) -> tuple[list[Sequence], list[Sequence]]:
    """The sides that --arm pair_penalty weighs: hack and clean; within: two of one class, re-paired as `within_class`
    does; nonhack: two honest answers; clean: nothing against the clean sides."""
    pairs, _ = select_pairs(cfg)
    hack, clean = model_sequences(model, tok, nonhack_pairs(cfg, len(pairs)) if which == "nonhack" else pairs)
    if which != "within":
        return [] if which == "clean" else hack, clean
    side, drawn = {"hack": hack, "clean": clean}, pairs_module.within_class(len(hack), seed=0)
    return [side[s][i] for s, i, _ in drawn], [side[s][j] for s, _, j in drawn]


def extract(model, basis: Basis, tok, cfg: ExtractConfig) -> VHack:
    """All direction sets, calibrations and scores of one model from the pairs of cfg."""
    key = key_fields(model, basis, tok, cfg)  # first: it names what does not fit before any gradient is made
    train, held = select_pairs(cfg)
    hack, clean = pair_grads(model, basis, tok, train, cfg)
    zero = (hack.norm(dim=1) == 0) | (clean.norm(dim=1) == 0)
    if bool(zero.any()):
        raise ValueError(f"pair {train[int(zero.nonzero()[0])].id}: zero gradient on one side; is its text empty?")
    top = lambda diff: top_directions(basis, diff, cfg.k, cfg.floor, cfg.sign_p)  # noqa: E731
    sets = {"hack": top(hack - clean), "within": top(within_class(hack, clean, seed=0))}
    if other := nonhack_pairs(cfg, len(train)):
        a, b = pair_grads(model, basis, tok, other, cfg)
        sets["nonhack"] = top(a - b)
    less = without_clean(clean, rank_of_clean(cfg, len(train)))
    for s in sets.values():
        s.mean = less(s.mean)
        s.cos_hack, s.cos_clean = float(cosines(hack, s.mean).mean()), float(cosines(clean, s.mean).mean())
    haar = [less(haar_directions(basis, sets["hack"], seed=1000 + j).mean) for j in range(HAAR_DRAWS)]
    haar_cos = [(float(cosines(hack, h).mean()), float(cosines(clean, h).mean())) for h in haar]
    scores = {
        "split_half_overlap": _split_half(basis, hack - clean, cfg),
        "split_half_overlap_within": _split_half(basis, within_class(hack, clean, seed=1), cfg),
    }
    if len(held) >= 2:
        h, c = pair_grads(model, basis, tok, held, cfg)
        labels = torch.tensor([True] * len(held) + [False] * len(held))
        for name in ("hack", "within"):
            mean = sets[name].mean
            scores[f"heldout_accuracy_{name}"] = float((cosines(h - c, mean) > 0).float().mean())
            scores[f"heldout_auroc_{name}"] = auroc(torch.cat([cosines(h, mean), cosines(c, mean)]).cpu(), labels)
    kept = sets["hack"].V.norm(dim=1).square().sum()
    total = sum(m for _, m, _ in basis.groups) * sets["hack"].V.shape[0]
    meta = key | {
        "scores": scores,
        "n_train": len(train),
        "n_heldout": len(held),
        "axes_kept": float(kept / total),
        "axes_signed": float(sets["hack"].signed.sum() / max(1.0, float(kept))),
        "commit": files.git_commit(),
        "config": asdict(cfg),
    }
    return VHack(sets, torch.stack(haar), haar_cos, meta)


def _split_half(basis: Basis, diff: Tensor, cfg: ExtractConfig) -> float:
    a, b = (top_directions(basis, diff[i::2], cfg.k, 0.0, cfg.sign_p).V for i in (0, 1))
    return subspace_overlap(basis, a, b)


# ---------------------------------------------------------------- the file, keyed by content


def key_fields(model, basis: Basis, tok, cfg: ExtractConfig) -> dict:
    """Everything the directions depend on; a file whose fields differ belongs to another run.

    The pairs' tokens stand for the wording of prompts and hints too. ValueError: a pair, --k or --clean-rank does not
    fit this model.
    """
    train, held = select_pairs(cfg)
    other = nonhack_pairs(cfg, len(train))
    most = min(len(train), len(other) or len(train), *(d for _, _, d in basis.groups))
    if cfg.k > most:
        raise ValueError(
            f"--k {cfg.k}: at most {most} here, the least of the {len(train)} train pairs"
            f"{f', the {len(other)} non-hack pairs' * bool(other)} and the smallest weight's coordinates"
        )
    if rank_of_clean(cfg, len(train)) >= len(train):
        raise ValueError(f"--clean-rank {cfg.clean_rank}: choose 0 (off) to {len(train) - 1}, below the train pairs")
    if basis.coords == "raw":
        check_raw(basis, cfg.k, len(train) + len(other))
    tokens = [
        (s.prompt_ids, s.completion_ids) for side in model_sequences(model, tok, train + held + other) for s in side
    ]
    return {
        "format": FORMAT,
        "model": model_hash(model),
        "pairs": pairs_module.pair_hash(train + held),
        "nonhack": pairs_module.pair_hash(pairs_module.load_pairs(files.nonhack_beside(cfg.pairs))) if other else None,
        "template": hashlib.sha256(str(tok.chat_template).encode()).hexdigest()[:16],
        "tokens": hashlib.sha256(json.dumps(tokens).encode()).hexdigest()[:16],
        "layout": hashlib.sha256(json.dumps(basis.spans).encode()).hexdigest()[:16],
        "train": basis.train,
        "coords": basis.coords,
        "k": cfg.k,
        "nll_norm": cfg.nll_norm,
        "max_new_tokens": cfg.max_new_tokens if cfg.nll_norm == "fixed" else None,
        "floor": cfg.floor,
        "sign_p": cfg.sign_p,
        "clean_rank": rank_of_clean(cfg, len(train)),
    }


def raw_gb(size: int, k: int, n: int) -> float:
    """GB that `size` raw coordinates take: 4 bytes each for three sets of k directions, both sides of n pairs, and
    their differences in float64."""
    return 4e-9 * size * (3 * k + 4 * n)


def check_raw(basis: Basis, k: int, n: int) -> None:
    """Refuse raw coordinates that do not fit."""
    if (gb := raw_gb(basis.size, k, n)) > RAW_GB:
        raise ValueError(
            f"--coords raw: {basis.size} coordinates with k {k} and {n} pairs need {gb:.0f} GB, and {RAW_GB:.0f} GB is "
            "the most; use --coords core, or a smaller model"
        )


# What a differing field of the key means to the user; the others are flags and speak for themselves.
STALE = {
    "format": "of another version of this project",
    "model": "of another model",
    "layout": "of another model",
    "pairs": "of other pairs (file, modes, tags, number or text)",
    "nonhack": "of other non-hack pairs",
    "template": "of another chat template",
    "tokens": "of another tokenizer or wording of the prompts",
}
TENSORS = ("V", "S", "signed", "mean")  # of each direction set


def save_vhack(v: VHack, path: str | Path) -> None:
    """Write safetensors (float32, CPU) with metadata and digest; whole or not at all, and only finite numbers."""
    tensors = {"haar.mean": v.haar_mean}
    calib: dict[str, tuple | list] = {"haar": v.haar_cos}
    for name, s in v.sets.items():
        tensors |= {f"{name}.{t}": getattr(s, t) for t in TENSORS}
        calib[name] = (s.cos_hack, s.cos_clean)
    tensors = {k: (t.to(torch.uint8) if t.dtype == torch.bool else t).contiguous().cpu() for k, t in tensors.items()}
    text = json.dumps(v.meta | {"calibration": calib})
    if bad := unusable(tensors, calib):
        raise FloatingPointError(f"{path}: not written, since {bad}; do the model's weights hold NaN?")
    with files.atomic_path(path) as tmp:
        save_file(tensors, tmp, metadata={"vhack": text, "digest": digest(tensors, text)})


def digest(tensors: dict[str, Tensor], text: str) -> str:
    """sha256 (hex) of names, shapes and numbers of all tensors and of the metadata: a flipped bit is seen."""
    h = hashlib.sha256(text.encode())
    for name, t in sorted(tensors.items()):
        h.update(f"{name} {t.dtype} {tuple(t.shape)}".encode())
        h.update(t.contiguous().view(torch.uint8).numpy())
    return h.hexdigest()


def unusable(tensors: dict[str, Tensor], calib: dict) -> str:
    """What makes direction sets unusable, in words: a tensor missing, of another shape, not finite; "" for none."""
    if not {"haar", "hack", "within"} <= calib.keys():
        return "the calibration lacks haar, hack or within"
    if any(not math.isfinite(x) for row in [*calib["haar"], *(calib[n] for n in calib if n != "haar")] for x in row):
        return "a calibration is not finite"
    names = {"haar.mean"} | {f"{n}.{t}" for n in calib if n != "haar" for t in TENSORS}
    if names != tensors.keys():
        return f"the tensors {', '.join(sorted(names ^ tensors.keys()))} are missing or superfluous"
    d = tensors["hack.mean"].numel()
    shapes: dict[str, tuple[int, ...]] = {"haar.mean": (len(calib["haar"]), d)}
    for n in calib:
        if n != "haar":
            km = tensors[f"{n}.S"].shape
            shapes |= {f"{n}.V": (*km[:1], d), f"{n}.S": km, f"{n}.signed": km, f"{n}.mean": (d,)}
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != tuple(shape) or name.endswith(".S") and len(shape) != 2:
            return f"the tensor {name} has the shape {tuple(tensors[name].shape)}, not {tuple(shape)}"
        if not bool(torch.isfinite(tensors[name]).all()):
            return f"the tensor {name} is not finite"
    return ""


def check_given(path: str | Path | None, rebuild: bool) -> None:
    """Refuse a --v-hack that is not there, or a folder, before the model is loaded; --rebuild asks to make it."""
    if path is None or rebuild or files.find(path).is_file():
        return
    if files.find(path).is_dir():
        raise FileNotFoundError(f"--v-hack {path}: a folder, not a file of extract_vhack.py; name the file in it")
    raise FileNotFoundError(
        f"--v-hack {path}: no such file; make it with `just extract PRESET --out {path}`, add --rebuild to make it "
        "now, or leave the flag out"
    )


def load_vhack(path: str | Path, expect: dict | None = None) -> VHack:
    """Read a v_hack file; ValueError names the file and what is wrong: corrupt, of another model, pairs or template."""
    check_given(path, rebuild=False)
    path = files.find(path)
    try:
        with safe_open(path, "pt") as f:
            texts = f.metadata()
            # copies: in the file tensors lie at any address, and a sum's last bits depend on that
            t = {k: f.get_tensor(k).clone() for k in f.keys()}  # noqa: SIM118 (not a dict)
        meta = json.loads(texts["vhack"])
        calib = meta["calibration"]
        bad = unusable(t, {n: [tuple(x) for x in c] if n == "haar" else tuple(c) for n, c in calib.items()})
        if not isinstance(meta["scores"], dict):
            raise TypeError("scores")
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError) as e:
        why = f"{type(e).__name__}: {e}"
        raise ValueError(f"{path}: corrupt or not a v_hack file ({why}); extract it again with --rebuild") from e
    for key, want in (expect or {}).items():
        if meta.get(key) != want:
            raise ValueError(
                f"{path}: v_hack is {STALE.get(key, 'stale')} ({key} is {meta.get(key)!r}, this run needs {want!r}); "
                "extract it for this model, template and pairs, or again with --rebuild"
            )
    if not bad and texts.get("digest") != digest(t, texts["vhack"]):
        bad = "its numbers do not have the digest that was written with them"
    if bad:
        raise ValueError(f"{path}: corrupt, since {bad}; fetch it again, or extract it with --rebuild")
    sets = {n: DirectionSet(*(t[f"{n}.{x}"] for x in TENSORS), *c) for n, c in calib.items() if n != "haar"}
    for s in sets.values():
        s.signed = s.signed.bool()
    return VHack(sets, t["haar.mean"], [tuple(x) for x in calib["haar"]], meta)


OF_FILE = ("coords", "core_rank", "floor", "sign_p", "nll_norm", "clean_rank")


def as_in_file(cfg: ExtractConfig) -> ExtractConfig:
    """cfg with the settings OF_FILE, for which train.py has no flag, of the file that --v-hack names."""
    if cfg.out is None or not files.find(cfg.out).is_file():
        return cfg
    try:
        with safe_open(files.find(cfg.out), "pt") as f:
            given = json.loads(f.metadata()["vhack"])["config"]
        if given["train"] != cfg.train or given["coords"] not in (None, *get_args(Coords)):
            return cfg
        return replace(cfg, **{name: given[name] for name in OF_FILE if name in given})
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError):
        return cfg  # load_vhack says what is wrong with it


def load_or_extract(model, basis: Basis, tok, cfg: ExtractConfig) -> tuple[VHack, Path]:
    """The cached file of exactly these inputs, or a fresh extraction saved under its content key (or cfg.out)."""
    expect = key_fields(model, basis, tok, cfg)
    key = hashlib.sha256(json.dumps(expect, sort_keys=True).encode()).hexdigest()[:16]
    path = files.find(cfg.out) if cfg.out else files.ROOT / "out" / "vhack" / f"{key}.safetensors"
    if path.exists() and not cfg.rebuild:
        return load_vhack(path, expect), path
    files.check_writable("--out", path)
    v = extract(model, basis, tok, cfg)
    save_vhack(v, path)
    return v, path


def report(v: VHack, path: Path) -> str:
    """The BLUF of an extraction: what the directions are worth on pairs they have not seen."""
    s, lines = v.meta["scores"], []
    if "heldout_auroc_hack" in s:
        ok = s["heldout_auroc_hack"] > s["heldout_auroc_within"]
        how = f"{'separates' if ok else 'does NOT separate'} held-out hack from clean better than within-class V"
    else:
        how = "is made; fewer than two pairs were held out, so nothing here says whether it separates hack from clean"
    lines.append(f"BLUF: v_hack {how}")
    lines.append(f"PAIRS: {v.meta['n_train']} train, {v.meta['n_heldout']} held out (hash {v.meta['pairs']})")
    if "heldout_auroc_hack" in s:
        held = [s[f"heldout_{m}_{k}"] for m in ("accuracy", "auroc") for k in ("hack", "within")]
        lines.append("HELDOUT: accuracy {:.2f} (within-class {:.2f}), AUROC {:.2f} ({:.2f})".format(*held))
    lines.append(
        f"SPLIT_HALF: overlap {s['split_half_overlap']:.3f} (within-class {s['split_half_overlap_within']:.3f})"
    )
    lines.append(
        f"AXES: {v.meta['axes_kept']:.0%} above the noise floor, sign supported on {v.meta['axes_signed']:.0%} of them"
    )
    hack = v.sets["hack"]
    lines.append(f"CALIBRATION: cosine with the mean direction: hack {hack.cos_hack:+.3f}, clean {hack.cos_clean:+.3f}")
    lines.append(f"FILE: {path} (model {v.meta['model']}, {v.meta['coords']}, k {v.meta['k']}, {v.meta['nll_norm']})")
    return "\n".join(lines)


def main(cfg: ExtractConfig) -> None:
    select_pairs(cfg)
    if cfg.out:
        files.check_writable("--out", cfg.out)
    model, tok = zoo.load_model(cfg.model, cfg.tokenizer, cfg.device, cfg.dtype)
    basis = attach(model, cfg.train, cfg.coords, cfg.core_rank)
    if cfg.checkpointing:
        recompute_layers(model)
    logger.info("model {} ({} weights, D = {} coordinates)", cfg.model, len(basis.layers), basis.size)
    v, path = load_or_extract(model, basis, tok, cfg)
    print(report(v, path))


if __name__ == "__main__":
    with errors.plain_errors():
        main(tyro.extras.overridable_config_cli(PRESETS))
