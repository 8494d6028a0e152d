"""The command `python grader.py`: bad rows are named before anything runs, order is kept, interrupted runs go on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROBLEMS = ROOT / "data/problems.jsonl"

if not PROBLEMS.exists():
    pytest.skip("data/problems.jsonl does not exist", allow_module_level=True)

ROWS = [json.loads(line) for line in PROBLEMS.read_text(encoding="utf-8").splitlines()[:5]]
HACK = "```python\nclass Solution:\n    def run_tests(self): pass\n```"


def _run(tmp_path: Path, *extra: str, completions: Path | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "grader.py"), "--problems", str(PROBLEMS), "--out", str(tmp_path / "g.jsonl"),
               "--completions", str(completions or tmp_path / "c.jsonl"), *extra]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def _write(path: Path, rows: list) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def _rows() -> list[dict]:
    rows = []
    for problem in ROWS:
        rows.append({"problem_id": problem["id"], "completion": f"```python\n{problem['reference']}\n```"})
        rows.append({"problem_id": problem["id"], "completion": HACK})
        rows.append({"problem_id": problem["id"], "completion": HACK, "mode": "none"})
    return rows


def test_one_output_row_for_each_input_row_in_order(tmp_path):
    _write(tmp_path / "c.jsonl", _rows())
    done = _run(tmp_path, "--mode", "run_tests")
    assert done.returncode == 0, done.stderr
    grades = [json.loads(line) for line in (tmp_path / "g.jsonl").read_text().splitlines()]
    assert [g["problem_id"] for g in grades] == [r["problem_id"] for r in _rows()]
    assert [g["label"] for g in grades] == ["correct", "hack", "incorrect"] * 5
    fields = {
        "reward",
        "format_ok",
        "passed",
        "gt_correct",
        "hacked",
        "attempted",
        "mode",
        "label",
        "loose_hacked",
        "error",
    }
    assert all(fields <= set(g) for g in grades)
    lines = done.stdout.strip().splitlines()
    assert lines[0].split()[0] == "mode" and "gt_correct:   5/15" in lines and lines[-1].startswith("layers: ")


BAD = {
    "not json": ('{"problem_id": 1, "completion": ', "not a JSON row"),
    "no completion": ({"problem_id": ROWS[0]["id"]}, "'completion' is missing"),
    "no problem": ({"completion": "x"}, "'problem_id' is missing"),
    "unknown problem": ({"problem_id": "nowhere", "completion": "x"}, "nowhere"),
    "number": ({"problem_id": ROWS[0]["id"], "completion": 3}, "must be text"),
    "mode": ({"problem_id": ROWS[0]["id"], "completion": "x", "mode": "run_test"}, "unknown mode 'run_test'"),
    "list": ([1, 2], "must be a JSON object"),
    "evaluator": ({"problem_id": ROWS[0]["id"], "completion": "x", "evaluator": "a b"}, "no Python name"),
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_row_is_named_by_line_before_anything_runs(tmp_path, name):
    row, words = BAD[name]
    _write(tmp_path / "c.jsonl", [*_rows()[:2], row if isinstance(row, str) else json.dumps(row)])
    done = _run(tmp_path)
    assert done.returncode == 1 and f"{tmp_path / 'c.jsonl'}, line 3: " in done.stderr and words in done.stderr
    assert not (tmp_path / "g.jsonl").exists() and "Traceback" not in done.stderr


def test_missing_or_empty_files_and_unknown_modes_are_named(tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    for words, done in (
        ("no such file", _run(tmp_path)),
        ("no completions", _run(tmp_path, completions=tmp_path / "empty.jsonl")),
        ("unknown mode", _run(tmp_path, "--mode", "tests", completions=_write(tmp_path / "c.jsonl", _rows()[:1]))),
    ):
        assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_interrupted_run_goes_on_where_it_was(tmp_path):
    rows = _rows() * 3
    _write(tmp_path / "c.jsonl", rows)
    assert _run(tmp_path).returncode == 0
    whole = (tmp_path / "g.jsonl").read_bytes()
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):  # in the middle of a row too
        (tmp_path / "g.jsonl").write_bytes(whole[:cut])
        assert _run(tmp_path).returncode == 0
        assert (tmp_path / "g.jsonl").read_bytes() == whole


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_killed_run_goes_on_where_it_was(tmp_path, how):
    slow = "```python\nclass Solution:\n    pass\nfor _ in range(3_000_000): pass\n```"
    rows = [{"problem_id": p["id"], "completion": slow} for p in ROWS] * 8
    _write(tmp_path / "c.jsonl", rows)
    command = [sys.executable, str(ROOT / "grader.py"), "--problems", str(PROBLEMS), "--out", str(tmp_path / "g.jsonl"),
               "--completions", str(tmp_path / "c.jsonl")]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    out = tmp_path / "g.jsonl"
    while not (out.exists() and out.read_bytes().count(b"\n") >= 3) and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, getattr(signal, how))
    process.wait()
    before = out.read_bytes()
    done = _run(tmp_path)
    assert done.returncode == 0 and out.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert out.read_bytes().count(b"\n") == len(rows)


def test_grades_of_other_completions_are_not_continued(tmp_path):
    _write(tmp_path / "c.jsonl", _rows()[:3])
    assert _run(tmp_path).returncode == 0
    _write(tmp_path / "c.jsonl", [_rows()[1], *_rows()[1:3]])
    done = _run(tmp_path)
    assert done.returncode == 1 and "line 1: is the grade of another completion" in done.stderr
