"""A run directory -> rates over steps: the counts of evals.jsonl and rows.jsonl, read once, for tables and plots.

Only held-out evaluations with a renamed evaluator enter a hack rate. A count that is missing, negative, no whole number
or larger than its prompts is refused with its file; what else speaks against a finished run makes it invalid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from command import files
from command.log import mark
from runs import read_config, read_log

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
    modes: list[dict[str, dict[str, int]]]  # mode -> counts, a step each

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
    place: dict = field(default_factory=dict)  # device, grader layers and versions: one for all arms of a seed
    on: dict[str, Curve] = field(default_factory=dict)  # hint on, renamed evaluator, by decode
    off: dict[str, Curve] = field(default_factory=dict)  # hint off, by decode
    modes: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)  # decode -> mode -> counts at the end
    unseen: list[str] = field(default_factory=list)  # modes that its teacher never shows
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


def checked(e: dict, where: str) -> dict:
    """An evaluation's row whose counts can be counted; ValueError saying what is wrong with it."""

    def refuse(why: str) -> None:
        row = ", ".join(f"{k} {e.get(k)!r}" for k in EVAL)
        raise ValueError(f"{where}: the row of {row}: {why}; run it again or take the run out of its study")

    if type(e["step"]) is not int or not isinstance(e["mode"], str):
        refuse("a step is a whole number, a mode is a name")
    if missing := [k for k in COUNTS if k not in e]:
        refuse(f"no key {missing[0]!r}")
    if bad := [k for k in ("n", *COUNTS) if type(e[k]) is not int or e[k] < 0]:
        refuse(f"{bad[0]} {e[bad[0]]!r} is no count")
    if e["n"] == 0:
        refuse("n 0 prompts give no rate")
    if over := [k for k in COUNTS if e[k] > e["n"]]:
        refuse(f"{over[0]} {e[over[0]]} of n {e['n']} prompts")
    if e["attempted"] != e["hacked"] + e["attempted_correct"] + e["attempted_broken"]:
        refuse(f"attempted {e['attempted']} is not hacked + attempted_correct + attempted_broken")
    if e["hacked"] + e["solved"] > e["n"]:
        refuse(f"hacked {e['hacked']} and solved {e['solved']} overlap: a hack's answer is wrong")
    return e


def pool_evals(evals: list[dict], hint: str, decode: str, evaluator: str, where: str) -> Curve | None:
    """Sum the counts of one (hint, decode, evaluator) over modes; a row written twice (resumed run) counts once.

    ValueError: a row is malformed, or two rows of one evaluation differ.
    """
    latest: dict[tuple, dict] = {}
    for e in evals:
        if (e["hint"], e["decode"], e["evaluator"]) == (hint, decode, evaluator):
            first = latest.setdefault((e["step"], e["mode"]), checked(e, where))
            if any(first[k] != e[k] for k in ("n", *COUNTS)):
                raise ValueError(f"{where}: step {e['step']}, mode {e['mode']}: evaluated twice, with other counts")
    steps = sorted({step for step, _ in latest})
    if not steps:
        return None
    rows = {s: {mode: e for (step, mode), e in latest.items() if step == s} for s in steps}

    def summed(key: str) -> Array:
        return np.array([sum(e[key] for e in rows[s].values()) for s in steps])

    tokens = np.array([sum(e["n"] * e.get("mean_len", np.nan) for e in rows[s].values()) for s in steps])
    modes = [{m: {k: e[k] for k in ("n", *COUNTS)} for m, e in sorted(rows[s].items())} for s in steps]
    return Curve(np.array(steps), summed("n"), {k: summed(k) for k in COUNTS} | {"tokens": tokens}, modes)


def ratio(pair) -> float:
    """A [count, denominator] cell of rows.jsonl as a rate; nan when empty."""
    if pair is None:
        return float("nan")
    if isinstance(pair, list | tuple):
        return pair[0] / pair[1] if pair[1] else float("nan")
    return float(pair)


def arm_name(config: dict) -> str:
    """What tables call a run's arm and direction; older runs have both in one word."""
    arm, v = str(config.get("arm", "")), config.get("v", "hack")
    if v == "hack" or arm not in ("projected", "shrink", "route", "screen", "pair_penalty"):
        return arm
    if arm == "projected" and not v.startswith("oracle"):
        return "within_class_v" if v == "within" else f"{v}_v"
    return f"{arm}_{v}"


def marked(name: str, config: dict) -> str:
    """An arm's name with the mark of what reads labels, as every table and figure shows it."""
    return name + mark(str(config.get("arm", "")), str(config.get("v", "hack")))


def read_run(path: str | Path) -> Run:
    """Read a run directory; FileNotFoundError or ValueError naming the file that is missing, torn or edited."""
    path = files.find(path)
    meta = read_config(path)
    # lists, as JSON holds them
    config: dict[str, Any] = {k: list(v) if isinstance(v, tuple) else v for k, v in meta["config"].items()}
    bluf = files.read_json(path / "bluf.json") if (path / "bluf.json").is_file() else {}
    name = str(config.get("name") or path.name.partition("_")[2] or path.name)  # unnamed: <utc>_<arm>-s<seed>
    label, _, tail = name.rpartition("-s")
    run = Run(
        dir=str(path),
        label=label.replace("__", "/") if tail.isdigit() else arm_name(config) or name,
        seed=int(config["seed"]),
        config=config,
        inputs=meta.get("inputs") or {},
        commit=str(meta.get("git_commit") or ""),
        status=str(bluf.get("status", "unfinished")),
        valid=bluf.get("valid") is True,
        why=[s["name"] for s in bluf.get("should") or [] if s.get("ok") is not True],
        seconds=float(bluf.get("seconds") or 0.0),
        unseen=meta.get("unseen_modes") or [],
        place={"device": config.get("device"), **{k: meta.get(k) for k in ("grader_layers", "versions")}},
    )
    if (path / "evals.jsonl").is_file():
        where = str(path / "evals.jsonl")
        evals = list(read_log(path / "evals.jsonl", EVAL))
        for decode in DECODES:
            if (c := pool_evals(evals, "on", decode, "renamed", where)) is not None:
                run.on[decode], run.modes[decode] = c, c.modes[-1]
            # without a hint the evaluator's name is never shown, so either label of the row counts, but not both
            off = {e["evaluator"] for e in evals if e["hint"] == "off" and e["decode"] == decode}
            which = "renamed" if "renamed" in off else "train"
            if (c := pool_evals(evals, "off", decode, which, where)) is not None:
                run.off[decode] = c
    if (path / "rows.jsonl").is_file():
        rows = {r["step"]: r for r in read_log(path / "rows.jsonl", ("step",))}
        ordered = [rows[s] for s in sorted(rows)]
        run.rows["step"] = np.array(sorted(rows))
        for key in ("rew_s", "hack_s", "gt_s", "att_s", "hack_t", "cupd", "cin_s", "cin_t", "auroc", "sec", "removed",
                    "hack_v"):  # fmt: skip
            run.rows[key] = np.array([ratio(r.get(key)) for r in ordered], dtype=float)
        run.rows["hack_s_n"] = np.array([r["hack_s"] if r.get("hack_s") else (0, 0) for r in ordered]).reshape(-1, 2)
        answers = [sum((r.get(k) or (0, 0))[1] for k in ("hack_s", "hack_t")) for r in ordered]
        run.rows["length"] = np.array([r.get("tokens", math.nan) / max(1, n) for r, n in zip(ordered, answers)])
        run.rows["loss"] = np.array([math.nan if r.get("loss", 0.0) is None else r.get("loss", 0.0) for r in ordered])
    if run.status == "finished" and (faults := list(contradictions(run, path, name, bluf))):
        run.valid, run.why = False, [*run.why, *faults]
    return run


def contradictions(run: Run, path: Path, name: str, bluf: dict) -> Iterator[str]:
    """What in a finished run's files speaks against it, whatever its BLUF's `valid` says."""
    if path.name.partition("_")[2] not in (name, ""):
        yield f"its folder {path.name} is not named after its config's name {name}"
    if name.rpartition("-s")[2].isdigit() and int(name.rpartition("-s")[2]) != run.seed:
        yield f"its name {name} is of another seed than its config's {run.seed}"
    for key, value in (("arm", run.config.get("arm")), ("seed", run.seed)):
        if bluf.get(key, value) != value:
            yield f"its BLUF says {key} {bluf[key]}, its config {value}"
    if any(word in str(bluf.get("verdict", "")) for word in ("VOID", "STOPPED")):
        yield f"its BLUF says {bluf['verdict'].split(';')[0]!r}"
    if run.valid and run.why:
        yield "its BLUF is called valid beside a failed SHOULD line"
    steps = run.config.get("steps")
    if bluf.get("steps_done", steps) != steps:
        yield f"its BLUF says {bluf['steps_done']} steps of {steps}"
    done = run.rows["step"].tolist() if "step" in run.rows else []
    if done != list(range(1, int(steps or 0) + 1)):
        yield f"rows.jsonl tells of {len(done)} steps of {steps}"
    elif not np.isfinite(run.rows["loss"]).all():
        yield "its loss is not finite"
    for hint, side in (("on", run.on), ("off", run.off)):
        for decode, c in side.items():
            if c.step[0] != 0:
                yield f"no evaluation at step 0 (hint {hint}, {decode})"
            if c.step[-1] != steps:
                yield f"its last evaluation (hint {hint}, {decode}) is at step {c.step[-1]} of {steps}"
            if torn := [int(s) for s, m in zip(c.step, c.modes, strict=True) if set(m) != set(c.modes[0])]:
                yield f"the evaluation at step {torn[0]} (hint {hint}, {decode}) lacks a mode"
    asked = {m for m in run.config.get("modes") or () if m != "none"}
    for c in run.on.values():
        if set(c.modes[-1]) != asked:
            yield f"evaluated on the modes {', '.join(c.modes[-1])}, trained on {', '.join(sorted(asked)) or 'none'}"
