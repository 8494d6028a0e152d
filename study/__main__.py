"""Studies: arms x seeds -> paired statistics, verdict, plots; and what one looks at in single runs.

    FILE.toml --run, queue--> out/studies/<name>/runs/<utc>_<cell>/ --report--> results.json, tables, plots
                                                                    --verdict-> the rule of docs/spec.md, by clause

No number of a study is read from a training log line: rates are counts out of evals.jsonl, held-out problems only.

    python -m study run studies/screen-organism.toml --jobs 2
    python -m study verdict out/studies/screen-organism
    python -m study compare RUN_A RUN_B --plot pair.png
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated

import tyro

from command import errors, files, flags, usage
from runs import find_run
from study import base, check_pairs, compare, figures, look, power, probe, report, results, run, verdict
from study.arms import load_study
from study.read import DECODES, read_run
from study.tables import summarise

app = tyro.extras.SubcommandApp()
Dir = Annotated[Path, tyro.conf.Positional]
Runs = Annotated[tuple[Path, ...], tyro.conf.Positional]
flat = tyro.conf.arg(name="")  # a dataclass of flags without a prefix


# --- a study, from its file to its verdict


@app.command(name="run")
def run_command(cfg: Annotated[run.RunFlags, flat]) -> None:
    """Run the arms x seeds of a study, resuming what is half done and skipping what is finished."""
    raise SystemExit(run.run(cfg))


@app.command(name="queue")
def queue_command(cfg: Annotated[run.QueueFlags, flat]) -> None:
    """The same cells as tasks of pueue, of SLURM with QUEUE=slurm, or here with QUEUE=local (docs/queueing.md)."""
    raise SystemExit(run.queue(cfg))


@app.command(name="report")
def report_command(study_dir: Dir) -> None:
    """Write results.json, report.md (README table and more), runs.tsv and plots/*.png of a study."""
    for f in report.report(study_dir):
        print(f)


@app.command(name="verdict")
def verdict_command(study_dir: Dir) -> None:
    """Print the verdict by docs/spec.md, with every clause and seed; exit code 3 when there is none."""
    lines, code = verdict.verdict_text(study_dir)
    print("\n".join(lines))
    raise SystemExit(code)


@app.command(name="publish")
def publish_command(study_dir: Dir, to: Path | None = None) -> None:
    """Report, verdict, plots and the packed runs of a study, into docs/results/<study> or --to."""
    for f in report.publish(study_dir, to or files.ROOT / "docs" / "results" / study_dir.resolve().name):
        print(f"{f} {f.stat().st_size / 1e3:.0f} kB")


@app.command(name="unpack")
def unpack_command(published: Dir, out: Path | None = None) -> None:
    """The packed runs of docs/results/<study> back into out/studies/<study>: to check a table, to add seeds."""
    report.unpack(published, out)


@app.command(name="rebuild")
def rebuild_command(name: Annotated[str, tyro.conf.Positional]) -> None:
    """Unpack a published study and its companions, then report and verdict; exit code 3 when there is no verdict."""
    out = report.unpack_all(name)
    report_command(out)
    verdict_command(out)


# --- look at runs


@app.command(name="compare")
def compare_command(runs: Runs, plot: Path | None = None) -> None:
    """One BLUF comparing runs of the same seed (baseline first), with --plot PNG their curves."""
    raise SystemExit(compare.compare([read_run(r) for r in runs], plot))


@app.command(name="plot")
def plot_command(runs: Runs, out: Path = Path("out/plot.png")) -> None:
    """Plots of a study directory; or one figure (--out): all of a single run, or hack and pass rate of several."""
    if len(runs) == 1 and runs[0].parent.name == "studies" and not (runs[0] / "runs").is_dir():
        raise FileNotFoundError(f"{runs[0]}: no study has run there; `just study NAME` runs one of studies/")
    if len(runs) == 1 and (runs[0] / "runs").is_dir():
        study = load_study(runs[0])
        plots = figures.study_plots(study, {d: summarise(study, d) for d in DECODES}, runs[0] / "plots")
        print("\n".join(map(str, plots)))
    elif len(runs) == 1:
        print(figures.run_plot(read_run(find_run(str(runs[0]))), out))
    else:
        print(figures.pair_plot([read_run(find_run(str(r))) for r in runs], out))


@app.command(name="results")
def results_command(cfg: Annotated[results.Config, flat]) -> None:
    """Table over run directories, one line a run; --tail: the last run's BLUF."""
    results.main(cfg)


@app.command(name="read-rollouts")
def read_rollouts_command(cfg: Annotated[look.Config, flat]) -> None:
    """Rollouts of a run as a person reads them."""
    look.main(cfg)


@app.command(name="export-rollouts")
def export_rollouts_command(run: Annotated[str, tyro.conf.Positional] = "last", out: Path | None = None) -> None:
    """Rollouts of a run as one parquet file (--out; RUN/rollouts.parquet), for `datasets` and pandas."""
    from study import table  # pyarrow: not needed by any other command

    print("{}: {} rollouts".format(*table.export(find_run(run), out)))


# --- before a study


@app.command(name="near-misses")
def near_misses_command(
    run: Annotated[Path, tyro.conf.Positional],
    n: int = 96,
    draws: int = 50,
    device: str | None = None,
    dtype: str | None = None,
) -> None:
    """Does V tell a hack from harmless code in the same place? AUROC beside its nulls and the answer's length.

    Args:
        run: any run; its config says model, pairs, clean rank and threshold.
        n: prompts, each with three answers.
        draws: of each null.
        device: cpu | cuda; None: the run's own.
        dtype: float32 | bfloat16; None: the run's own.
    """
    flags.check(locals(), "study")
    from study.near_misses import near_misses  # torch and the model: not needed by any other command

    near_misses(find_run(str(run)), n, draws, device, dtype)


@app.command(name="probe")
def probe_command(study_dir: Dir) -> None:
    """GO or NO-GO of a study's short runs on mixed batches; exit code 3 for NO-GO."""
    lines, go = probe.probe(load_study(study_dir))
    print("\n".join(lines))
    raise SystemExit(0 if go else 3)


@app.command(name="power")
def power_command(n: int = 8, sd: float = 0.15) -> None:
    """Simulated power of the rule's clauses."""
    flags.check(locals(), "study")
    print(power.power(n, sd))


@app.command(name="check-pairs")
def check_pairs_command(cfg: Annotated[check_pairs.Check, flat]) -> None:
    """Validate pair files: schema, grades of both sides, length, repetition, leakage."""
    check_pairs.check(cfg)


@app.command(name="base")
def base_command(cfg: Annotated[base.Config, flat]) -> None:
    """What a base solves, attempts and hacks before any training, mode by mode."""
    print("\n".join(base.base_table(cfg)))


@app.command(name="diagnose")
def diagnose_command() -> None:
    """What share of the next step's hack gradient V holds: a preset of train.py, then its flags."""


# --- the command line


def help_page() -> str:
    lines = ["usage: python -m study COMMAND [--flag value ...]", "", __doc__.splitlines()[0]]
    for heading, of in usage.commands("study/__main__.py").items():
        lines += [""] * bool(of) + [heading] * bool(of)
        lines += [line for name, about in of.items() for line in usage.entry(name, about)]
    return "\n".join([*lines, "", "`python -m study COMMAND --help` tells its flags."])


def main(argv: list[str]) -> None:
    known = [name for of in usage.commands("study/__main__.py").values() for name in of]
    if not argv or argv[0] in ("--help", "-h"):
        print(help_page())
    elif argv[0] not in known:
        near = difflib.get_close_matches(argv[0], known, 1)
        mend = f"did you mean {near[0]}?" if near else "`python -m study --help` lists the commands"
        raise ValueError(f"study has no command {argv[0]!r}: {mend}")
    elif argv[:1] == ["diagnose"]:  # its flags are train.py's
        from study.diagnose import main as diagnose

        diagnose(argv[1:])
    else:
        app.cli(args=argv, prog="study", description=__doc__.split("\n")[0])


if __name__ == "__main__":
    with errors.plain_errors():
        main(sys.argv[1:])
