"""What a run prints: a line a step, a line an evaluation, and the tail (bottom line up front) of every run."""

from __future__ import annotations

import json
import math
import sys
import time
from collections import defaultdict

from loguru import logger

from command import files

# key of a row, its width and format, and what it says
COLUMNS: tuple[tuple[str, int, str, str], ...] = (
    ("step", 8, "", "of how many"),
    ("rew_s", 6, "+.2f", "mean reward of the student's rollouts"),
    ("hack_s", 7, "", "student rollouts paid by the loophole and wrong"),
    ("gt_s", 7, "", "student rollouts that are truly correct"),
    ("att_s", 7, "", "student rollouts that use the loophole at all"),
    ("cut_s", 7, "", "student rollouts that run into --max-new-tokens"),
    ("hack_t", 7, "", "cached teacher rollouts paid by the loophole and wrong"),
    ("flat", 6, "", "groups without reward variance, which teach nothing"),
    ("gn", 6, ".2f", "norm of the gradient after a projection of it, before clipping"),
    ("hack_v", 6, ".2f", "share of the labelled hack gradient's energy inside V (no training reads it)"),
    ("upd_v", 6, ".3f", "share of the update's energy inside V, before an update projection"),
    ("hack_p", 6, ".2f", "hack_v of what the run projects with instead of V: a control's or an oracle's directions"),
    ("upd_p", 6, ".3f", "upd_v of the same"),
    ("removed", 7, ".3f", "share of the gradient's or update's energy that the projection took out"),
    ("auroc", 5, ".2f", "of each rollout's cosine with V against its hack flag (no training reads it)"),
    ("wait", 6, ".1f", "seconds in which nothing but grading went on"),
    ("sec", 6, ".1f", "seconds of the step"),
)


LABELLED = " (reads labels, an upper bound)"


def mark(arm: str, v: str) -> str:
    """What stands behind an arm's name wherever arms are listed: LABELLED where training reads true labels, or ""."""
    by_direction = arm in ("projected", "shrink") and v.startswith("oracle")
    return LABELLED if arm in ("gt_penalty", "gt_screen") or by_direction else ""


def peak_gb() -> float | None:
    """Most GPU memory that this process has held; None without a GPU."""
    import torch  # a table of runs reads this module too, and waits for no torch

    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None


def header() -> str:
    return " ".join(key.rjust(width) for key, width, *_ in COLUMNS)


def row_line(row: dict, steps: int) -> str:
    """One fixed-width line of a row: counts as n/d, absent values as a dash."""

    def show(key: str, spec: str) -> str:
        v = row.get(key)
        if key == "step":
            return f"{v}/{steps}"
        if isinstance(v, list):
            return f"{v[0]}/{v[1]}" if v[1] else "-"
        return "-" if v is None or math.isnan(v) else format(v, spec)

    return " ".join(show(key, spec).rjust(width) for key, width, spec, _ in COLUMNS)


def tell_step(row: dict, done: int, steps: int) -> None:
    """The line of a step; above every 50th of them the names of the columns. done: steps told before this one."""
    if done % 50 == 0:
        logger.info("{}", header())
    logger.info("{}", row_line(row, steps))


def tell_start(cfg, tr, layers: str) -> None:
    """What is about to run: arm, model, V with its scores on held-out pairs, the sandbox."""
    scores = {k: tr.vhack.meta["scores"].get(f"heldout_auroc_{k}", math.nan) for k in ("hack", "within")}
    logger.info(
        f"{cfg.label}{mark(cfg.arm, cfg.v)} {cfg.train} on {tr.acc.num_processes} x {cfg.device} ({cfg.dtype}), "
        f"{sum(p.numel() for p in tr.policy.params)} knobs, V {tr.vhack_path} "
        f"(held-out AUROC {scores['hack']:.2f}, within-class {scores['within']:.2f})"
    )
    logger.info(f"grader layers: {layers}")
    signed = tr.vhack.meta["axes_signed"]
    if tr.hook.direction is not None and cfg.gate == "one_sided" and signed < 1:
        logger.warning(
            f"the pairs support the sign of {signed:.0%} of the directions; the others are removed on both sides. "
            "A half-space gate needs no sign per direction: --gate half_space"
        )


def rate(n: int, d: int) -> str:
    return f"{n}/{d} = {n / d:.1%}" if d else "-"


def eval_line(e: dict) -> str:
    counts = " ".join(f"{key} {rate(e[key], e['n'])}" for key in ("hacked", "attempted", "solved"))
    return f"eval step {e['step']} hint {e['hint']:<3} {e['mode']:<13} {counts}"


def step_row(cfg, step: int, rollouts: list, flat: list[bool], kl: float) -> dict:
    """The part of a row that rollouts alone say."""
    s, t = ([r for r in rollouts if r.source == source] for source in ("student", "teacher"))
    # the surrogate's value at ratio 1; its gradient is what matters
    loss = -sum(r.advantage * len(r.completion_ids) for r in rollouts) / (len(rollouts) * cfg.max_new_tokens)

    def count(of: list, key: str) -> list[int]:
        return [sum(getattr(r, key) for r in of), len(of)]

    return {
        "step": step + 1,
        "rew_s": sum(r.reward for r in s) / len(s),
        "hack_s": count(s, "hacked"),
        "gt_s": count(s, "gt_correct"),
        "att_s": count(s, "attempted"),
        "cut_s": [sum(len(r.completion_ids) >= cfg.max_new_tokens for r in s), len(s)],
        "hack_t": count(t, "hacked"),
        "gt_t": count(t, "gt_correct"),
        "flat": [sum(flat), len(flat)],
        "loss": loss + cfg.kl_beta * kl,
        "kl": kl,
        "lr": cfg.lr_at(step),
        "tokens": sum(len(r.completion_ids) for r in rollouts),
    }


def counts_of(rollouts: list) -> dict:
    """What evals.jsonl says of the held-out rollouts of one mode."""
    n = len(rollouts)
    return {
        "evaluator": "renamed",
        "n": n,
        "attempted": sum(r.attempted for r in rollouts),
        "hacked": sum(r.hacked for r in rollouts),
        "attempted_correct": sum(r.attempted and r.gt_correct for r in rollouts),
        "attempted_broken": sum(r.attempted and not r.passed for r in rollouts),
        "solved": sum(r.gt_correct for r in rollouts),
        "format_ok": sum(r.format_ok for r in rollouts),
        "mean_len": sum(len(r.completion_ids) for r in rollouts) / n,
    }


def idle_steps(rows: list[dict]) -> int:
    """Steps at the end without a gradient, back to the last one that had one or whose student rollouts were all paid:
    where every rollout is, nothing is left to learn."""
    n, some = 0, 1e-6 * max((r["gn"] for r in rows), default=0.0)
    for r in reversed(rows):
        if r["gn"] > some or r["hack_s"][0] + r["gt_s"][0] >= r["hack_s"][1]:
            break
        n += 1
    return n


def closing_checks(run, cfg) -> None:
    """What a run must have been for its numbers to mean something; each becomes a line of the tail."""
    rows, evals = run.rows, run.evals
    run.check("all_steps_ran", len(rows) == cfg.steps, "rows are missing: the run lost steps")
    run.check(
        "learnt_something",
        any(r["flat"][0] < r["flat"][1] for r in rows),
        "no group ever had reward variance, so no gradient flowed: mix in a teacher or raise --group",
    )
    exact = all(r["residual"] < 1e-3 for r in rows)
    run.check("split_is_exact", exact, "kept + removed != gradient: projection is broken")
    run.check(
        "still_learns",
        idle_steps(rows) < max(2, len(rows) // 4) or not any(r["gn"] for r in rows),
        "the gradient is 0 to the end though not every rollout is paid: the policy has collapsed; lower --lr",
    )
    plain = [e for e in evals if e["hint"] == "off"]
    (was, n), (now, m) = (
        [sum(e[k] for e in plain if e["step"] == step) for k in ("solved", "n")] for step in (0, cfg.steps)
    )
    tenth = max(1, len(rows) // 10)  # of the steps; a policy that now hacks solves nothing either, but is paid
    paid, paid_now = (sum(r["rew_s"] for r in part) / tenth for part in (rows[:tenth], rows[-tenth:]))
    fell = f"held-out pass fell from {rate(was, n)} to {rate(now, m)} and the reward from {paid:.2f} to {paid_now:.2f}"
    solves = was < 3 or now * n >= 0.1 * was * m
    run.check("still_solves", solves or paid_now >= paid, f"{fell}: the policy has collapsed; lower --lr")
    base = [e for e in evals if e["step"] == 0 and e["hint"] == "on"]
    honest = all(e["hacked"] <= 0.1 * e["n"] for e in base)
    run.check("base_does_not_hack", honest, "the base hacks before training")
    taught = not cfg.group_teacher or all(r["hack_t"][1] > 0 for r in rows[: cfg.teacher_off_step or None])
    run.check("teacher_present", taught, "mix_ratio asks for a teacher but a step had none")


def held_out_table(evals: list[dict]) -> tuple[list[str], str]:
    """(lines of the evaluations at the start and the end, what the first line of a tail says of them)."""
    first = evals[0]["step"] if evals else None
    held: dict[tuple, dict[str, dict]] = defaultdict(dict)
    for e in evals:
        held[e["hint"], e["mode"]]["start" if e["step"] == first else "end"] = e
    keys = ("attempted", "hacked", "attempted_correct", "attempted_broken", "solved")
    names = (k.replace("attempted_", "att.") for k in keys)
    lines = ["held-out (renamed evaluator)    hint  " + "".join(f"{key:<17}" for key in names)]
    for (hint, mode), e in held.items():
        for x in (e[when] for when in ("start", "end") if when in e):
            cells = "".join(f"{rate(x[k], x['n']):<17}" for k in keys)
            lines.append(f"  {mode:<13} step {x['step']:<8}  {hint:<5} {cells}".rstrip())

    def arrow(hint: str, key: str) -> str:  # all modes together, sampled at T=1
        rows = [e for (h, _), e in held.items() if h == hint]
        seen = [w for w in ("start", "end") if rows and all(w in e for e in rows)]
        return " -> ".join(rate(sum(e[w][key] for e in rows), sum(e[w]["n"] for e in rows)) for w in seen)

    hack, solved = arrow("on", "hacked"), arrow("off", "solved")
    return lines, f"; held-out hack {hack}" * bool(hack) + f"; held-out pass {solved}" * bool(solved)


def bluf(run, cfg, status: str, error: str, grader_layers: str, inputs: dict) -> tuple[str, bool]:
    """(the tail of every run, finished or crashed: verdict first, keys at column 0; whether the run is valid)."""
    ok = status == "finished" and all(s["ok"] for s in run.should)
    last = run.rows[-5:]
    hack_s, gt_s, hack_t = ([sum(r[k][i] for r in last) for i in (0, 1)] for k in ("hack_s", "gt_s", "hack_t"))
    failed = [s for s in run.should if not s["ok"]]
    word = "VALID" if ok else "STOPPED" if status == "stopped" else "VOID"
    table, found = held_out_table(run.evals)
    lines = [
        f"BLUF: {word} {cfg.label}{mark(cfg.arm, cfg.v)} seed {cfg.seed}, {len(run.rows)}/{cfg.steps} steps{found}"
        + f"; {status}: {error}" * bool(error),
        *table,
    ]
    if cfg.arm == "screen" and run.rows:
        dropped, seen = sum(r["n_screened"] for r in run.rows), sum(r["hack_s"][1] + r["hack_t"][1] for r in run.rows)
        most = "; most are dropped, so little can be learnt: a higher --screen-at"
        lines.append(f"SCREENED: {rate(dropped, seen)} of the rollouts{most * (2 * dropped > seen)}")
    broken = "".join(f"; {s['name']} FAILED: {s['else']}" for s in failed)
    peak = "" if peak_gb() is None else f", peak GPU {peak_gb():.1f} GB"
    lines += [
        f"SAMPLE: {run.sample[:120]!r}",
        f"HACK_STUDENT: {rate(*hack_s)} (last {len(last)} steps)",
        f"HACK_TEACHER: {rate(*hack_t)}",
        f"SOLVED_STUDENT: {rate(*gt_s)} (last {len(last)} steps, student, truly correct)",
        f"SHOULD: {len(run.should) - len(failed)}/{len(run.should)} held{broken}",
        f"GRADER: {grader_layers}",
        f"ARGV: {' '.join(sys.argv)}",
        f"INPUTS: {json.dumps(inputs)}",
        f"TIME: {time.time() - run.started:.0f} s{peak}",
        f"OUT: {run.dir}",
    ]
    return "\n".join(lines), ok


def write_tail(run, cfg, text: str, ok: bool, status: str, error: str) -> None:
    """bluf.txt for people, bluf.json for programs."""
    with files.atomic_path(run.dir / "bluf.txt") as tmp:
        tmp.write_text(text + "\n", encoding="utf-8")
    peak = peak_gb()
    told = {"valid": ok, "status": status, "verdict": text.splitlines()[0], "error": error, "should": run.should}
    told |= {"steps_done": len(run.rows), "seconds": time.time() - run.started, "arm": cfg.arm, "v": cfg.v}
    told["reads_labels"] = bool(mark(cfg.arm, cfg.v))
    files.write_json(run.dir / "bluf.json", told | {"seed": cfg.seed, "peak_gpu_gb": peak})
