"""A stored run's config, and what --resume may change of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

import runs
from command import files, flags

INPUTS = ("problems", "eval_problems", "teacher_pool_dir", "pairs", "v_hack")


def input_paths(cfg) -> dict[str, Any]:
    """What a run reads, by flag: a mode of one's own by its path, and the honest pairs beside --pairs."""
    beside = {"nonhack_pairs": files.nonhack_beside(cfg.pairs)}
    return {k: getattr(cfg, k) for k in INPUTS} | {m: m for m in cfg.modes if m.endswith(".toml")} | beside


def input_hashes(cfg) -> dict[str, str]:
    """Content hashes of the files and folders that a run reads."""
    return {k: files.content_hash(v) for k, v in input_paths(cfg).items() if v and files.find(v).exists()}


def stored_config(run: str | Path, kind: type) -> Any:
    """The config (of class `kind`) that a run directory was started with; ValueError where `kind` does not know it."""
    values, hints = runs.read_config(run)["config"], get_type_hints(kind)
    for flag, value in values.items():
        if flag not in hints:
            raise ValueError(
                f"{run}/config.json: this version of train.py has no {flags.dashed(flag)}: check out the commit "
                "that the file names"
            )
        if not flags.fits(list(value) if isinstance(value, tuple) else value, hints[flag]):
            raise ValueError(f"{run}/config.json: {flag} is {value!r}; it was edited: put it back, or delete the run")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except ValueError as e:
        raise ValueError(f"{run}/config.json: {e}") from None


def resumed_config(given, typed: tuple[str, ...]):
    """The stored config of --resume RUN with the typed flags that may change; --steps extends a run.

    ValueError naming every typed flag that differs and may not, and every input that has changed since.
    """
    where = str(runs.find_run(given.resume))
    stored = dataclasses.replace(stored_config(where, type(given)), resume=where)
    changed = [k for k in typed if k != "resume" and getattr(given, k) != getattr(stored, k)]
    if refused := [k for k in changed if k not in (*runs.MAY_CHANGE, "steps")]:
        words = ", ".join(f"{flags.dashed(k)} {getattr(given, k)} (was {getattr(stored, k)})" for k in refused)
        raise ValueError(f"--resume {where}: {words}: a run keeps its own flags; leave them out, or start a new run")
    if "steps" in changed and stored.schedule != "constant":
        raise ValueError(
            f"--resume {where} --steps {given.steps}: --schedule {stored.schedule} ends at step {stored.steps}, so "
            "another number of steps is another run: start a new one"
        )
    cfg = dataclasses.replace(stored, **{k: getattr(given, k) for k in changed})
    paths = input_paths(cfg)
    then = runs.read_config(where).get("inputs") or {}
    runs.same_inputs(where, {k: v for k, v in then.items() if k in paths}, input_hashes(cfg), paths)
    bluf_file = files.find(where) / "bluf.json"
    if "steps" not in changed and bluf_file.exists() and files.read_json(bluf_file).get("status") == "finished":
        raise ValueError(f"--resume {where}: this run is finished; extend it with a longer --steps, or start a new one")
    return cfg


def resumed_state(run: runs.Run, cfg) -> dict | None:
    """The checkpoint that a resumed run continues from; ValueError where there is nothing to continue."""
    if not cfg.resume:
        return None
    state = run.load_checkpoint()
    had = stored_config(run.dir, type(cfg)).steps
    if state and not (state["step"] < cfg.steps or state["step"] == cfg.steps == had):
        raise ValueError(f"--resume {run.dir} --steps {cfg.steps}: {state['step']} steps are done; give more")
    if state is None and (run.dir / "final.safetensors").exists():
        raise ValueError(
            f"--resume {run.dir}: it is finished and kept no checkpoint (only one below {runs.KEEP_BYTES / 1e6:.0f} MB "
            "stays), so nothing can extend it: start a new run with more --steps"
        )
    return state
