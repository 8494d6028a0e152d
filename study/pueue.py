"""Cells of a study as tasks of pueue (https://github.com/Nukesor/pueue); docs/queueing.md tells what was tested.

Every task has a label that says which question it serves; a run starts only when what the study prepares was made.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys

from command import files
from study.runner import Runner, Todo, prepare
from study.spec import Spec


def call(*args: str) -> str:
    """One call of the pueue client -> its standard output; ValueError carrying what it said where it failed."""
    done = subprocess.run(["pueue", *args], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise ValueError(f"`pueue {shlex.join(args)}` failed: {said} (is the daemon up? start it with `pueued -d`)")
    return done.stdout


def tasks(spec: Spec, runner: Runner, todo: Todo) -> list[tuple[str, str, list[str]]]:
    """(name, label, command) of what is to be made, then of each cell."""
    why = f"why: {spec.question or spec.name}; "
    made = [(f, f"{why}{f} must be there first", [sys.executable, *command]) for f, command in prepare(spec)]
    resolve = f"resolve: report and verdict of out/studies/{spec.name}"
    return made + [(c.name, f"{why}{c.label}, seed {c.seed}; {resolve}", runner.command(c, h)) for c, h in todo]


def submit(spec: Spec, runner: Runner, todo: Todo, group: str) -> None:
    """Add a study to a pueue group; every cell waits for what is prepared, and that for what is prepared before it.

    ValueError: pueue is not there, or it refused, with the mend.
    """
    queued, n_made = tasks(spec, runner, todo), len(prepare(spec))
    if not shutil.which("pueue"):
        print(f"would queue in group {group}:")
        for name, label, command in queued:
            print(f"  {name}\n    {label}\n    {shlex.join(command)}")
        raise ValueError(
            "pueue is not on PATH, so nothing was queued: install it (https://github.com/Nukesor/pueue) and start "
            "`pueued -d`, or set QUEUE=local to run these jobs here"
        )
    spec.write(runner.out)
    if group not in json.loads(call("group", "--json")):
        call("group", "add", group, "--parallel", str(runner.jobs))
    ids: list[str] = []
    for i, (name, label, command) in enumerate(queued):
        after = ids[:n_made][-1:] if i else []
        try:
            said = call(
                "add", "--group", group, "--working-directory", str(files.ROOT), "--label", label,
                *(["--after", *after] if after else []), "--print-task-id", "--", shlex.join(command),
            )  # fmt: skip
            ids.append(str(int(said.strip())))
        except ValueError as e:  # a half-queued study must not stay unnoticed
            mend = f"; already queued: {' '.join(ids)} (drop them with `pueue remove {' '.join(ids)}`)" if ids else ""
            raise ValueError(f"{name} was not queued: {e}{mend}") from e
        print(f"queued {ids[-1]:>4s}  {name}  {label}")
