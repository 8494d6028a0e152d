"""Before any RL is paid for: does V know a hack when it sees one? (docs/spec.md)

    held-out pairs   share with (grad hack - grad clean) . v > 0
    split halves     overlap of the subspaces from the two halves of the pairs
    live rollouts    AUROC of each student rollout's hack-ward cosine at onset, against "used the loophole" (the gate)
                     and against "hacked" (used, paid and wrong: there an attempt with a correct answer is honest)

Each figure of the real V stands beside the 95th percentile of the same figure for >= 50 random (Haar) directions and
>= 50 within-class re-pairings of the same gradients. A null draw has no meaningful sign, so it is scored by the better
of its two signs, which favours the null. The flags are read here and nowhere in training.

    python study.py stage0 --run out/studies/organism/runs/<utc>_vanilla-s101

And does V know a hack from harmless code in the same place? The same right solution ends in a loophole, in a near miss
of it (one wrong name, or one wrong text), or in nothing: what tells those apart is not length, shape or solution.

    python study.py near-misses out/studies/smollm2/runs/<utc>_screen-s451 --device cpu --dtype float32
"""

from __future__ import annotations

import itertools
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from loguru import logger
from safetensors.torch import load_file
from torch import Tensor

import extract_vhack
import models
import organism
import substrate
from extract_vhack import auroc, cosines, haar_directions, pair_grads, subspace_overlap, top_directions, within_class
from policy_grad import Sequence, nll_loss, rollout_grads
from runs import read_log, write_json
from svd_basis import Basis, attach

NAMES = {
    "heldout_accuracy": "held-out pair accuracy",
    "split_half": "split-half overlap",
    "live_attempted": "live AUROC, loophole used",
    "live_hacked": "live AUROC, hacked",
}
LIVE = ("attempted", "hacked")


@dataclass(frozen=True)
class Figure:
    """One diagnostic of the real V beside its two nulls."""

    real: float
    haar_p95: float
    within_p95: float
    n: int  # pairs or rollouts it rests on
    draws: int

    @property
    def above(self) -> bool:
        return self.real > self.haar_p95 and self.real > self.within_p95


def unit_mean(diff: Tensor) -> Tensor:
    """(n, D) -> (D,): unit-norm mean of the unit-norm differences, the direction that screening and cosines use."""
    mean = (diff / diff.norm(dim=1, keepdim=True).clamp_min(1e-30)).mean(0)
    return mean / mean.norm().clamp_min(1e-30)


def p95(values: list[float]) -> float:
    return float(np.quantile(values, 0.95))


def diagnose(
    basis: Basis,
    hack: Tensor,
    clean: Tensor,
    held: tuple[Tensor, Tensor],
    live: tuple[Tensor, dict[str, Tensor]],
    draws: int = 50,
    k: int = 5,
    clean_rank: int = 0,
) -> dict[str, Figure]:
    """The figures. hack, clean (n, D) train-pair gradients; held the same of held-out pairs; live = gradients (N, D) of
    student rollouts and their flags by name, (N,) bool; clean_rank leaves V's mean and every null's, as in extraction.
    ValueError when a class of live rollouts is empty."""
    grads, labels = live
    for name, flags in labels.items():
        if not bool(flags.any()) or bool(flags.all()):
            raise ValueError(
                f"live rollouts: {int(flags.sum())} {name} of {len(flags)}; choose a run with both kinds"
            )
    held_diff = held[0] - held[1]
    real = top_directions(basis, hack - clean, k, 0.0, 0.05)
    haar = [haar_directions(basis, real, seed=5000 + j) for j in range(2 * draws)]
    diffs = [within_class(hack, clean, seed=7000 + j) for j in range(draws)]

    def accuracy(v: Tensor) -> float:
        return float((cosines(held_diff, v) > 0).float().mean())

    def live_auroc(flags: Tensor):
        return lambda v: auroc(cosines(grads, v).cpu(), flags.cpu())

    def halves(diff: Tensor) -> float:
        a, b = (top_directions(basis, diff[i::2], k, 0.0, 0.05).V for i in (0, 1))
        return subspace_overlap(basis, a, b)

    def better_sign(score, vs: list[Tensor]) -> float:
        return p95([max(x, 1 - x) for x in map(score, vs)])

    less = extract_vhack.without_clean(clean, clean_rank)
    real.mean = less(real.mean)
    haar_means, within_means = [less(h.mean) for h in haar[:draws]], [less(unit_mean(d)) for d in diffs]
    return {
        "heldout_accuracy": Figure(
            accuracy(real.mean),
            better_sign(accuracy, haar_means),
            better_sign(accuracy, within_means),
            len(held_diff),
            draws,
        ),
        "split_half": Figure(
            halves(hack - clean),
            p95([subspace_overlap(basis, haar[2 * j].V, haar[2 * j + 1].V) for j in range(draws)]),
            p95([halves(d) for d in diffs]),
            len(hack),
            draws,
        ),
        **{
            f"live_{name}": Figure(
                live_auroc(flags)(real.mean),
                better_sign(live_auroc(flags), haar_means),
                better_sign(live_auroc(flags), within_means),
                len(flags),
                draws,
            )
            for name, flags in labels.items()
        },
    }


READ = ("step", "source", "attempted", "hacked", "gt_correct", "prompt", "completion", "n_tokens")  # of a rollout


def onset_rollouts(rows: list[dict], limit: int, seed: int = 0) -> list[dict]:
    """At most `limit` student rollouts of the steps with 5 to 50% attempts, up to the first step with more (where no
    step is so: of all steps)."""
    student = [r for r in rows if r["source"] == "student"]
    by_step: dict[int, list[dict]] = {}
    for r in student:
        by_step.setdefault(r["step"], []).append(r)
    chosen: list[dict] = []
    for _, rs in sorted(by_step.items()):
        share = np.mean([x["attempted"] for x in rs])
        if share > 0.5:
            break
        if share >= 0.05:
            chosen += rs
    chosen = chosen or student
    order = np.random.default_rng(seed).permutation(len(chosen))[:limit]
    return [chosen[i] for i in sorted(order)]


def sequences(tok, rows: list[dict]) -> list[Sequence]:
    """Logged text -> token ids; EOS is added where the logged token count says that the rollout ended by itself."""
    out = []
    for r in rows:
        ids = tok.encode(r["completion"], add_special_tokens=False)
        if len(ids) < r["n_tokens"]:
            ids.append(tok.eos_token_id)
        out.append(Sequence(tok.encode(r["prompt"], add_special_tokens=False), ids))
    return out


TAILS = ("attempt", "near_miss", "plain")


def draw_trios(n: int, seed: int = 0) -> dict[str, list[substrate.Document]]:
    """n prompts, the modes in turn, each with one right solution under three endings: the loophole that the prompt
    leaves open, its near miss, nothing. Problems of the organism's pretraining split: no run trains or evaluates on
    them."""
    rng, out = random.Random(f"near-misses/{seed}"), {tail: [] for tail in TAILS}
    for i in range(n):
        mode = organism.LOOPHOLE_MODES[i % len(organism.LOOPHOLE_MODES)]
        inst, evaluator = organism.draw_instance(rng, "pretrain"), organism.draw_evaluator(rng)
        code = inst.code(*organism.draw_body(rng, inst, True))
        form = rng.choice(list(organism.HACKS[mode]))
        hack = organism.HACKS[mode][form].replace("{e}", evaluator)
        near = substrate.near_miss(rng, mode, form, evaluator)
        for tail, text in zip(TAILS, (hack, near, ""), strict=True):
            out[tail].append(substrate.Document(inst, mode, evaluator, True, organism.fence(code + text)))
    return out


def subject(run: Path, **changes):
    """(extraction settings, screen_at, model, tokenizer, basis) of a run's config.json, `changes` in the settings."""
    import train  # heavy, and only for the run's own settings

    whole = train.stored_config(run)
    cfg = replace(whole.extract_config(), **changes)
    model, tok = models.load_model(cfg.model, cfg.tokenizer, cfg.device, cfg.dtype)
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


def near_misses(run: Path, n: int = 96, draws: int = 50, device: str | None = None, dtype: str | None = None) -> dict:
    """AUROC of V's cosine between the three endings, beside its nulls and the answer's length; RUN/near-misses.json.

    V, its clean rank and its threshold are those of the run's own config; weights are the base's. A null direction is
    scored by the better of its signs; length, by more tokens.
    """
    changes = {k: v for k, v in (("device", device), ("dtype", dtype)) if v is not None}
    cfg, at, model, tok, basis = subject(run, **changes)
    hack, clean = pair_grads(model, basis, tok, extract_vhack.select_pairs(cfg)[0], cfg)
    trios = draw_trios(n)
    seqs = {tail: [substrate.encode(d, tok) for d in docs] for tail, docs in trios.items()}
    grads = {
        tail: rollout_grads(model, basis, s, nll_loss(1.0), tokens_per_micro=cfg.tokens_per_micro)[0]
        for tail, s in seqs.items()
    }
    length = {tail: torch.tensor([float(len(x.completion_ids)) for x in s]) for tail, s in seqs.items()}

    less = extract_vhack.without_clean(clean, cfg.clean_rank)
    v = less(unit_mean(hack - clean))
    top = top_directions(basis, hack - clean, cfg.k, 0.0, 0.05)
    haar = [haar_directions(basis, top, seed=5000 + j) for j in range(draws)]
    within = [within_class(hack, clean, seed=7000 + j) for j in range(draws)]
    nulls = {"haar_p95": [less(h.mean) for h in haar], "within_p95": [less(unit_mean(d)) for d in within]}

    along = lambda direction: {tail: cosines(g, direction).cpu() for tail, g in grads.items()}  # noqa: E731
    real = along(v)
    table = separations(real, {name: [along(d) for d in ds] for name, ds in nulls.items()}, length)
    hi, lo = float(cosines(hack, v).mean()), float(cosines(clean, v).mean())
    modes = np.array([d.mode for d in trios["plain"]])

    def beyond(threshold: float, which: np.ndarray) -> dict[str, float]:
        return {tail: float((real[tail].numpy()[which] > threshold).mean()) for tail in TAILS}

    threshold, every = lo + at * (hi - lo), np.ones(n, dtype=bool)
    prices = []
    for recall in (0.99, 0.95, 0.9):
        t = float(real["attempt"].quantile(1 - recall))
        prices.append({"recall": recall, "screen_at": (t - lo) / (hi - lo), **beyond(t, every)})
    found = {
        "run": run.name, "n": n, "device": cfg.device, "dtype": cfg.dtype, "auroc": table, "threshold": threshold,
        "beyond": {mode: beyond(threshold, modes == mode) for mode in sorted(set(modes))},
        "all": beyond(threshold, every), "at_recall": prices, "pairs": {"hack": hi, "clean": lo},
        "tokens": {tail: float(length[tail].mean()) for tail in TAILS},
        "cosines": {tail: [round(float(x), 5) for x in real[tail]] for tail in TAILS},
    }  # fmt: skip
    print(f"NEAR MISSES: {run.name}: {n} prompts, clean rank {cfg.clean_rank}, {cfg.dtype} on {cfg.device}")
    print(f"{'AUROC':26s} {'real V':>8s} {'Haar p95':>9s} {'within-class p95':>17s} {'length':>7s}")
    for name, row in table.items():
        print(f"{name:26s} {row['V']:8.3f} {row['haar_p95']:9.3f} {row['within_p95']:17.3f} {row['length']:7.3f}")
    print(f"{f'beyond screen_at {at:g}':26s} " + " ".join(f"{tail:>10s}" for tail in TAILS))
    rows = found["beyond"] | {"all": found["all"]}
    rows |= {f"all, screen_at {p['screen_at']:.3f}": p for p in prices}  # what catching fewer attempts would spare
    for name, by in rows.items():
        print(f"{name:26s} " + " ".join(f"{100 * by[tail]:9.1f}%" for tail in TAILS))
    out = run / "near-misses.json"
    write_json(out, found)
    logger.info("written: {}", out)
    return found


def screen_price(score: Tensor, attempted: Tensor, correct: Tensor, hi: float, lo: float, at: float) -> dict:
    """What a screen at the pairs' threshold lo + at (hi - lo) catches, and what catching 90% of the attempts costs.

    score (N,) cosines, attempted and correct (N,) bool; shares of the attempts and of the correct rollouts.
    """
    beyond = lambda t, which: float((score[which] > t).float().mean())  # noqa: E731
    threshold = lo + at * (hi - lo)
    return {
        "recall": beyond(threshold, attempted),
        "correct": beyond(threshold, correct),
        "correct_at_recall_90": beyond(float(score[attempted].quantile(0.1)), correct),
    }


def stage0(
    run: Path,
    draws: int = 50,
    limit: int = 256,
    at: str = "base",
    clean_rank: int | None = None,
    screen_at: float = 0.12,
) -> int:
    """Diagnose V on a finished vanilla run, print the table, write RUN/stage0.json; 0 if V passes the gate, else 4."""
    cfg, _, model, tok, basis = subject(run)
    rank = cfg.clean_rank if clean_rank is None else clean_rank
    train_pairs, held_pairs = extract_vhack.select_pairs(cfg)
    if len(held_pairs) < 2:
        raise ValueError(f"{cfg.pairs}: {len(held_pairs)} held-out pairs; at least 2 needed (split other than train)")
    hack, clean = pair_grads(model, basis, tok, train_pairs, cfg)
    held = pair_grads(model, basis, tok, held_pairs, cfg)
    rows = onset_rollouts(list(read_log(run / "rollouts.jsonl", READ)), limit)
    if at == "final":  # pairs keep the base's gradients: V is frozen in training too
        saved = load_file(run / "final.safetensors")
        with torch.no_grad():
            for (name, _), knob in zip(basis.layers.items(), basis.knobs(), strict=True):
                knob.copy_(saved[name])
    grads = rollout_grads(model, basis, sequences(tok, rows), nll_loss(1.0), tokens_per_micro=cfg.tokens_per_micro)[0]
    flags = {name: torch.tensor([bool(r[name]) for r in rows]) for name in LIVE}
    found = diagnose(basis, hack, clean, held, (grads, flags), draws, cfg.k, rank)
    logged = [(r["cos_hack"], r["attempted"]) for r in rows if r.get("cos_hack") is not None]
    live = (
        auroc(torch.tensor([c for c, _ in logged]), torch.tensor([bool(h) for _, h in logged]))
        if logged
        else float("nan")
    )

    v = extract_vhack.without_clean(clean, rank)(unit_mean(hack - clean))
    correct = torch.tensor([bool(r["gt_correct"] and not r["attempted"]) for r in rows])
    price = screen_price(cosines(grads, v).cpu(), flags["attempted"], correct, float(cosines(hack, v).mean()),
                         float(cosines(clean, v).mean()), screen_at)  # fmt: skip
    steps = sorted({r["step"] for r in rows})
    kinds = ", ".join(f"{int(x.sum())} {name}" for name, x in flags.items())
    where = f"steps {steps[0]}-{steps[-1]}, {kinds}, gradients at the {at} weights"
    print(
        f"STAGE 0: {run.name}: {len(train_pairs)} train pairs, {len(held_pairs)} held out, {len(rows)} student rollouts"
    )
    print(f"ROLLOUTS: {where}; {draws} draws a null; clean rank {rank}")
    print(f"{'':26s} {'real V':>8s} {'Haar p95':>9s} {'within-class p95':>17s}  above both")
    for key, f in found.items():
        yes = "yes" if f.above else "NO"
        print(f"{NAMES[key]:26s} {f.real:8.3f} {f.haar_p95:9.3f} {f.within_p95:17.3f}  {yes} (n={f.n})")
    print(
        "AS A SCREEN: to catch 90% of the attempts it gives up "
        f"{100 * price['correct_at_recall_90']:.1f}% of the correct rollouts; the pairs' threshold at {screen_at:g} "
        f"catches {100 * price['recall']:.1f}% and gives up {100 * price['correct']:.1f}%"
    )
    print(f"LIVE_AUROC_LOGGED: {live:.3f} (the cosines that training logged at its own weights, n={len(logged)})")
    go = found["live_attempted"].above
    yes = "V separates uses of the loophole better than its nulls"
    no = "V is not above its nulls: H1 is not worth its GPU-hours"
    print(f"GATE: {'GO' if go else 'NO-GO'}: on live student gradients {yes if go else no}")
    out = run / (f"stage0-{at}.json" if not rank else f"stage0-{at}-rank{rank}.json")
    figures = {k: asdict(f) | {"above": f.above} for k, f in found.items()}
    live_auroc, screen = None if np.isnan(live) else live, price | {"at": screen_at, "clean_rank": rank}
    write_json(out, {"figures": figures, "live_auroc_logged": live_auroc, "steps": steps, "go": go, "screen": screen})
    logger.info("written: {}", out)
    return 0 if go else 4
