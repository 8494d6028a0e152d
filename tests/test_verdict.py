"""Verdicts on results of known truth; nothing but a sound study is called supported; published studies."""

import json
import lzma
import re
import shutil
import tarfile
from pathlib import Path

import pytest
from adversarial import UNSOUND_STUDIES, WORLDS
from worlds import MADE_UP, SEEDS, TRUTH, decided, world, write_run

from study import __main__ as cli
from study import archive, arms, notes, report, rule, runner, verdict
from study.registered import RULE
from study.spec import Spec, plan

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("word", "deciding", "changes"), WORLDS)
def test_each_clause_decides_its_own_world(tmp_path, word, deciding, changes):
    v = decided(world(tmp_path / "organism", **{"companions": word != "void"} | changes))
    assert v.word == word and (v.deciding == deciding or deciding in v.deciding.split("+")), v.text
    if word == "supported":
        voids = [x for x in rule.VOIDS if x != "V9" or "study" in changes]
        assert [c.id for c in v.clauses] == [*voids, *rule.FALSIFIES, *rule.SUPPORTS]


def test_effect_within_one_sem_of_vanilla_is_falsified_by_f3_too(tmp_path):
    v = decided(world(tmp_path / "organism", jitter=0.0, projected={"hack": 0.85}))
    assert v.word == "falsified" and {c.id for c in v.clauses if c.holds} >= {"F1", "F3", "F4"}


def test_the_plateau_is_of_attempts_only_where_the_study_was_registered_so(tmp_path):
    """Vanilla attempts fully at step 20 and turns wrong later: 60 steps are 3 plateaus of attempts, 2 of hacks."""
    slow = {label: {"steps": (0, 10, 20, 30, 40, 50, 60)} for label in TRUTH}
    slow["vanilla"] |= {"early": 0.3, "attempt": 0.9}
    v = decided(world(tmp_path / "organism", companions=False, **slow))
    assert v.deciding == "V8" and "plateau (hacked) at step 30" in v.text
    v = decided(world(tmp_path / "other", companions=False, plateau="attempted", **slow))
    assert v.word != "void", v.text
    assert any("plateau (attempted) at step 20, trained to 60 (3.0x)" in c.text for c in v.clauses if c.id == "V8")


def test_one_invalid_deciding_run_voids_the_study_and_is_named_by_the_command(tmp_path, capsys):
    path = world(tmp_path / "organism", companions=False, skip={("projected", 308)})
    write_run(path / "runs", "projected", 308, 0.1, 0.43, valid=False)
    with pytest.raises(SystemExit) as end:
        cli.main(["verdict", str(path)])
    text = capsys.readouterr().out
    assert end.value.code == 3 and "NO VERDICT ON H1: V1" in text and "loss is finite" in text
    assert "INVALID: 1: projected seed 308 [finished: loss is finite]" in text


def test_rerun_after_a_mend_counts_and_the_older_run_is_listed(tmp_path):
    path = world(tmp_path / "organism")
    write_run(path / "runs", "projected", 301, 0.99, 0.43, valid=False, utc="20261123T060000Z")
    study = arms.load_study(path)
    v = decided(path)
    assert v.word == "supported" and [r.seed for r in study.superseded] == [301]
    assert "begun more than once: projected seed 301 has 2 runs, invalid, valid" in v.line


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A supported study with both companions, T=1 alone."""
    root = tmp_path_factory.mktemp("sound")
    world(root / "m")
    for f in root.glob("*/runs/*/evals.jsonl"):
        f.write_text(
            "".join(x + "\n" for x in f.read_text().splitlines() if '"greedy"' not in x and '"step": 10,' not in x)
        )
    v = decided(root / "m")
    assert v.line.startswith("SUPPORTED by S1-S6") and v.notes == (
        "not held against shrinking the update (not run on its seeds)",
        "the share of the update's energy that the projection removed was not measured",
    )
    return root


@pytest.mark.parametrize("name", UNSOUND_STUDIES)
def test_an_unsound_study_is_refused_void_partial_or_says_so_in_its_first_line(sound, tmp_path, name):
    shutil.copytree(sound, tmp_path / "w")
    UNSOUND_STUDIES[name](tmp_path / "w")
    try:
        v = decided(tmp_path / "w" / "m")
    except ValueError as e:
        assert str(tmp_path) in str(e) and "\n" not in str(e)
        return
    print(v.line)
    assert v.word in ("void", "partial", "falsified") or len(v.notes) > 2, v.line


def test_the_name_of_a_folder_decides_nothing(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "w")
    for old, new in (("m", "amendment3"), ("m-mix0", "x"), ("m-lomo", "y")):
        (tmp_path / "w" / old).rename(tmp_path / "w" / new)
    one, other = decided(sound / "m"), decided(tmp_path / "w" / "amendment3")
    assert other == one and other.word == "supported"
    shutil.copytree(tmp_path / "w" / "x", tmp_path / "w" / "z")
    with pytest.raises(ValueError, match="are both the study 'made-up-mix0'"):
        decided(tmp_path / "w" / "amendment3")


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[Path, Path]:
    """(study, where it was published), the study with one invalid and one unfinished run; none of it is changed."""
    root = tmp_path_factory.mktemp("published")
    path = world(root / "organism", companions=False)
    write_run(path / "runs", "route", 301, 0.2, 0.4, valid=False)
    write_run(path / "runs", "shrink", 301, 0.2, 0.4, status="crashed")
    cli.main(["publish", str(path), "--to", str(root / "docs" / "organism")])
    return path, root / "docs" / "organism"


def test_published_runs_give_back_the_tables_the_verdict_and_the_finished_cells(tmp_path, published):
    path, to = published
    (tmp_path / "again").mkdir()
    cli.main(["unpack", str(to), "--out", str(tmp_path / "again" / "organism")])
    again = tmp_path / "again" / "organism"
    report.report(again)
    here = str(again.parent)  # a missing companion study is named by its path
    told, rebuilt = (json.loads((d / "results.json").read_text().replace(here, str(path.parent))) for d in (to, again))
    assert told == rebuilt and len(told["invalid"]) == len(told["unfinished"]) == 1
    assert decided(again).text and "VERDICT H1" in (to / "verdict.txt").read_text()
    cells = [c for c in plan(MADE_UP) if c.label in TRUTH and c.seed in SEEDS]
    here, there = (runner.Runner(d, [], 1, "cpu").todo(cells) for d in (path, again))
    assert cells and here == there


@pytest.mark.parametrize("name", report.rebuildable(ROOT / "docs" / "results"))
def test_a_published_study_gives_its_own_tables_again(tmp_path, monkeypatch, name):
    """Its runs.tsv, the tables of its report and its verdict, from archive and study.toml alone, in another folder."""
    published = ROOT / "docs" / "results" / name
    monkeypatch.setattr(report, "study_plots", lambda *_: [])
    cli.main(["unpack", str(published), "--out", str(tmp_path / "elsewhere")])
    report.report(tmp_path / "elsewhere")
    text = "\n".join(verdict.verdict_text(tmp_path / "elsewhere")[0]) + "\n"
    home = f"out/studies/{Spec.read(published / 'study.toml').name}"
    assert text.replace(str(tmp_path / "elsewhere"), home) == (published / "verdict.txt").read_text()
    assert (tmp_path / "elsewhere" / "runs.tsv").read_bytes() == (published / "runs.tsv").read_bytes()
    again, told = ((d / "report.md").read_text().splitlines() for d in (tmp_path / "elsewhere", published))
    assert [x for x in again if x.startswith("|")] == [x for x in told if x.startswith("|")]


def test_what_has_no_archive_is_not_rebuilt_and_what_can_be_is_named(capsys):
    can = report.rebuildable(ROOT / "docs" / "results")
    assert {"amendment10", "amendment6-threshold"} <= set(can) and "amendment6" not in can
    for name in ("amendment6", "pilots-8-9", "nothing"):
        with pytest.raises(ValueError, match=f"{name}.*amendment10, amendment6-threshold"):
            cli.rebuild_command(name)
    default = next(x for x in (ROOT / "justfile").read_text().splitlines() if x.startswith("rebuild name="))
    assert default.split('"')[1] in can


def test_an_archive_of_runs_is_the_same_bytes_twice_and_names_no_folder_of_the_machine(tmp_path, published):
    path, to = published
    first = (to / "runs.tar.xz").read_bytes()
    for f in (path / "runs").glob("*/*.json"):
        f.touch()
    archive.pack_runs(path / "runs", tmp_path / "runs.tar.xz")
    assert (tmp_path / "runs.tar.xz").read_bytes() == first
    plain = lzma.decompress(first)
    assert str(path.parent).encode() not in plain and b"out/studies/organism/runs" in plain


def test_publishing_a_study_that_lost_runs_keeps_the_tables_that_tell_of_them(tmp_path, published, monkeypatch):
    monkeypatch.setattr(report, "study_plots", lambda *_: [])
    path, to = (Path(shutil.copytree(p, tmp_path / p.parent.name / p.name)) for p in published)
    before = {f.name: f.read_bytes() for f in to.iterdir()}
    gone = next((path / "runs").glob("*_vanilla-s303"))
    shutil.rmtree(gone)
    with pytest.raises(ValueError, match=f"tells of 1 runs that .* lacks, {gone.name}"):
        report.publish(path, to)
    assert {f.name: f.read_bytes() for f in to.iterdir()} == before
    assert archive.unpack_runs(to / "runs.tar.xz", path / "runs") == 1 and gone.is_dir()
    assert archive.unpack_runs(to / "runs.tar.xz", path / "runs") == 0
    report.publish(path, to)


@pytest.mark.parametrize("spoil", ["cut", "text", "outside", "link"])
def test_an_archive_that_is_cut_or_holds_other_files_writes_nothing(tmp_path, spoil):
    write_run(tmp_path / "runs", "vanilla", 301, 0.2, 0.4)
    bad = tmp_path / "runs.tar.xz"
    archive.pack_runs(tmp_path / "runs", bad)
    if spoil in ("cut", "text"):
        bad.write_bytes(bad.read_bytes()[:-40] if spoil == "cut" else b"no archive")
    else:
        with tarfile.open(bad, "w:xz") as tar:
            tar.add(tmp_path / "runs", "a_run-s1", filter=lambda m: m if m.isfile() or m.name == "a_run-s1" else None)
            member = tarfile.TarInfo("../config.json" if spoil == "outside" else "a_run-s1/config.json")
            if spoil == "link":
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)
    with pytest.raises(ValueError, match="runs.tar.xz"):
        archive.unpack_runs(bad, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == [] and not (tmp_path / "config.json").exists()


def test_a_control_that_does_as_well_is_in_the_first_line(tmp_path):
    for seed in range(301, 306):
        for arm, hack in (("vanilla", 0.8), ("screen", 0.1), ("screen_length", 0.12 + 0.01 * (seed - 300))):
            write_run(tmp_path / "s" / "runs", arm, seed, hack, 0.4)
    MADE_UP.write(tmp_path / "s")
    line = next(x for x in verdict.verdict_text(tmp_path / "s")[0] if x.startswith("VERDICT H1-screen"))
    assert "NOTE: no better than dropping the longest answers (screen_length hacks +4.9 pp [+3.2, +6.6], n=5)" in line
    write_run(tmp_path / "s" / "runs", "screen_length", 306, 0.9, 0.4)  # a seed that the treatment lacks
    study = arms.load_study(tmp_path / "s")
    (said,) = notes.controls_as_good(study, "screen", "sample")
    assert said.startswith("not held against dropping the longest answers, dropping answers with code after the class")
    assert "not held against" in rule.decide(study, "screen").line


def test_whether_pairing_by_seed_takes_noise_off_is_said(tmp_path):
    study = arms.load_study(world(tmp_path / "m", companions=False))
    assert "pairing takes off little" in notes.pairing(study, "projected")  # the made-up arms are independent
    for s, run in study.arms["projected"].items():
        run.on["sample"].counts["hacked"] = study.arms["vanilla"][s].on["sample"].counts["hacked"] // 2
    assert "some of the noise" in notes.pairing(study, "projected")


def test_spec_states_the_numbers_of_the_rule_in_code():
    spec = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    r = RULE
    for text in (
        f"Delta > {100 * r.floor:.0f} pp",
        f"Delta <= {100 * r.h1:.0f} pp",
        f"retained gain >= {r.retained}",
        f"fewer than {r.prompts} prompts",
        f"mean end hack rate < {100 * r.vanilla_hack:.0f}%",
        f"last step < {r.plateau_times:.0f}x the vanilla plateau",
        f"fewer than {r.seeds} valid paired seeds",
        f"less than {100 * r.ceiling_gain:.0f} pp above",
        f"Holm p >= {r.alpha:.2f}".replace("0.", "."),
        f"{100 * r.onset[0]:.0f} to {100 * r.onset[1]:.0f}%",
    ):
        assert text in spec, text
    clauses = re.findall(r"^\| ([VFS]\d) \|", spec, re.M)
    assert clauses == [*rule.VOIDS, *rule.FALSIFIES, *rule.SUPPORTS]  # a reader lays the two side by side


def test_the_open_studies_register_what_the_spec_says():
    spec = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    study = Spec.read(ROOT / "studies" / "h1-forty.toml")
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", spec, re.M))
    assert all(f"`{c}`" in rows[t] for t, controls in study.controls.items() for c in controls)
    assert f"less than {100 * study.v_share:.0f}% of the hack gradient" in spec.replace("holds less", "less")
    assert f"| {study.seeds[0]}-{study.seeds[-1]} |" in spec and "40 directions a weight" in spec and study.name in spec
    assert study.flags("projected")["--k"] == ["40"]


def test_a_study_names_its_own_treatments_and_controls(tmp_path):
    named = {"controls": {"projected": ["haar_v", "nonhack_v"]}}
    path = world(tmp_path / "m", study=named, within_class_v={"hack": 0.30})
    assert decided(path).word == "supported"
    with pytest.raises(ValueError, match=r"\[controls\] names 'no_arm'"):
        world(tmp_path / "n", study={"controls": {"projected": ["no_arm"]}})
