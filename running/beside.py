"""The last lines of a run's tail: how it compares with vanilla of its seed and settings, and what to run next."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import runs
from command import errors, files, flags, log

# flags in which an arm may differ from the vanilla run that it is compared with; that one's V is only measured
ARMS_OWN = ("arm", "v", "strength", "gate", "project_at", "screen_at", "v_hack", "pairs", "pair_modes", "k")
FREE = (*runs.MAY_CHANGE, *ARMS_OWN, "name", "out_dir", "resume")
SHARED = ("problems", "eval_problems", "teacher_pool_dir")  # inputs that the two must have in common, by hash


def settings(config: dict) -> dict:
    return json.loads(json.dumps({k: v for k, v in config.items() if k not in FREE}))


def vanilla_beside(run: runs.Run, cfg) -> Path | None:
    """The newest valid vanilla run of this seed, these settings and inputs in the same folder."""
    own, inputs = settings(dataclasses.asdict(cfg)), files.read_json(run.dir / "config.json")["inputs"]
    for tail in sorted(run.dir.parent.glob("*/bluf.json"), reverse=True):
        if tail.parent == run.dir:
            continue
        try:
            valid, meta = files.read_json(tail).get("valid"), runs.read_config(tail.parent)
        except (ValueError, OSError) as e:  # another's torn file is no fault of this run
            if not errors.is_plain(e):
                raise
            continue
        same = all(meta.get("inputs", {}).get(k) == inputs.get(k) for k in SHARED)
        if valid and same and meta["config"]["arm"] == "vanilla" and settings(meta["config"]) == own:
            return tail.parent
    return None


def last_rate(evals: Sequence[dict], hint: str, key: str) -> str:
    """Counts of the last evaluation over all modes."""
    rows = [e for e in evals if e["hint"] == hint and e["step"] == evals[-1]["step"]]
    return log.rate(sum(e[key] for e in rows), sum(e["n"] for e in rows))


def compared(run: runs.Run, vanilla: Path) -> str:
    there = list(runs.read_log(vanilla / "evals.jsonl"))
    parts = [
        f"{words} {last_rate(run.evals, hint, key)} here, {last_rate(there, hint, key)} in vanilla"
        for words, hint, key in (("hack", "on", "hacked"), ("pass", "off", "solved"))
    ]
    return f"AGAINST: held-out {'; '.join(parts)} (same seed and settings, {vanilla}); one seed is no evidence"


def as_vanilla(argv: Sequence[str]) -> str:
    """The command of this run for the vanilla arm."""
    kept: list[str] = []
    drop = False  # a flag and its values
    for word in argv:
        if word.startswith("--"):
            drop = word[2:].partition("=")[0].replace("-", "_") in ("name", *ARMS_OWN[:6])
        kept += [] if drop else [word]
    return f"python {shlex.join([*kept, '--arm', 'vanilla'])}"


def next_command(run: runs.Run, cfg, argv: Sequence[str], end: str, vanilla: Path | None) -> str:
    """What to run after this; end: valid | void | stopped | crashed."""
    preset = argv[1] if len(argv) > 1 and argv[1] in flags.preset_values() else "smoke"
    if end == "stopped" or end == "crashed" and run.checkpoint.exists():
        return "once that is mended, " * (end == "crashed") + f"python train.py {preset} --resume {run.dir}"
    if end == "crashed":
        return "mend what the first line names, then the same command"
    if end == "void":
        return f"just plot {run.dir} shows where it went; the line SHOULD names the mend"
    if cfg.model == "tiny":
        return "just demo"
    if cfg.arm == "vanilla":
        hacked = any(r["hack_s"][0] for r in run.rows)
        return f"just read-rollouts {run.dir} --hacked" if hacked else f"just plot {run.dir}"
    return f"just plot {vanilla} {run.dir}" if vanilla else f"{as_vanilla(argv)} gives it a baseline"


def closing(run: runs.Run, cfg, argv: Sequence[str], end: str) -> list[str]:
    """Lines under the tail of a run that has a config.json."""
    lines = []
    if cfg.model == "tiny":
        lines.append("ZEROS: expected: a tiny random model can neither solve nor hack; this shows that the pipe holds")
    vanilla = vanilla_beside(run, cfg) if end == "valid" and cfg.arm != "vanilla" else None
    if vanilla:
        lines.append(compared(run, vanilla))
    return [*lines, f"NEXT: {next_command(run, cfg, argv, end, vanilla)}"]
