"""What share of the NEXT step's hack gradient a set of directions holds, before any study is run.

One vanilla run; each step's labelled hack gradient h_t (attempts with positive advantage) is held against directions
known before it: the pairs' top k a weight, within-class pairs', Haar of the same k, and the top k of the last 20 h.
Beside it: how well V, a text rule, a probe of activations and length tell the student's attempts from its other answers
at vanilla's onset (AUROC of live rollouts), and what share of the update V holds.
share = |V h|^2 / |h|^2, |h| over all that trains: delta_S with --train delta_s; with --train full the weights
themselves, in which the diagonal, the core block and raw coordinates stand side by side. `whole space` is what the
coordinates hold without any V. A projection can take out no more of the hack gradient than its V holds.

    python -m study diagnose full --model FOLDER --steps 30
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from accelerate import Accelerator
from torch import Tensor

import extract_vhack
import train
from command import files, log
from extract_vhack import Oracle, auroc, top_directions
from grader import Grader, GraderProcess
from model import rivals, zoo
from model.svd_basis import TARGETS, Basis, Coords, attach
from study.registered import RULE

KS = (1, 5, 20, 80)


class Raw(train.Config):
    """A run whose gradients are kept in raw weight coordinates, which hold all that trains with full weights."""

    def extract_config(self) -> extract_vhack.ExtractConfig:
        return replace(super().extract_config(), coords="raw", out=None)


@dataclass
class Space:
    """Coordinates of a weight's gradient and the directions V (k, D) that are known in them before training."""

    basis: Basis
    known: dict[str, Tensor]
    oracle: Oracle

    def of(self, g: Tensor, whole: Basis) -> Tensor:
        """Coordinates (n, D) here of gradients (n, D') in the space that trains."""
        if whole.coords == self.basis.coords:
            return g
        weights = {n: (x.out_features, x.in_features) for n, x in whole.layers.items()}
        found = []
        for name in self.basis.layers:
            part = g[:, slice(*whole.spans[name])].unflatten(1, weights[name])
            found.append(torch.stack([self.basis.coords_of(name, x) for x in part]))
        return torch.cat(found, 1)

    def shares(self, h: Tensor, energy: float) -> dict[str, float]:
        """Of the energy of the whole hack gradient, what each V holds of its coordinates h (D,) here."""
        found = self.oracle.directions(h)
        held = self.known | ({} if found is None else {"earlier hacks": found.V})
        out = {"whole space": float(h.square().sum()) / energy}
        ks = [(name, V, k) for name, V in held.items() for k in KS if k <= len(V) or name != "earlier hacks"]
        return out | {f"{name} k={k}": self.basis.energy(V[:k], h) / energy for name, V, k in ks}


def spaces(tr: train.Trainer) -> dict[Coords, Space]:
    """The coordinates that a projection may take, with what pairs and chance know in them."""
    cfg, whole = replace(tr.cfg.extract_config(), tokens_per_micro=tr.policy.tokens_per_micro), tr.basis
    hack, clean = extract_vhack.pair_grads(tr.model, whole, tr.tok, extract_vhack.select_pairs(cfg)[0], cfg)
    diffs = {"pairs": hack - clean, "within-class": extract_vhack.within_class(hack, clean, seed=0)}
    bases: dict[Coords, Basis] = {}
    if whole.coords == "raw":
        for coords in ("diag", "core"):
            model = zoo.load_model(cfg.model, cfg.tokenizer, str(whole.device), cfg.dtype)[0]
            bases[coords] = attach(model, "full", coords, cfg.core_rank)
    bases[whole.coords] = whole
    out = {}
    for coords, basis in bases.items():
        out[coords] = space = Space(basis, {}, Oracle(basis, "oracle", Oracle.BANK))
        known = {n: top_directions(basis, space.of(d, whole), max(KS), 0.0, 0.05) for n, d in diffs.items()}
        known["haar"] = extract_vhack.haar_directions(basis, known["pairs"], seed=tr.cfg.seed)
        space.known = {n: d.V for n, d in known.items()}
    return out


@dataclass
class Detectors:
    """What could tell attempts from other answers: V and its rivals, made of the same pairs."""

    tr: train.Trainer

    def __post_init__(self) -> None:
        pairs = extract_vhack.select_pairs(self.tr.cfg.extract_config())[0]
        sides = extract_vhack.contrasts(self.tr.model, self.tr.tok, self.tr.cfg.extract_config(), "hack")
        self.probe = rivals.ActivationProbe(self.tr.model, sides)
        self.rules = {which: rivals.TextRule(self.tr.tok, pairs, which) for which in ("text", "tail")}

    def aurocs(self, rollouts: list) -> dict[str, float]:
        """AUROC of attempts among the student's rollouts that have a gradient, by detector; shorter is hack-ward."""
        seen = [r for r in rollouts if r.source == "student" and r.cos_hack is not None]
        attempted = torch.tensor([r.attempted for r in seen], dtype=torch.bool)
        if not attempted.any() or attempted.all():
            return {}
        scores = {"V": torch.tensor([r.cos_hack for r in seen])}
        scores |= {which: rule.score([r.completion for r in seen]) for which, rule in self.rules.items()}
        scores["probe"] = self.probe.score([r.sequence for r in seen])
        scores["length"] = -torch.tensor([float(len(r.completion_ids)) for r in seen])
        return {name: auroc(score.cpu(), attempted) for name, score in scores.items()}


def diagnose(cfg: train.Config) -> list[dict]:
    """Train vanilla for cfg.steps and return one row a step: shares of h by coordinates, of the update V's."""
    acc = Accelerator(cpu=cfg.device != "cuda")
    kind = GraderProcess if cfg.device == "cuda" else Grader
    out = []
    with kind(cfg.grader_workers, accept_level=cfg.grader_level, cpu_limit_s=cfg.grader_cpu_s) as grader:
        device = str(acc.device) if cfg.device == "cuda" else "cpu"
        model, tok = zoo.load_model(cfg.model, cfg.tokenizer, device, cfg.dtype)
        numbers = sum(p.numel() for n, p in model.named_parameters() if n.split(".")[-2] in TARGETS and p.ndim == 2)
        if cfg.train == "full" and extract_vhack.raw_gb(numbers, max(KS), max(KS)) <= extract_vhack.RAW_GB:
            cfg = Raw(**vars(cfg))
        mixed, alone, note = train.build_tasks(cfg, tok, zoo.eos_ids(model, tok), zoo.context(model))
        tr = train.Trainer(cfg, grader, acc, model, tok)
        print(note, log.header(), sep="\n", flush=True)
        found, detectors = spaces(tr), Detectors(tr)
        for step in range(cfg.steps):
            tasks = train.pick_tasks(mixed if cfg.teachers_at(step) else alone, step, cfg.prompts_per_step, cfg.seed)
            row, rollouts = tr.train_step(step, tasks)
            print(log.row_line(row, cfg.steps), flush=True)
            h = tr.hack_gradient
            if h is None:
                continue
            energy = float(h.square().sum())
            shares = {c: s.shares(s.of(h[None], tr.basis)[0], energy) for c, s in found.items()}
            kept = {"step": step + 1, "attempts": row["att_s"], "upd_v": row["upd_v"], "shares": shares}
            out.append(kept | {"auroc": detectors.aurocs(rollouts)})
    return out


def table(rows: list[dict]) -> str:
    """Mean shares over the steps with attempts, in thirds of the run, the coordinates side by side."""
    cut = [rows[i * len(rows) // 3 : (i + 1) * len(rows) // 3] for i in range(3)]
    spaces_ = list(rows[0]["shares"])
    order = ("whole space", "pairs", "within-class", "earlier hacks", "haar")
    every = {n for r in rows for held in r["shares"].values() for n in held}
    names = sorted(every, key=lambda n: (order.index(n.split(" k=")[0]), int(n.partition("k=")[2] or 0)))
    heads = "".join(f"{f'{c} {i + 1}/3':>10}" for c in spaces_ for i in range(3))
    lines = [f"{'share of the next hack gradient':<32}{heads}"]
    for name in names:
        got = [[r["shares"][c][name] for r in part if name in r["shares"][c]] for c in spaces_ for part in cut]
        lines.append(f"{name:<32}" + "".join(f"{sum(x) / len(x):>10.1%}" if x else f"{'-':>10}" for x in got))
    return "\n".join(lines)


def onset_table(rows: list[dict]) -> str:
    """Means over vanilla's onset: the steps at which 10 to 50% of the student's rollouts attempt."""
    low, high = RULE.onset
    on = [r for r in rows if low <= r["attempts"][0] / r["attempts"][1] <= high]
    told = [r["auroc"] for r in on if r["auroc"]]
    if not told:
        return f"no step at which {low:.0%} to {high:.0%} of the student's rollouts attempt: no onset to read"
    aurocs = ", ".join(f"{name} {sum(a[name] for a in told) / len(told):.2f}" for name in told[0])
    update = sum(r["upd_v"] for r in on) / len(on)
    return f"onset, {len(on)} steps: AUROC of live attempts {aurocs}; share of the update in V {update:.1%}"


def main(argv: list[str]) -> None:
    """Diagnose a preset of train.py with its flags; prints the table, writes the rows."""
    cfg = tyro.extras.overridable_config_cli(train.PRESETS, args=argv)
    rows = diagnose(replace(cfg, arm="vanilla"))
    where = Path(cfg.out_dir) / f"{cfg.name or 'diagnose'}.json"
    where.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(where, rows)
    none = "no attempt with positive advantage in any step: nothing to hold V against"
    print(f"{table(rows)}\n{onset_table(rows)}" if rows else none)
    print(f"OUT: {where}", json.dumps({"steps": len(rows)}))
