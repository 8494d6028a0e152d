"""Queue the long jobs: to pueue when it is on PATH, or one after another here with QUEUE=local.

    python queue_jobs.py full                  # extract, then 3 seeds vanilla + 3 seeds projected
    python queue_jobs.py probe-mixed           # extract, teacher pool, then the 10-step GO/NO-GO probe
    python queue_jobs.py study --study amendment6
    QUEUE=local python queue_jobs.py full      # the same jobs without pueue; run it again to resume

Every job carries a label `why: ...; resolve: ...` that says which observation settles it, and an arm starts only
when the job that extracts V has succeeded. docs/queueing.md tells what was tested.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

import flags
import grid
import runs

ROOT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Job:
    """One command and what must succeed before it."""

    name: str
    command: tuple[str, ...]  # without the interpreter: ("train.py", "full", "--arm", ...)
    why: str
    resolve: str  # the observation that settles it
    after: tuple[str, ...] = ()  # names of earlier jobs

    @property
    def label(self) -> str:
        return f"why: {self.why}; resolve: {self.resolve}"

    @property
    def argv(self) -> list[str]:
        return [sys.executable, *self.command]


# ------------------------------------------------------------------------------------------------------- the plans


def plan_full(cfg: Config) -> list[Job]:
    """Extract V, then the same seeds under every arm: the runs of a study, out/studies/queue-<preset>."""
    spec, study = queued_study(cfg), f"queue-{cfg.preset}"
    if unknown := [a for a in cfg.arms if a not in spec.arms]:
        raise ValueError(f"--arms {unknown[0]}: no such arm; choose from {', '.join(spec.arms)}")
    cells = [grid.Cell(label, seed, spec.argv(label, seed)) for seed in cfg.seeds for label in cfg.arms]
    extracts = {rank: _extract(cfg, rank) for rank in sorted({_clean_rank(c.argv) for c in cells})}
    home = ("--out-dir", f"out/studies/{study}/runs")
    return [
        *extracts.values(),
        *(
            Job(
                cell.name, ("train.py", *cell.argv, *home, "--name", cell.name),
                f"H1 on {cfg.preset}, {cell.label}, seed {cell.seed}",
                f"held-out hack and pass at the last step, paired with this seed's other arms (just verdict {study})",
                after=(extracts[_clean_rank(cell.argv)].name,),
            )
            for cell in cells
        ),
    ]  # fmt: skip


def queued_study(cfg: Config) -> grid.Spec:
    """The study that plan `full` queues: its study.toml lies beside its runs, so that the verdict can read them."""
    if cfg.train_args and not cfg.train_args.startswith("--"):
        raise ValueError(f"--train-args={cfg.train_args!r}: flags of train.py, so it begins with --")
    common = tuple(shlex.split(cfg.train_args))
    return dataclasses.replace(grid.STUDIES[f"queue-{cfg.preset}"], common=common, seeds=cfg.seeds)


def plan_probe_mixed(cfg: Config) -> list[Job]:
    """Ten steps on the mixed pool: GO if hack gradients are seen and V points their way, else NO-GO."""
    pool = cfg.teacher_pool or f"out/probe_distill/{cfg.preset}"
    make = ("probe_distill.py", cfg.preset, "--teacher-only", "--out", pool)
    jobs = [_extract(cfg)]
    if cfg.teacher_pool is None:
        jobs.append(
            Job("pool", make, "the probe needs rollouts that hack", "every prompt cached, most rollouts hacked")
        )
    resolve = "GO if cin_t > cin_s and auroc > 0.5 in most of the 10 rows and every SHOULD holds, else NO-GO"
    probe = Job(
        "probe_mixed",
        ("train.py", cfg.preset, "--arm", "vanilla", "--seed", str(cfg.seeds[0]), "--steps", "10", "--mix-ratio", "0.5",
         "--teacher-pool-dir", pool, *shlex.split(cfg.train_args)),
        "GO/NO-GO before GPU-days: does V see hacking in live mixed batches", resolve,
        after=tuple(job.name for job in jobs),
    )  # fmt: skip
    return [*jobs, probe]


def _flag(words: tuple[str, ...], flag: str, otherwise: str) -> str:
    """The value that follows a flag on a command line."""
    return dict(zip(words, words[1:], strict=False)).get(flag, otherwise)


def _clean_rank(words: tuple[str, ...]) -> int:
    return int(_flag(words, "--clean-rank", "0"))


def _extract(cfg: Config, rank: int = 0) -> Job:
    """Its file lies under out/vhack by content key, where every run with the same model, pairs and rank finds it."""
    command = ("extract_vhack.py", cfg.preset, *(("--clean-rank", str(rank)) if rank else ()))
    name = f"extract_rank{rank}" if rank else "extract"
    return Job(name, command, f"V for {cfg.preset}, clean rank {rank}", "held-out pair accuracy above its controls")


def plan_study(cfg: Config) -> list[Job]:
    """A whole study as one job (study.py runs its cells side by side and resumes), then its report."""
    run = ("study.py", "run", cfg.study, *shlex.split(cfg.study_args))
    return [
        Job("study", run, f"verdict on H1 from the study {cfg.study}", "every cell finished; rerun the job to resume"),
        Job("report", ("study.py", "report", f"out/studies/{cfg.study}"), f"report of the study {cfg.study}",
            "the verdict in report.md, with the clause that decided", after=("study",)),
    ]  # fmt: skip


PLANS = {"full": plan_full, "probe-mixed": plan_probe_mixed, "study": plan_study}


# ------------------------------------------------------------------------------------------------------------ pueue


def pueue(*args: str) -> str:
    """One call of the pueue client; its standard output.

    Raises:
        ValueError: pueue failed; the message carries what it said.
    """
    done = subprocess.run(["pueue", *args], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise ValueError(f"`pueue {shlex.join(args)}` failed: {said} (is the daemon up? start it with `pueued -d`)")
    return done.stdout


def to_pueue(jobs: list[Job], group: str, parallel: int) -> dict[str, int]:
    """Add the jobs to a pueue group of their own; returns job name -> task id."""
    if group not in json.loads(pueue("group", "--json")):
        pueue("group", "add", group, "--parallel", str(parallel))
    ids: dict[str, int] = {}
    for job in jobs:
        after = [str(ids[name]) for name in job.after]
        try:
            said = pueue(
                "add", "--group", group, "--working-directory", str(ROOT), "--label", job.label,
                *(["--after", *after] if after else []), "--print-task-id", "--", shlex.join(job.argv),
            )  # fmt: skip
            ids[job.name] = int(said.strip())
        except ValueError as err:  # a half-queued plan must not stay unnoticed
            added = " ".join(map(str, ids.values()))
            mend = f"; already queued: {added} (drop them with `pueue remove {added}`)" if added else ""
            raise ValueError(f"job {job.name} was not queued: {err}{mend}") from err
        print(f"queued {ids[job.name]:4d}  {job.name}  {job.label}")
    return ids


# ------------------------------------------------------------------------------------------------------------ local


def run_local(jobs: list[Job], state_path: Path) -> bool:
    """Run the jobs in order, noting each end in state_path; True if all succeeded.

    A second call skips what succeeded and lets a half-done training run go on from its checkpoint. As in pueue, a
    job whose dependency failed does not run, and independent jobs still do. Standard output and error are the
    caller's; a run keeps its own log in its run directory.
    """
    state_path.parent.mkdir(parents=True, exist_ok=True)
    with open(state_path.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{state_path}: another local queue is running this plan; wait for it to end") from None
        state = _read_state(state_path)
        for job in jobs:
            old = state.get(job.name, {})
            if old.get("status") == "done" and old.get("command") == list(job.command):
                print(f"done before  {job.name}  ({old['seconds']:.0f}s)")
                continue
            blocked = [name for name in job.after if state.get(name, {}).get("status") != "done"]
            if blocked:
                print(f"blocked      {job.name}: {', '.join(blocked)} did not succeed")
                state[job.name] = {"status": "blocked", "command": list(job.command)}
                runs.write_json(state_path, state)
                continue
            half = half_done(job)
            argv = [*job.argv[:3], "--resume", str(half)] if half else job.argv
            print(f"{'resuming' if half else 'running':12s} {job.name}  {job.label}", flush=True)
            start = time.monotonic()
            code = subprocess.run(argv, cwd=ROOT, env=os.environ | runs.child_env()).returncode
            status = "done" if code == 0 else "failed"
            state[job.name] = {
                "status": status, "command": list(job.command), "exit": code, "seconds": time.monotonic() - start,
            }  # fmt: skip
            runs.write_json(state_path, state)
            print(f"{status:12s} {job.name}  exit {code}", flush=True)
        return all(state[job.name]["status"] == "done" for job in jobs)


def half_done(job: Job) -> Path | None:
    """The newest run directory that this very train.py command began and did not finish."""
    if job.command[0] != "train.py":
        return None
    for config in sorted((ROOT / _flag(job.command, "--out-dir", "out/runs")).glob("*/config.json"), reverse=True):
        if runs.read_json(config).get("argv", [])[1:] == list(job.command[1:]):
            bluf = config.parent / "bluf.json"
            finished = bluf.exists() and runs.read_json(bluf).get("status") == "finished"
            return None if finished else config.parent
    return None


def _read_state(path: Path) -> dict:
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as err:
        raise ValueError(f"{path}: malformed JSON ({err}); delete it to start the plan over") from err


# -------------------------------------------------------------------------------------------------------------- CLI


@dataclass(frozen=True)
class Config(flags.Checked):
    """Flags of queue_jobs.py; QUEUE=local in the environment runs the jobs here."""

    plan: tyro.conf.Positional[Literal["full", "probe-mixed", "study"]]
    preset: Literal["smoke", "fast", "full", "organism"] = "full"
    seeds: tuple[int, ...] = (41, 42, 43)
    arms: tuple[str, ...] = ("vanilla", "projected")  # plan `full`: labels of grid.py, e.g. screen, haar_v, ceiling
    group: str = "projected_grpo"  # pueue group
    parallel: int = 1  # tasks at a time in a new group: one GPU
    train_args: str = ""  # more flags for every train.py call, as --train-args="--steps 100"
    teacher_pool: str | None = None  # plan `probe-mixed`: an existing pool; None: one is made first
    study: str = "amendment6"  # plan `study`: which one
    study_args: str = ""  # plan `study`: more flags for `study.py run`, as --study-args="--jobs 2"
    state_dir: Path = Path("out/queue")


def main(cfg: Config) -> None:
    """Queue or run the plan."""
    if not cfg.seeds:
        raise ValueError("--seeds needs at least one seed")
    jobs = PLANS[cfg.plan](cfg)
    where = os.environ.get("QUEUE", "pueue")
    if cfg.plan == "full" and (where == "local" or where == "pueue" and shutil.which("pueue")):
        queued_study(cfg).write(ROOT / "out" / "studies" / f"queue-{cfg.preset}", more_seeds=True)
    if where == "local":
        if not run_local(jobs, cfg.state_dir / f"{cfg.plan}_{cfg.study if cfg.plan == 'study' else cfg.preset}.json"):
            raise ValueError("some jobs did not succeed; mend the cause and run this again to resume")
    elif where != "pueue":
        raise ValueError(f"QUEUE={where}: choose pueue (the default) or local")
    elif shutil.which("pueue"):
        to_pueue(jobs, cfg.group, cfg.parallel)
    else:
        print(f"would queue in group {cfg.group}:")
        for job in jobs:
            after = f"  after {', '.join(job.after)}" if job.after else ""
            print(f"  {job.name}{after}\n    {job.label}\n    python {shlex.join(job.command)}")
        raise ValueError(
            "pueue is not on PATH, so nothing was queued: install it (https://github.com/Nukesor/pueue) and start "
            "`pueued -d`, or set QUEUE=local to run these jobs here one after another"
        )


if __name__ == "__main__":
    with runs.plain_errors():
        main(tyro.cli(Config))
