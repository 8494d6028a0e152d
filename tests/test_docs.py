"""What the documents promise: the reference is the code's, links lead somewhere, the how-to's arm runs."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys

import pytest
from tiny import few_pairs

import extract_vhack
import probe_distill
import train
from command import files, reference, usage
from study import __main__ as study

ROOT = files.ROOT


def test_the_reference_is_what_the_code_says():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "python -m command.reference writes it"


@pytest.mark.parametrize(("script", "preset", "kind"), [
    ("train.py", "full", train.Config), ("extract_vhack.py", "organism", extract_vhack.ExtractConfig),
    ("probe_distill.py", "organism", probe_distill.Config),
])  # fmt: skip
def test_help_tells_every_flag_and_preset_by_group_before_torch_is_imported(script, preset, kind):
    command = [sys.executable, "-X", "importtime", script, preset, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "command" in loaded and not loaded & {"torch", "transformers"}
    assert done.stdout == usage.page(script, preset) + "\n"
    told = re.findall(r"^  --([a-z-]+) ", done.stdout, re.M)
    assert told == [f.name.replace("_", "-") for f in dataclasses.fields(kind)]
    parts = done.stdout.split("\n\n")
    assert len(parts) >= 7 and max(len(part.splitlines()) for part in parts) <= 24
    assert max(map(len, done.stdout.splitlines())) <= usage.WIDTH
    presets, plain = sys.modules[kind.__module__].PRESETS, {f.name: f.default for f in dataclasses.fields(kind)}
    read = usage.presets_of(script)
    assert {k: v[0] for k, v in read.items()} == {k: v[0] for k, v in presets.items()}
    for name, (_, values) in read.items():
        told = {k: str(v) for k, v in (plain | values).items() if v != "LOOPHOLE_MODES"}
        assert told.items() <= {k: str(v) for k, v in vars(presets[name][1]).items()}.items()


def test_help_of_studies_tells_every_command_and_a_mistyped_one_the_nearest(capsys):
    study.main(["--help"])
    told = re.findall(r"^  ([a-z-]+) ", capsys.readouterr().out, re.M)
    assert sorted(told) == sorted(study.app._subcommands)
    with pytest.raises(ValueError, match="did you mean near-misses"):
        study.main(["near-miss"])


def test_every_link_of_a_document_leads_to_a_file():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/results").glob("*/README.md")]
    links = [(p, m) for p in pages for m in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", p.read_text(encoding="utf-8"))]
    assert [f"{p.name}: {m}" for p, m in links if not (p.parent / m).exists()] == [] and len(links) > 50


def test_the_arm_of_the_how_to_applies_and_takes_a_step(tmp_path):
    """The page's diff on a copy of the code; then one step of the new arm on the tiny model."""
    text = (ROOT / "docs/howto-arm.md").read_text(encoding="utf-8")
    (diff,) = re.findall(r"```diff\n(.*?)```", text, re.S)
    copied = subprocess.run(["git", "ls-files", "*.py", "*.toml", "data/pairs", "data/*.jsonl", "data/modes"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout.split()  # fmt: skip
    for name in copied:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "arm.diff").write_text(diff, encoding="utf-8")
    subprocess.run(["git", "apply", "arm.diff"], cwd=tmp_path, check=True)
    assert sum(line[0] == "+" and line[:3] != "+++" for line in diff.splitlines() if line) <= 8
    few = ["--pairs", few_pairs(tmp_path), "--pair-modes", "None", "--eval-n", "1", "--max-new-tokens", "8"]
    command = [sys.executable, "train.py", "smoke", "--arm", "length_cost", "--steps", "1", *few]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False,
                          env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)})  # fmt: skip
    (bluf,) = tmp_path.glob("out/runs/*/bluf.json")
    assert '"length_cost"' in bluf.read_text() and "Traceback" not in done.stderr, done.stderr[-2000:]
