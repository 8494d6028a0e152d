"""What share of the NEXT step's hack gradient a set of directions holds, before any study is run.

One vanilla run; each step's labelled hack gradient h_t (attempts with positive advantage, in the space that trains) is
held against directions known before it: the pairs' top k a weight, Haar of the same k, and the top k of the last 20
h. share = |V h|^2 / |h|^2. A projection can take out no more of the hack gradient than its V holds.

    python -m study diagnose full --model FOLDER --steps 30
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
import tyro
from accelerate import Accelerator

import extract_vhack
import train
from command import files, log
from grader import Grader, GraderProcess
from model import zoo

KS = (1, 5, 20, 80)
BANK = 20  # earlier hack gradients


def share(basis, V: torch.Tensor, g: torch.Tensor) -> float:
    """|V g|^2 / |g|^2 for rows V (k, D) orthonormal within each weight."""
    return basis.energy(V, g) / max(float(g.square().sum()), 1e-30)


def directions(tr: train.Trainer) -> dict[tuple[str, int], torch.Tensor]:
    """The directions that are known before training: (source, k) -> V (k, D)."""
    cfg = replace(tr.cfg.extract_config(), tokens_per_micro=tr.policy.tokens_per_micro)
    pairs, _ = extract_vhack.select_pairs(cfg)
    hack, clean = extract_vhack.pair_grads(tr.model, tr.basis, tr.tok, pairs, cfg)
    within = extract_vhack.within_class(hack, clean, seed=0)
    top = lambda diff: extract_vhack.top_directions(tr.basis, diff, max(KS), 0.0, 0.05)  # noqa: E731
    like = top(hack - clean)
    haar = extract_vhack.haar_directions(tr.basis, like, seed=tr.cfg.seed)
    found = {"pairs": like, "within-class": top(within), "haar": haar}
    return {(name, k): d.V[:k] for name, d in found.items() for k in KS}


def diagnose(cfg: train.Config) -> list[dict]:
    """Train vanilla for cfg.steps and return one row a step: shares of h, of the update and of its removable part."""
    acc = Accelerator(cpu=cfg.device != "cuda")
    kind = GraderProcess if cfg.device == "cuda" else Grader
    out, bank = [], []
    with kind(cfg.grader_workers, accept_level=cfg.grader_level, cpu_limit_s=cfg.grader_cpu_s) as grader:
        device = str(acc.device) if cfg.device == "cuda" else "cpu"
        tr = train.Trainer(cfg, grader, acc, *zoo.load_model(cfg.model, cfg.tokenizer, device, cfg.dtype))
        mixed, alone, note = train.build_tasks(cfg, tr.tok)
        print(note, log.header(), sep="\n", flush=True)
        known = directions(tr)
        for step in range(cfg.steps):
            tasks = train.pick_tasks(mixed if cfg.teachers_at(step) else alone, step, cfg.prompts_per_step, cfg.seed)
            row, _ = tr.train_step(step, tasks)
            print(log.row_line(row, cfg.steps), flush=True)
            h = tr.hack_gradient
            if h is None:
                continue
            held = dict(known)
            if len(bank) >= 2:
                stack = torch.stack(bank[-BANK:])
                V = extract_vhack.top_directions(tr.basis, stack, BANK, 0.0, 0.05).V
                held |= {("earlier hacks", k): V[:k] for k in KS if k <= BANK}
            shares = {f"{name} k={k}": share(tr.basis, V, h) for (name, k), V in held.items()}
            out.append({"step": step + 1, "attempts": row["att_s"], "upd_v": row["upd_v"], "shares": shares})
            bank.append(h.clone())
    return out


def table(rows: list[dict]) -> str:
    """Mean shares over the steps with attempts, in thirds of the run."""
    cut = [rows[i * len(rows) // 3 : (i + 1) * len(rows) // 3] for i in range(3)]
    names = sorted({n for r in rows for n in r["shares"]}, key=lambda n: (n.split(" k=")[0], int(n.split("k=")[1])))
    lines = [f"{'share of the next hack gradient':<34}" + "".join(f"{f'third {i + 1}':>10}" for i in range(3))]
    for name in names:
        cells = []
        for part in cut:
            got = [r["shares"][name] for r in part if name in r["shares"]]
            cells.append(f"{sum(got) / len(got):>10.1%}" if got else f"{'-':>10}")
        lines.append(f"{name:<34}" + "".join(cells))
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    """Diagnose a preset of train.py with its flags; prints the table, writes the rows."""
    cfg = tyro.extras.overridable_config_cli(train.PRESETS, args=argv)
    rows = diagnose(replace(cfg, arm="vanilla"))
    where = Path(cfg.out_dir) / f"{cfg.name or 'diagnose'}.json"
    where.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(where, rows)
    print(table(rows) if rows else "no attempt with positive advantage in any step: nothing to hold V against")
    print(f"OUT: {where}", json.dumps({"steps": len(rows)}))
