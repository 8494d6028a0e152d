"""Graded rollouts of runs -> one Inspect log a run, for the viewer of inspect-ai (`just view RUN...`).

inspect-ai asks for older packages than the project's tested ones, so `just view` runs this file in an environment of
its own; the file therefore needs nothing of the project but its readers of run directories.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, ModelOutput
from inspect_ai.scorer import Score

from command.errors import plain_errors
from runs import find_run, read_config, read_log

OUT = Path("out/view")
END = 90  # characters
SCORES = {  # name in the viewer -> field of a rollout
    "hacked": "hacked", "attempted": "attempted", "solved": "gt_correct", "reward": "reward", "advantage": "advantage",
    "cosine": "cos_hack",
}  # fmt: skip
READ = ("step", "problem_id", "mode", "prompt", "source", "completion", *SCORES.values())


def sample(row: dict, nth: int, arm: str, model: str) -> EvalSample:
    """A rollout as the nth answer to its prompt; a score that the run did not measure is left out."""
    end = row["completion"].rstrip().removesuffix("```")[-END:]  # where a loophole stands, in the viewer's table
    prompt, answer = ChatMessageUser(content=row["prompt"]), ChatMessageAssistant(content=row["completion"])
    return EvalSample(
        id=f"step {row['step']:04d} {row['source']} {row['problem_id']} {row['mode']}", epoch=nth, input=[prompt],
        target="", messages=[prompt, answer], output=ModelOutput.from_content(model, row["completion"]),
        scores={name: Score(value=row[key], answer=end) for name, key in SCORES.items() if row[key] is not None},
        metadata={"step": row["step"], "arm": arm, "mode": row["mode"], "source": row["source"]},
    )  # fmt: skip


def means(samples: list[EvalSample]) -> list[EvalScore]:
    """The mean of each score over the rollouts that have it."""
    out = []
    for name in SCORES:
        values = [float(s.scores[name].value) for s in samples if name in s.scores]
        if values:
            mean = EvalMetric(name="mean", value=sum(values) / len(values))
            out.append(EvalScore(name=name, scorer=name, scored_samples=len(values), metrics={"mean": mean}))
    return out


def eval_log(run: Path) -> EvalLog:
    """All rollouts of a run as one log; FileNotFoundError or ValueError where the run kept none or a row is torn."""
    meta = read_config(run)
    config, path = meta["config"], run / "rollouts.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: the run kept no rollouts, or has not sampled yet")
    seen: Counter[tuple] = Counter()
    samples = []
    for row in read_log(path, READ):
        key = row["step"], row["source"], row["problem_id"], row["mode"]
        seen[key] += 1
        samples.append(sample(row, seen[key], config["arm"], config["model"]))
    t = run.name
    created = f"{t[:4]}-{t[4:6]}-{t[6:8]}T{t[9:11]}:{t[11:13]}:{t[13:15]}+00:00"  # <utc>_<name>
    spec = EvalSpec(
        created=created, task=t.partition("_")[2] or t, model=config["model"], task_args=config,
        dataset=EvalDataset(name=Path(config["problems"]).name, samples=len(samples)), config=EvalConfig(),
        metadata={"arm": config["arm"], "seed": config["seed"], "commit": meta.get("git_commit")},
    )  # fmt: skip
    results = EvalResults(total_samples=len(samples), completed_samples=len(samples), scores=means(samples))
    stats = EvalStats(started_at=created, completed_at=created)  # the viewer shows a duration, or NaN
    return EvalLog(status="success", eval=spec, results=results, stats=stats, samples=samples)


def export(names: Iterable[str], out: Path = OUT) -> list[Path]:
    """Write the log of each run into `out`; all of them are read before the first is written."""
    logs = {run.name: eval_log(run) for run in map(find_run, names)}
    out.mkdir(parents=True, exist_ok=True)
    for name, log in logs.items():
        write_eval_log(log, out / f"{name}.eval")
    return [out / f"{name}.eval" for name in logs]


if __name__ == "__main__":
    with plain_errors():
        if not sys.argv[1:]:
            raise ValueError("name a run, part of its name, or `last`: just view RUN...")
        print("\n".join(map(str, export(sys.argv[1:]))))
