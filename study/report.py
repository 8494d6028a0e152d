"""A study's folder -> results.json, report.md, runs.tsv and plots; and what of it is published and packed."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from command import files
from study.archive import pack_runs, unpack_runs
from study.arms import Study, load_study
from study.figures import study_plots
from study.notes import pairing
from study.read import DECODES
from study.registered import NAMES, RULE, Rule
from study.rule import Clause, Verdict
from study.settings import setting_differences
from study.spec import Spec
from study.stats import Contrast
from study.tables import MORE, main_table, summarise
from study.verdict import verdict_text, verdicts_of

KINDS = ("invalid", "unfinished", "superseded")  # of runs that do not count


def jsonable(x):
    """Dataclasses, numpy and nan to plain JSON (nan becomes null)."""
    if isinstance(x, Contrast | Clause | Verdict | Rule):
        return jsonable(asdict(x))
    if isinstance(x, dict):
        return {str(k): jsonable(v) for k, v in x.items()}
    if isinstance(x, list | tuple | set):
        return [jsonable(v) for v in x]
    if isinstance(x, np.integer):
        return int(x)
    if isinstance(x, float | np.floating):
        return None if np.isnan(x) else float(x)
    return x


def report(path: Path) -> list[Path]:
    """Write results.json, report.md, runs.tsv and the plots of a study; returns the files."""
    study = load_study(path)
    if not study.arms:
        raise ValueError(
            f"{path}: no finished valid run yet ({len(study.unfinished)} unfinished, {len(study.invalid)} invalid)"
        )
    summaries = {d: summarise(study, d) for d in study.decodes()}
    verdicts, differ = list(verdicts_of(study).values()), setting_differences(study)
    written = [path / name for name in ("results.json", "report.md", "runs.tsv")]
    apart = {
        k: [
            {"arm": r.label, "seed": r.seed, "run": Path(r.dir).name, "status": r.status, "why": r.why}
            for r in getattr(study, k)
        ]
        for k in KINDS
    }
    results = {"study": study.name, "rule": RULE, "by_decode": summaries, "verdicts": verdicts}
    results |= {"setting_differences": differ, **apart, "begun_more_than_once": study.retried}
    files.write_json(written[0], jsonable(results))
    written[1].write_text("\n".join(report_lines(study, path, summaries, verdicts, differ)), encoding="utf-8")
    written[2].write_text(runs_tsv(study), encoding="utf-8")
    return written + study_plots(study, summaries, path / "plots")


def report_lines(
    study: Study, path: Path, summaries: dict[str, dict], verdicts: list[Verdict], differ: list[str]
) -> Iterable[str]:
    """report.md: verdicts, the tables of each decoding, runs that do not count."""
    shown = path.resolve().relative_to(files.ROOT) if path.resolve().is_relative_to(files.ROOT) else Path(path.name)
    yield from (f"# Study `{study.name}`", "")
    yield (
        f"Rebuilt by `python -m study report {shown.as_posix()}`. Rates in percent of held-out prompts, "
        "hint on and evaluator renamed; pass with the hint off. Intervals: 95% over seeds, none below five: t, BCa "
        "beside it for differences (over eight seeds BCa covers 86 to 89%), Fieller's for the retained gain. "
        "p: exact sign-flip, one-sided. An arm is compared with vanilla on the arm's own seeds."
    )
    yield ""
    for v in (v for v in verdicts if v.decode == "sample"):
        yield from (f"**{NAMES.get(v.treatment, v.treatment)} (`{v.treatment}`):** {v.line}", "")
        if words := pairing(study, v.treatment):
            yield from (f"- Pairing: {words}", "")
    for decode, s in summaries.items():
        title = DECODES[decode]
        if not s:
            yield from (f"## {title}", "", "No evaluation with this decoding.", "")
            continue
        yield from (f"## {title}" + (" (decides)" if decode == "sample" else ""), "")
        yield from (main_table(s, study.defined().arms), "")
        for heading, table in MORE.items():
            yield from (f"### {heading}", "", table(s), "")
    yield from ("## Runs that do not count", "")
    for kind in KINDS:
        rows = [
            f"{r.label} seed {r.seed} ({Path(r.dir).name}: {r.status}{', ' + ', '.join(r.why) if r.why else ''})"
            for r in getattr(study, kind)
        ]
        yield listed(kind, rows)
    yield listed("begun more than once", [f"{cell} {words}" for cell, words in study.retried.items()])
    yield from (listed("settings that differ", differ), "")


def listed(what: str, items: list[str]) -> str:
    return f"- {what}: {len(items)}" + (": " + "; ".join(items) if items else "")


def runs_tsv(study: Study) -> str:
    """Every run that counts with its end counts at T=1: hacked and attempted with the hint, solved without."""
    lines = ["run\tcommit\tdevice\tseconds\thacked\tattempted\tsolved_hint_off\tprompts"]
    for by_seed in study.arms.values():
        for r in by_seed.values():
            on, off = r.on.get("sample"), r.off.get("sample")
            counts = [
                int(c.counts[k][-1]) if c else "" for c, k in ((on, "hacked"), (on, "attempted"), (off, "solved"))
            ]
            n = int(off.n[-1]) if off else ""
            cells = (Path(r.dir).name, r.commit, r.config.get("device", ""), round(r.seconds), *counts, n)
            lines.append("\t".join(map(str, cells)))
    return "\n".join(lines) + "\n"


def publish(study_dir: Path, to: Path) -> list[Path]:
    """Report, verdict, plots and the packed runs of a study -> `to`, small enough to commit.

    ValueError: `to` already tells of runs that the study does not have (they would vanish from the tables).
    """
    written, told = report(study_dir), to / "runs.tsv"
    here = {d.parent.name for d in (study_dir / "runs").glob("*/config.json")}
    lost = {line.split("\t")[0] for line in told.read_text().splitlines()[1:]} - here if told.is_file() else set()
    if lost:
        raise ValueError(
            f"{told} tells of {len(lost)} runs that {study_dir} lacks, {min(lost)} the first: "
            f"`python -m study unpack {to}` brings them back where {to}/runs.tar.xz holds them; else name another --to"
        )
    to.mkdir(parents=True, exist_ok=True)
    written += [f for f in (study_dir / "study.toml", study_dir / "cells.jsonl") if f.is_file()]
    out = [Path(shutil.copy2(f, to / f.name)) for f in written]
    (to / "verdict.txt").write_text("\n".join(verdict_text(study_dir)[0]) + "\n", encoding="utf-8")
    pack_runs(study_dir / "runs", to / "runs.tar.xz")
    return [*out, to / "verdict.txt", to / "runs.tar.xz"]


def unpack(published: Path, out: Path | None = None) -> Path:
    """The packed runs of a published study back into out/studies/<name>, or `out`; returns where they are."""
    for file, why in (("runs.tar.xz", "its runs are not kept"), ("study.toml", "it does not say what its arms are")):
        if not (published / file).is_file():
            can = ", ".join(rebuildable(published.resolve().parent)) or "none"
            raise ValueError(f"{published}/{file}: not there: {why}, so no table can be rebuilt; these can: {can}")
    spec = Spec.read(published / "study.toml")
    out = out or files.ROOT / "out" / "studies" / spec.name
    spec.write(out)
    print(f"{unpack_runs(published / 'runs.tar.xz', out / 'runs')} runs -> {out}")
    if (published / "cells.jsonl").is_file() and not (out / "cells.jsonl").exists():
        shutil.copy2(published / "cells.jsonl", out)
    return out


def unpack_all(name: str, results: Path = files.ROOT / "docs" / "results") -> Path:
    """Unpack a published study and its companions, as far as their runs are kept."""
    if not (results / name).is_dir():
        raise ValueError(f"{results / name}: no such study; these can be rebuilt: {', '.join(rebuildable(results))}")
    out = unpack(results / name)
    companions = Spec.read(results / name / "study.toml").companions.values()
    for other in rebuildable(results):
        if Spec.read(results / other / "study.toml").name in companions:
            unpack(results / other)
    return out


def rebuildable(results: Path) -> list[str]:
    """The published studies whose packed runs and definition are both there."""
    return sorted(f.parent.name for f in results.glob("*/runs.tar.xz") if (f.parent / "study.toml").is_file())
