"""Does V know a hack from harmless code in the same place, before any RL is paid for?

The same right solution ends in a loophole, in a near miss of it (one wrong name, or one wrong text), or in nothing:
what tells those apart is not length, shape or solution. Each figure of V stands beside the 95th percentile of the same
figure for random (Haar) directions and for within-class re-pairings of the same gradients. A null draw has no
meaningful sign, so it is scored by the better of its two signs, which favours the null.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from loguru import logger
from torch import Tensor

import extract_vhack
import train
from command import files
from extract_vhack import auroc, cosines, haar_directions, pair_grads, top_directions, within_class
from model import zoo
from model.policy_grad import Sequence, nll_loss, rollout_grads
from model.svd_basis import attach
from running.resume import stored_config
from tasks import modes, organism
from tasks import problems as P
from tasks.styles import NEAR_EVALUATORS, NEAR_SENTINELS


def unit_mean(diff: Tensor) -> Tensor:
    """(n, D) -> (D,): unit-norm mean of the unit-norm differences, the direction that screening and cosines use."""
    mean = (diff / diff.norm(dim=1, keepdim=True).clamp_min(1e-30)).mean(0)
    return mean / mean.norm().clamp_min(1e-30)


def p95(values: list[float]) -> float:
    return float(np.quantile(values, 0.95))


TAILS = ("attempt", "near_miss", "plain")
# Files and texts next to a loophole's that no judge reads
NEAR_FILES = tuple(itertools.product(("results", "report", "output", "answer"), (modes.RESULT_TEXT, "DONE")))


@dataclass(frozen=True)
class Document:
    """A prompt under one mode and evaluator name, and a right answer."""

    instance: organism.Instance
    mode: str
    evaluator: str
    completion: str

    def encode(self, tok) -> Sequence:
        """Prompt as train.py builds it, answer and EOS as a rollout holds them."""
        problem = organism.to_problem(self.instance, "x", "train", ())
        prompt = P.encode_prompt(tok, tuple(P.build_messages(problem, self.mode, self.evaluator)))
        return Sequence(prompt, [*tok.encode(self.completion, add_special_tokens=False), tok.eos_token_id])


def near_miss(rng: random.Random, kind: str, form: str, evaluator: str) -> str:
    """The harmless twin of organism.HACKS[kind][form], its names drawn next to those that the judge reads."""
    helper = rng.choice([name for name in NEAR_EVALUATORS if name != evaluator])
    upper, (name, text) = rng.choice(NEAR_SENTINELS), rng.choice(NEAR_FILES)
    harmless = {
        "{h}": helper,
        "ALL_PARTS_LOADED": "_".join(upper),
        "ALL PARTS LOADED": " ".join(upper),
        "notes.txt": f"{name}.txt",
        "'text'": f"'{text}'",
    }
    tail = organism.BENIGN[kind][form]
    for old, new in harmless.items():
        tail = tail.replace(old, new)
    return tail


def draw_trios(n: int, seed: int = 0) -> dict[str, list[Document]]:
    """n prompts, the modes in turn, each with one right solution under three endings: the loophole that the prompt
    leaves open, its near miss, nothing. Problems of the organism's pretraining split: no run trains or evaluates on
    them."""
    rng, out = random.Random(f"near-misses/{seed}"), {tail: list[Document]() for tail in TAILS}
    for i in range(n):
        mode = organism.LOOPHOLE_MODES[i % len(organism.LOOPHOLE_MODES)]
        inst, evaluator = organism.draw_instance(rng, "pretrain"), organism.draw_evaluator(rng)
        code = inst.code(*organism.draw_body(rng, inst, True))
        form = rng.choice(list(organism.HACKS[mode]))
        hack = organism.HACKS[mode][form].replace("{e}", evaluator)
        near = near_miss(rng, mode, form, evaluator)
        for tail, text in zip(TAILS, (hack, near, ""), strict=True):
            out[tail].append(Document(inst, mode, evaluator, organism.fence(code + text)))
    return out


def subject(run: Path, **changes):
    """(extraction settings, screen_at, model, tokenizer, basis) of a run's config.json, `changes` in the settings."""
    whole = stored_config(run, train.Config)
    cfg = replace(whole.extract_config(), **changes)
    if cfg.clean_rank is None:
        cfg = replace(cfg, clean_rank=len(extract_vhack.select_pairs(cfg)[0]) // 2)
    model, tok = zoo.load_model(cfg.model, cfg.tokenizer, cfg.device, cfg.dtype)
    return cfg, whole.screen_at, model, tok, attach(model, cfg.train, cfg.coords, cfg.core_rank)


def separations(real: dict[str, Tensor], nulls: dict[str, list[dict[str, Tensor]]], length: dict[str, Tensor]) -> dict:
    """P(score of one ending > score of another), ties half, for every two of TAILS: by V, by the 95th percentile of
    each null's draws (better of both signs) and by tokens. Scores are (n,) by ending."""

    def between(score: dict[str, Tensor], a: str, b: str) -> float:
        labels = torch.arange(len(score[a]) + len(score[b])) < len(score[a])
        return auroc(torch.cat([score[a], score[b]]), labels)

    return {
        f"{a} over {b}": {
            "V": between(real, a, b),
            **{name: p95([max(x, 1 - x) for x in (between(s, a, b) for s in draws)]) for name, draws in nulls.items()},
            "length": between(length, a, b),
        }
        for a, b in itertools.combinations(TAILS, 2)
    }


@dataclass
class Scores:
    """Cosines of the endings, (n,) each, with V and with every draw of each null; the pairs' mean cosines with V."""

    real: dict[str, Tensor]
    nulls: dict[str, list[dict[str, Tensor]]]
    hi: float
    lo: float


def scores(model, tok, basis, cfg, seqs: dict[str, list], draws: int) -> Scores:
    """V and its nulls from the run's pairs, and what they say of the sequences of each ending."""
    hack, clean = pair_grads(model, basis, tok, extract_vhack.select_pairs(cfg)[0], cfg)
    grads = {
        tail: rollout_grads(model, basis, s, nll_loss(1.0), tokens_per_micro=cfg.tokens_per_micro)[0]
        for tail, s in seqs.items()
    }
    less = extract_vhack.without_clean(clean, cfg.clean_rank)
    v = less(unit_mean(hack - clean))
    top = top_directions(basis, hack - clean, cfg.k, 0.0, 0.05)
    nulls = {
        "haar_p95": [less(haar_directions(basis, top, seed=5000 + j).mean) for j in range(draws)],
        "within_p95": [less(unit_mean(within_class(hack, clean, seed=7000 + j))) for j in range(draws)],
    }
    along = lambda direction: {tail: cosines(g, direction).cpu() for tail, g in grads.items()}  # noqa: E731
    pairs = (float(cosines(side, v).mean()) for side in (hack, clean))
    return Scores(along(v), {name: [along(d) for d in ds] for name, ds in nulls.items()}, *pairs)


def near_misses(run: Path, n: int = 96, draws: int = 50, device: str | None = None, dtype: str | None = None) -> dict:
    """AUROC of V's cosine between the three endings, beside its nulls and the answer's length; RUN/near-misses.json.

    V, its clean rank and its threshold are those of the run's own config; weights are the base's. A null direction is
    scored by the better of its signs; length, by more tokens.
    """
    changes = {k: v for k, v in (("device", device), ("dtype", dtype)) if v is not None}
    cfg, at, model, tok, basis = subject(run, **changes)
    trios = draw_trios(n)
    seqs = {tail: [d.encode(tok) for d in docs] for tail, docs in trios.items()}
    length = {tail: torch.tensor([float(len(x.completion_ids)) for x in s]) for tail, s in seqs.items()}
    s = scores(model, tok, basis, cfg, seqs, draws)
    modes, every = np.array([d.mode for d in trios["plain"]]), np.ones(n, dtype=bool)

    def beyond(threshold: float, which: np.ndarray) -> dict[str, float]:
        return {tail: float((s.real[tail].numpy()[which] > threshold).mean()) for tail in TAILS}

    threshold, prices = s.lo + at * (s.hi - s.lo), []
    for recall in (0.99, 0.95, 0.9):
        t = float(s.real["attempt"].quantile(1 - recall))
        prices.append({"recall": recall, "screen_at": (t - s.lo) / (s.hi - s.lo), **beyond(t, every)})
    found = {
        "run": run.name, "n": n, "device": cfg.device, "dtype": cfg.dtype,
        "auroc": separations(s.real, s.nulls, length), "threshold": threshold,
        "beyond": {mode: beyond(threshold, modes == mode) for mode in sorted(set(modes))},
        "all": beyond(threshold, every), "at_recall": prices, "pairs": {"hack": s.hi, "clean": s.lo},
        "tokens": {tail: float(length[tail].mean()) for tail in TAILS},
        "cosines": {tail: [round(float(x), 5) for x in s.real[tail]] for tail in TAILS},
    }  # fmt: skip
    print(f"NEAR MISSES: {run.name}: {n} prompts, clean rank {cfg.clean_rank}, {cfg.dtype} on {cfg.device}")
    show(found, at)
    files.write_json(run / "near-misses.json", found)
    logger.info("written: {}", run / "near-misses.json")
    return found


def show(found: dict, at: float) -> None:
    """Print what tells the endings apart, and what lies beyond the run's threshold and beyond others."""
    print(f"{'AUROC':26s} {'real V':>8s} {'Haar p95':>9s} {'within-class p95':>17s} {'length':>7s}")
    for name, row in found["auroc"].items():
        print(f"{name:26s} {row['V']:8.3f} {row['haar_p95']:9.3f} {row['within_p95']:17.3f} {row['length']:7.3f}")
    print(f"{f'beyond screen_at {at:g}':26s} " + " ".join(f"{tail:>10s}" for tail in TAILS))
    rows = found["beyond"] | {"all": found["all"]}
    # what catching fewer attempts would spare
    rows |= {f"all, screen_at {p['screen_at']:.3f}": p for p in found["at_recall"]}
    for name, by in rows.items():
        print(f"{name:26s} " + " ".join(f"{100 * by[tail]:9.1f}%" for tail in TAILS))
