"""What `drift` says of rollouts whose answer is known."""

import json
from pathlib import Path

import pytest

from study import drift


def rollout(step: int, cos: float | None, attempted: bool, advantage: float, screened=False, source="student") -> dict:
    told = {"step": step, "source": source, "attempted": attempted, "gt_correct": not attempted}
    return told | {"advantage": advantage, "screened": screened, "cos_hack": cos}


def write_run(runs: Path, label: str, seed: int, rollouts: list[dict], steps: int = 20) -> None:
    d = runs / f"20260101T00000{seed}_{label}-s{seed}"
    d.mkdir(parents=True)
    config = {"arm": label, "seed": seed, "steps": steps, "name": f"{label}-s{seed}"}
    (d / "config.json").write_text(json.dumps({"config": config}))
    (d / "bluf.json").write_text(json.dumps({"status": "finished", "valid": True}))
    rows = [{"step": i, "loss": 0.0} for i in range(1, steps + 1)]
    (d / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (d / "rollouts.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rollouts))


@pytest.fixture
def study(tmp_path) -> Path:
    first = [
        rollout(1, 0.4, True, 0.0, screened=True),  # dropped: its advantage is gone, it still counts
        rollout(10, 0.2, True, 1.0),
        rollout(10, None, True, 1.0),  # a flat group's rollout has no gradient to compare
        rollout(10, 0.9, True, -1.0),  # pushed away from: not what training moves towards
        rollout(10, 0.9, True, 1.0, source="teacher"), rollout(0, 0.9, True, 1.0, source="eval"),
        rollout(5, 0.0, False, 1.0), rollout(5, 0.1, False, 0.0, screened=True), rollout(11, -0.1, True, 1.0),
    ]  # fmt: skip
    write_run(tmp_path / "runs", "screen", 1, first)
    write_run(tmp_path / "runs", "screen", 2, [rollout(3, 0.6, True, 1.0)])
    return tmp_path


def test_windows_count_what_training_moves_towards(study, capsys):
    found = drift.main(drift.Config(study, edges=(10,)))["screen"]
    early, late = found
    assert early["steps"] == [1, 10] and late["steps"] == [11, 20]
    assert (early["attempts"], early["dropped"], early["correct"], early["correct_dropped"]) == (4, 1, 2, 1)
    assert early["median"] == pytest.approx(0.4) and early["seeds"] == pytest.approx([0.3, 0.6])
    assert (late["attempts"], late["dropped"], late["median"]) == (1, 0, pytest.approx(-0.1))
    out = capsys.readouterr().out.splitlines()
    assert out[1].split() == ["screen", "1-10", "66.7%", "4", "+0.400", "(+0.30", "+0.60)", "25.0%", "2", "50.0%"]
    assert (study / "drift.png").stat().st_size > 10_000
    told = json.loads((study / "drift.json").read_text())
    assert told["drift"]["screen"] == found and [name[-2:] for name in told["runs"]["screen"]] == ["s1", "s2"]


def test_unknown_arm_unequal_lengths_and_a_malformed_row_are_named(study):
    with pytest.raises(ValueError, match="--arms scren"):
        drift.main(drift.Config(study, arms=("scren",)))
    write_run(study / "runs", "screen", 3, [], steps=30)
    with pytest.raises(ValueError, match="different --steps"):
        drift.main(drift.Config(study))
    rows = next(study.glob("runs/*s1/rollouts.jsonl"))
    rows.write_text('{"step"\n' + rows.read_text())
    with pytest.raises(ValueError, match=r"rollouts\.jsonl, line 1: not a JSON row"):
        drift.main(drift.Config(study))
    assert not (study / "drift.json").exists() and not (study / "drift.png").exists()
