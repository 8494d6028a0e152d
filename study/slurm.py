"""Cells of a study as a SLURM job array: two scripts in the study's folder and the command that submits them.

A task of the array is one cell, run by `python -m study run`, which goes on from the cell's checkpoint: a task that was
requeued, or that ended at its time limit, loses nothing. docs/queueing.md tells what was tested.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from command import files
from study.runner import Runner, Todo, prepare
from study.spec import Spec

WARNING_S = 120  # before its time limit a cell is asked to write its checkpoint


def script(name: str, head: Sequence[str], body: Sequence[str]) -> str:
    """A batch script: its options, then `body` in the repository's folder, up to the first command that fails."""
    options = [f"--job-name={name}", *head]
    lines = ["#!/bin/bash", *(f"#SBATCH {x}" for x in options), "set -euo pipefail"]
    return "\n".join([*lines, f"cd {shlex.quote(str(files.ROOT))}", *body]) + "\n"


def write(spec: Spec, runner: Runner, todo: Todo, file: Path) -> str:
    """Write the scripts -> the command that submits them; ValueError where every cell is finished."""
    if not todo:
        raise ValueError(f"study {spec.name}: every cell that was asked for is finished, so there is nothing to queue")
    spec.write(runner.out)
    runner.logs_dir.mkdir(parents=True, exist_ok=True)
    gpu = ["--gres=gpu:1"] if runner.device == "cuda" else []
    logs = shlex.quote(str(runner.logs_dir / "slurm-%x-%a.out"))
    common = [f"--output={logs}", "--open-mode=append", *gpu]
    run = [
        sys.executable,
        "-m",
        "study",
        "run",
        str(file.resolve()),
        "--jobs",
        "1",
        "--out",
        str(runner.out),
        *spec.given,
    ]
    run += ["--device", runner.device] if runner.device else []
    cells = [[*run, "--arms", c.label, "--only-seeds", str(c.seed)] for c, _ in todo]
    array = [f"--array=0-{len(cells) - 1}%{runner.jobs}", "--requeue", f"--signal=B:TERM@{WARNING_S}", *common]
    tasks = [f"    {i}) exec {shlex.join(command)} ;;" for i, command in enumerate(cells)]
    submit = runner.out / "cells.sbatch"
    with files.atomic_path(submit) as tmp:
        tmp.write_text(script(spec.name, array, ['case "$SLURM_ARRAY_TASK_ID" in', *tasks, "esac"]))
    command = f"sbatch {shlex.quote(str(submit))}"
    if steps := [shlex.join([sys.executable, *c]) for _, c in prepare(spec)]:
        first = runner.out / "prepare.sbatch"
        with files.atomic_path(first) as tmp:
            tmp.write_text(script(f"{spec.name}-prepare", common, steps))
        after = f"--dependency=afterok:$(sbatch --parsable {shlex.quote(str(first))})"
        command = command.replace("sbatch", f"sbatch {after}", 1)
    return command
