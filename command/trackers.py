"""--log-with: TensorBoard, Weights & Biases or trackio through accelerate; none of them can end a run."""

from __future__ import annotations

import dataclasses
import importlib.util
import textwrap
from collections import Counter

from loguru import logger


def asked(cfg) -> dict:
    """What accelerate's Accelerator is told; ValueError where this environment does not have the tracker."""
    name = cfg.log_with
    if name == "none":
        return {}
    if importlib.util.find_spec(name) is None:
        raise ValueError(f"--log-with {name}: not installed; `uv pip install {name}` or use none")
    return {"log_with": name, "project_dir": cfg.out_dir}  # TensorBoard's wants a folder from the start


def start(cfg, run, acc) -> None:
    """One folder or run of the tracker for this run, named as its directory and inside it."""
    if cfg.log_with == "none":
        return
    name = run.dir.name
    acc.project_configuration.logging_dir = str(run.dir.parent)  # TensorBoard appends the name
    more = {"wandb": {"name": name, "dir": str(run.dir), "id": name, "resume": "allow"}, "trackio": {"name": name}}
    flags = {k: str(v) for k, v in dataclasses.asdict(cfg).items()}
    project = name if cfg.log_with == "tensorboard" else "projected_grpo"
    try:
        acc.init_trackers(project, config=flags, init_kwargs={k: v for k, v in more.items() if k == cfg.log_with})
        if not acc.trackers:
            raise RuntimeError("accelerate does not count it as installed")
    except Exception as e:  # theirs are of every kind
        raise ValueError(f"--log-with {cfg.log_with}: it does not start ({type(e).__name__}: {e}); use none") from e


def told(call, *args, **kwargs) -> None:
    """Tell a tracker something: what fails there is logged, for a run must not end on its way to a plot."""
    try:
        call(*args, **kwargs)
    except Exception as e:  # theirs are of every kind
        logger.warning("tracker: {}: {}", type(e).__name__, e)


def step_numbers(row: dict) -> dict[str, float]:
    """A row as a tracker shows it: student/..., teacher/..., update/..., time/...; counts as rates."""
    place = {"rew_s": "student/reward", "hack_s": "student/hack_rate", "gt_s": "student/pass_rate",
             "att_s": "student/attempt_rate", "cut_s": "student/truncated_rate",
             "hack_t": "teacher/hack_rate", "gt_t": "teacher/pass_rate",
             "gen": "time/sampling_s", "wait": "time/grading_s", "sec": "time/step_s"}  # fmt: skip
    numbers = {k: v[0] / max(1, v[1]) if isinstance(v, list) else v for k, v in row.items() if k != "step"}
    return {place.get(k, f"update/{k}"): v for k, v in numbers.items() if isinstance(v, int | float)}


def eval_numbers(rows: list[dict]) -> dict[str, float]:
    """Rates of an evaluation: held_out/<rate>/hint_<on, off>/<mode>."""
    names = {"hacked": "hack_rate", "attempted": "attempt_rate", "solved": "pass_rate"}
    return {f"held_out/{name}/hint_{e['hint']}/{e['mode']}": e[k] / e["n"] for e in rows for k, name in names.items()}


COLUMNS = ["mode", "problem", "label", "reward", "completion"]


def evaluation(acc, step: int, rows: list[dict], rollouts: list) -> None:
    """Rates of an evaluation, and a table of two of its answers of each mode and label."""
    if acc.trackers:
        told(acc.log, eval_numbers(rows), step=step)
        seen: Counter = Counter()
        samples = []
        for r in rollouts:
            seen[r.task.mode, r.label] += 1
            if seen[r.task.mode, r.label] <= 2:
                samples.append([r.task.mode, str(r.task.problem.id), r.label, r.reward, r.completion])
        for tracker in acc.trackers:
            told(tell_table, tracker, "held_out/rollouts", samples, step)


def tell_table(tracker, name: str, data: list[list], step: int) -> None:
    """A table in the tracker's own kind; TensorBoard has only text."""
    if tracker.name == "wandb":
        tracker.log_table(name, columns=COLUMNS, data=data, step=step)
    elif tracker.name == "trackio":
        import pandas
        import trackio

        tracker.log({name: trackio.Table(dataframe=pandas.DataFrame(data, columns=COLUMNS))}, step=step)
    else:
        answers = (f"**{', '.join(map(str, row[:-1]))}**\n\n{textwrap.indent(row[-1], '    ')}" for row in data)
        tracker.log({name: "\n\n".join(answers)}, step=step)
