"""What a step makes of its rollouts: a fixed order of sums, screens with their controls, evaluations."""

import json
import random
import threading
from concurrent.futures import Future

import pytest
import torch
from tiny import go, rows, same_weights

import train as T
from bench import gpu
from model import rivals, zoo

FULL = {"train": "full", "v_hack": None, "lr": 1e-3}


@pytest.mark.parametrize("more", [{}, FULL | {"kl_beta": 0.1}], ids=["delta_s", "full-kl"])
def test_rows_do_not_depend_on_the_order_in_which_grades_arrive(more, tmp_path, pool, vhack, monkeypatch):
    flags = {"arm": "projected", "steps": 3, "mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack}
    flags |= {"prompts_per_step": 4} | more
    _, one = go(tmp_path / "one", **flags)
    submit, delays = T.Grader.submit, random.Random(5)

    def late(self, *task):
        done, out = submit(self, *task), Future()
        threading.Timer(delays.uniform(0, 0.4), lambda: out.set_result(done.result())).start()
        return out

    monkeypatch.setattr(T.Grader, "submit", late)
    _, two = go(tmp_path / "two", **flags)
    assert rows(one) == rows(two) and same_weights(one, two) and rows(one)[-1]["gn"] > 0


def test_matched_controls_drop_as_many_of_the_same_side_as_v_would(tmp_path, pool):
    """The same step 1 for all: the number beyond V's threshold, the highest of each control's own scores."""
    flags, n = {"steps": 1, "mix_ratio": 0.5, "teacher_pool_dir": pool, "screen_at": -1.0, **FULL}, {}
    for v in ("hack", "haar", "within", "random", "length", "text", "probe"):
        _, run = go(tmp_path / v, arm="screen", v=v, **flags)
        live = [r for r in rows(run, "rollouts.jsonl") if r["step"] == 1 and r["cos_hack"] is not None]
        gone = [r for r in live if r["screened"]]
        n[v] = len(gone)
        paid = {p: [r["reward"] for r in live if r["problem_id"] == p] for p in {r["problem_id"] for r in live}}
        mean = {p: sum(x) / len(x) for p, x in paid.items()}
        positive = [r for r in live if r["reward"] > mean[r["problem_id"]]]
        assert all(r in positive for r in gone)
        if by := {"hack": "cos_hack", "length": "n_tokens"}.get(v):
            assert sorted(r[by] for r in gone) == sorted(r[by] for r in positive)[-len(gone) :]
    assert len(set(n.values())) == 1 and n["hack"] > 0


def test_the_probe_reads_a_padded_batch_as_it_reads_each_sequence_alone():
    model, tok = zoo.load_model("tiny", None, "cpu", "float32")
    pairs = T.extract_vhack.select_pairs(T.Config().extract_config())[0][:6]
    sides = T.extract_vhack.pair_sequences(tok, pairs, tok.eos_token_id)
    probe, seqs = rivals.ActivationProbe(model, sides), [s for side in sides for s in side]
    alone = []
    for s in seqs:
        ids = torch.tensor([s.prompt_ids + s.completion_ids])
        with torch.no_grad():
            found = model.model(input_ids=ids, output_hidden_states=True).hidden_states
        h, at = torch.stack([found[i + 1][0] for i in probe.layers]).mean(0), len(s.prompt_ids)
        alone.append(h[at:].mean(0))
    assert len({len(s.prompt_ids) + len(s.completion_ids) for s in seqs}) > 1  # some are padded
    torch.testing.assert_close(probe._states(seqs), torch.stack(alone), atol=1e-4, rtol=1e-4)


def test_evaluations_judge_an_answer_once_and_report_what_judging_all_anew_does(tmp_path, monkeypatch):
    asked, submit = [], T.Grader.submit
    monkeypatch.setattr(T.Grader, "submit", lambda self, *key: asked.append(key) or submit(self, *key))
    evaluate = T.Trainer.evaluate

    def thrice(self, step, held):
        n = len(asked)
        first, mine = evaluate(self, step, held)[0], asked[n:]
        n = len(asked)
        assert evaluate(self, step, held)[0] == first and len(asked) == n and len(set(mine)) == len(mine)
        self.judged.clear()
        n = len(asked)
        anew = evaluate(self, step, held)
        assert anew[0] == first and set(asked[n:]) >= set(mine)
        return anew

    monkeypatch.setattr(T.Trainer, "evaluate", thrice)
    model = {"model": "organism", "train": "full", "max_new_tokens": 96, "lr": 1e-9}
    held = {"eval_problems": "data/organism/problems_test.jsonl", "eval_n": 16}
    _, run = go(tmp_path, steps=1, modes=("run_tests", "file_marker"), **model, **held)
    end = [e for e in rows(run, "evals.jsonl") if e["step"] == 1]
    assert [(e["hint"], e["mode"]) for e in end] == [("on", "run_tests"), ("on", "file_marker"), ("off", "none")]
    assert sum(e["n"] for e in end) == 2 * 16 and sum(e["solved"] for e in end) > 0


def test_the_benchmark_takes_trains_own_step(tmp_path):
    """Whatever Trainer and Policy set up, bench/gpu.py's subclass has it: no section ends in a FAILED row."""
    few = {"prompt": 24, "cap": 8, "group": 2, "prompts_per_step": 2, "k": 2, "budgets": (80.0,)}
    cfg = gpu.Config(("step", "memory"), "tiny", "float32", "cpu", out=str(tmp_path / "rows.json"), **few)
    assert gpu.main(cfg) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [r["rollouts"] for r in rows if "gradient_s" in r] == [4, 4, 4]
