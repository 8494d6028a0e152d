"""What one looks at in a single run: its figure, its rollouts in Inspect's log, and commands that load no more."""

import json
import subprocess
import sys

import numpy as np
import pytest
import worlds

from command.files import ROOT
from study import figures, plots
from study.read import Run

ROLLOUT = worlds.ROLLOUT | {"problem_id": "p", "cos_hack": None, "completion": "code"}


def test_a_dry_run_loads_no_plots_and_no_statistics():
    code = "import study.__main__, sys; print({'matplotlib', 'scipy.stats', 'torch'} & set(sys.modules) or 'none')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "none", done.stderr


def test_a_runs_figure_shows_what_was_measured_and_leaves_out_what_was_not(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "one_run", lambda path, panels, *words: drawn.update({h: c for h, _, c in panels}))
    rates = {k: np.linspace(0, 1, 12) for k in ("rew_s", "hack_s", "gt_s", "att_s", "cupd")}
    rates["rew_s"][:6] = np.nan
    rows = {"step": np.arange(1, 13), "cin_s": np.full(12, np.nan), **rates}
    figures.run_plot(Run(str(tmp_path), "vanilla", 1, {"steps": 12}, {}, "", "finished", True, [], 1.0, rows=rows), "")
    assert list(drawn["Hack-ward overlap"]) == ["applied update"]  # no gradient cosine was logged
    steps, reward = drawn["Reward"]["training rollouts"]
    assert steps.tolist() == list(range(1, 13)) and np.isnan(reward[0, :6]).all()
    assert reward[0, 6] == rates["rew_s"][6]  # half of the window measured: the mean of that half
    assert reward[0, -1] == pytest.approx(rates["rew_s"][-2:].mean())


def test_inspects_log_holds_every_rollout_with_the_scores_that_were_measured(tmp_path):
    log = pytest.importorskip("inspect_ai.log", reason="inspect-ai is not installed; `just view` brings its own")
    from study import view

    run = tmp_path / "20260101T000000_vanilla-s1"
    run.mkdir()
    config = {"arm": "vanilla", "seed": 1, "steps": 2}
    (run / "config.json").write_text(json.dumps({"config": config}))
    rows = [ROLLOUT, ROLLOUT | {"step": 2, "cos_hack": 0.5}, ROLLOUT | {"step": 2, "hacked": False}]
    (run / "rollouts.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (path,) = view.export([str(run)], tmp_path / "view")
    read = log.read_eval_log(str(path))
    assert [(s.metadata["step"], s.epoch) for s in read.samples] == [(1, 1), (2, 1), (2, 2)]
    assert [set(view.SCORES) - set(s.scores) for s in read.samples] == [{"cosine"}, set(), {"cosine"}]
    assert read.samples[0].metadata == {"step": 1, "arm": "vanilla", "mode": "run_tests", "source": "student"}
    (hacked,) = [s for s in read.results.scores if s.name == "hacked"]
    assert hacked.metrics["mean"].value == pytest.approx(2 / 3)


def test_exported_rollouts_are_read_by_datasets_whatever_the_first_of_them_lack(tmp_path, monkeypatch):
    import datasets

    from study import table

    rows = [ROLLOUT] * 3 + [ROLLOUT | {"problem_id": 7, "cos_hack": 0.5}]
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    monkeypatch.setattr(table, "CHUNK", 2)  # the first group of rows has no cosine at all
    out, n = table.export(tmp_path)
    read = datasets.load_dataset("parquet", data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert n == len(read) == 4 and read["cos_hack"][:] == [None, None, None, 0.5]
    assert read["problem_id"][:] == ["p", "p", "p", "7"] and read["completion"][0] == "code"
