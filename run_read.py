"""A run directory -> rates over steps: the counts of evals.jsonl and rows.jsonl, read once, for tables and plots.

Only held-out evaluations with a renamed evaluator enter a hack rate; a step that a resumed run evaluated twice counts
once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from runs import find, read_config, read_json, read_log

Array = np.ndarray
DECODES = {"sample": "T=1", "greedy": "greedy"}  # the first one decides
EVAL = ("step", "hint", "decode", "mode", "evaluator", "n")  # fields without which an evaluation says nothing
COUNTS = ("attempted", "hacked", "attempted_correct", "attempted_broken", "solved", "format_ok")


@dataclass
class Curve:
    """Counts over evaluated steps, summed over loophole modes; every array has shape (steps,)."""

    step: Array
    n: Array
    counts: dict[str, Array]

    def rate(self, key: str) -> Array:
        return self.counts[key] / self.n

    def at(self, step: int, key: str) -> float:
        where = np.flatnonzero(self.step == step)
        if where.size == 0:
            raise ValueError(f"no evaluation at step {step}; evaluated: {self.step.tolist()}")
        return float(self.rate(key)[where[0]])


@dataclass
class Run:
    """One run directory, read."""

    dir: str
    label: str
    seed: int
    config: dict
    inputs: dict
    commit: str
    status: str
    valid: bool
    why: list[str]
    seconds: float
    on: dict[str, Curve] = field(default_factory=dict)  # hint on, renamed evaluator, by decode
    off: dict[str, Curve] = field(default_factory=dict)  # hint off, by decode
    modes: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)  # decode -> mode -> counts at the end
    rows: dict[str, Array] = field(default_factory=dict)  # step, hack_s, cupd, ... per training step

    def curve(self, metric: str, decode: str) -> tuple[Array, Array]:
        """(steps, rates) of `pass` (hint off, solved) or of a count with the hint on (hacked, attempted, ...)."""
        side, key = (self.off, "solved") if metric == "pass" else (self.on, metric)
        if decode not in side:
            hint = "off" if metric == "pass" else "on, evaluator renamed"
            raise ValueError(f"{self.dir}: no evals.jsonl row with hint {hint}, decode {decode}")
        return side[decode].step, side[decode].rate(key)

    def end(self, metric: str, decode: str) -> float:
        return float(self.curve(metric, decode)[1][-1])

    def start(self, metric: str, decode: str) -> float:
        steps, rates = self.curve(metric, decode)
        if steps[0] != 0:
            raise ValueError(f"{self.dir}: first evaluation is at step {steps[0]}, the step-0 baseline is missing")
        return float(rates[0])


def pool_evals(evals: list[dict], hint: str, decode: str, evaluator: str | None) -> Curve | None:
    """Sum the counts of one (hint, decode) over modes; a step evaluated twice (resumed run) counts once, the last."""
    latest: dict[tuple, dict] = {}
    for e in evals:
        if e["hint"] == hint and e["decode"] == decode and evaluator in (None, e["evaluator"]):
            latest[(e["step"], e["mode"], e["evaluator"])] = e
    steps = sorted({k[0] for k in latest})
    if not steps:
        return None
    rows = {s: [e for k, e in latest.items() if k[0] == s] for s in steps}

    def summed(key: str) -> Array:
        return np.array([sum(int(e.get(key, 0)) for e in rows[s]) for s in steps])

    tokens = np.array([sum(e["n"] * e.get("mean_len", np.nan) for e in rows[s]) for s in steps])  # rate: an answer's
    return Curve(np.array(steps), summed("n"), {k: summed(k) for k in COUNTS} | {"tokens": tokens})


def ratio(pair) -> float:
    """A [count, denominator] cell of rows.jsonl as a rate; nan when empty."""
    if pair is None:
        return float("nan")
    if isinstance(pair, list | tuple):
        return pair[0] / pair[1] if pair[1] else float("nan")
    return float(pair)


def read_run(path: str | Path) -> Run:
    """Read a run directory; FileNotFoundError or ValueError naming the file that is missing, torn or edited."""
    path = find(path)
    meta = read_config(path)
    config = meta["config"]
    bluf = read_json(path / "bluf.json") if (path / "bluf.json").is_file() else {}
    name = str(config.get("name") or path.name.partition("_")[2] or path.name)  # unnamed: <utc>_<arm>-s<seed>
    label, _, tail = name.rpartition("-s")
    run = Run(
        dir=str(path),
        label=label.replace("__", "/") if tail.isdigit() else str(config.get("arm", name)),
        seed=int(config["seed"]),
        config=config,
        inputs=meta.get("inputs") or {},
        commit=str(meta.get("git_commit") or ""),
        status=str(bluf.get("status", "unfinished")),
        valid=bool(bluf.get("valid", False)),
        why=[s["name"] for s in bluf.get("should", []) if not s.get("ok", False)],
        seconds=float(bluf.get("seconds", 0.0)),
    )
    if (path / "evals.jsonl").is_file():
        evals = list(read_log(path / "evals.jsonl", EVAL))
        for decode in DECODES:
            if (c := pool_evals(evals, "on", decode, "renamed")) is not None:
                run.on[decode] = c
                final = [
                    e
                    for e in evals
                    if (e["hint"], e["decode"], e["evaluator"], e["step"]) == ("on", decode, "renamed", c.step[-1])
                ]
                run.modes[decode] = {e["mode"]: {k: int(e.get(k, 0)) for k in ("n", *COUNTS)} for e in final}
            # without a hint the evaluator's name is never shown, so either label of the row counts, but not both
            off = {e["evaluator"] for e in evals if e["hint"] == "off" and e["decode"] == decode}
            which = "renamed" if "renamed" in off else "train" if "train" in off else None
            if off and (c := pool_evals(evals, "off", decode, which)) is not None:
                run.off[decode] = c
    if (path / "rows.jsonl").is_file():
        rows = {r["step"]: r for r in read_log(path / "rows.jsonl", ("step",))}
        ordered = [rows[s] for s in sorted(rows)]
        run.rows["step"] = np.array(sorted(rows))
        for key in ("hack_s", "gt_s", "att_s", "hack_t", "cupd", "cin_s", "cin_t", "auroc", "sec"):
            run.rows[key] = np.array([ratio(r.get(key)) for r in ordered], dtype=float)
        run.rows["hack_s_n"] = np.array([r["hack_s"] if r.get("hack_s") else (0, 0) for r in ordered]).reshape(-1, 2)
    return run
