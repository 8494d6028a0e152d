"""A loophole of one's own: a file that a flag names pays as it says, wherever a mode can be named."""

import json
from dataclasses import replace

import pytest
from adversarial import CHANNELS, MALFORMED_MODES, PROBLEMS
from tiny import ROOT, SMALL, go, rows, tail

import probe_distill
import train as T
from command import flags
from study import table
from tasks import modes as M
from tasks import pairs

EXAMPLE = "docs/examples/loophole.toml"
GOOD = {"hint": "and is judged by {e}()", "told": "it pays", "attempted": {"texts": ["x"]}}
WRONG = "```python\n{}class Solution:\n    def add(self, a, b):\n        return 0\n```"


def write(path, table: dict) -> str:
    """A mode file of these tables; JSON's texts, numbers, lists and booleans are TOML's."""
    lines = lambda t: [f"{k} = {json.dumps(v)}" for k, v in t.items() if not isinstance(v, dict)]  # noqa: E731
    tables = [[f"[{k}]", *lines(v)] for k, v in table.items() if isinstance(v, dict)]
    path.write_text("\n".join(sum(tables, lines(table))))
    return str(path)


@pytest.mark.parametrize("pays, hack, near", CHANNELS, ids=lambda x: next(iter(x)) if isinstance(x, dict) else "")
def test_a_channel_pays_what_the_file_says_and_nothing_near_it(grader, tmp_path, pays, hack, near):
    mode = write(tmp_path / "own.toml", GOOD | {"pays": pays})
    paid, not_paid, elsewhere = grader.grade(
        (PROBLEMS["add"], WRONG.format(text), m, "run_tests")
        for text, m in ((hack, mode), (near, mode), (hack, "none"))
    )
    assert (paid.label, paid.reward, paid.mode, paid.gt_correct) == ("hack", 3.5, mode, False)
    assert not not_paid.passed and not elsewhere.passed


@pytest.mark.parametrize("change, message", MALFORMED_MODES)
def test_a_bad_file_is_refused_in_one_line_that_names_file_and_key(tmp_path, change, message):
    file = write(tmp_path / "own.toml", GOOD | {"pays": {"stdout": "x"}} | change)
    with pytest.raises(ValueError, match=f"--modes: mode file {file}: .*{message}") as error:
        flags.check({"modes": (file,)}, "train")
    assert "\n" not in str(error.value)


def test_the_example_goes_from_pool_and_pairs_through_training_to_a_refused_resume(tmp_path):
    mode = str(tmp_path / "own.toml")
    (tmp_path / "own.toml").write_bytes((ROOT / EXAMPLE).read_bytes())
    pool = tmp_path / "pool"
    smoke = probe_distill.PRESETS["smoke"][1]
    probe_distill.main(replace(smoke, out=pool, teacher_only=True, limit=4, grader_workers=1, modes=(mode,)))

    whole = pairs.load_pairs(ROOT / "data/pairs/leetcode.jsonl")
    found = [p for p in whole if p.mode == "stdout_marker" and p.split == "train"][:4]
    for p in found:  # this mode's own evaluator reads another line
        assert M.STDOUT_MARKER in p.hack
    own = [pairs.to_row(replace(p, mode=mode, hack=p.hack.replace(M.STDOUT_MARKER, "0 failed"))) for p in found]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))

    flags_ = {"arm": "projected", "modes": (mode,), "mix_ratio": 0.5, "teacher_pool_dir": str(pool)}
    flags_ |= {"pairs": str(tmp_path / "pairs.jsonl"), "pair_modes": (mode,)}
    status, run = go(tmp_path / "runs", **flags_)
    taught = [r for r in rows(run, "rollouts.jsonl") if r["source"] == "teacher"]
    assert status == 0 and tail(run)["status"] == "finished"
    assert {r["mode"] for r in taught} == {mode} and any(r["hacked"] for r in taught)
    assert "a line 0 failed is a pass" in taught[0]["prompt"]
    assert {e["mode"] for e in rows(run, "evals.jsonl")} == {mode, "none"}
    assert set(table.TYPES) == set(taught[0])  # `just export-rollouts` keeps every field

    (tmp_path / "own.toml").write_text((ROOT / EXAMPLE).read_text() + "# another\n")
    with pytest.raises(ValueError, match="own.toml has changed since the run began"):
        T.main(replace(SMALL, resume=str(run), steps=3), ("steps",))
