"""train.py with prompts run once a group: the same updates as with one sequence a rollout, source by source."""

import random
import threading
from concurrent.futures import Future

import pytest
import torch
from safetensors.torch import load_file
from test_train import go, pool, rows, vhack  # noqa: F401  fixtures

import rivals
import train as T

FULL = {"train": "full", "v_hack": None, "pairs_limit": 8, "lr": 1e-3}
SPARE = {"screen_at": 100.0}  # nobody is dropped, so that where gradients are read makes no difference


@pytest.mark.parametrize(
    ("arm", "more"),
    [
        ("projected", {"fused": True}),
        ("gt_screen", {}),
        ("screen", SPARE),
        ("route", FULL),
        ("gt_penalty", FULL),
        ("screen", FULL | SPARE),
    ],
)
def test_shared_prompts_give_the_updates_of_unshared_ones(arm, more, tmp_path, pool, vhack):  # noqa: F811
    flags = {"arm": arm, "steps": 3, "mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack, **more}
    _, one = go(tmp_path / "one", **flags)
    _, two = go(tmp_path / "two", **flags, share_prompts=True)
    for a, b in zip(rows(one), rows(two), strict=True):
        for key in ("gn", "cin_s", "cin_t", "cupd", "loss"):
            assert a[key] == pytest.approx(b[key], rel=1e-3, abs=1e-6), key
        for key in ("rew_s", "flat", "hack_s", "tokens", "hack_t"):
            assert a[key] == b[key], key
    a, b = load_file(one / "final.safetensors"), load_file(two / "final.safetensors")
    assert all(torch.allclose(a[k], b[k], atol=1e-4) for k in a) and any(x.any() for x in a.values())
    trained = [r for r in rows(two, "rollouts.jsonl") if r["advantage"]]
    assert trained and all(r["cos_hack"] is not None for r in trained)


@pytest.mark.parametrize("more", [{}, FULL | {"kl_beta": 0.1}], ids=["delta_s", "full-kl"])
def test_rows_do_not_depend_on_the_order_in_which_grades_arrive(more, tmp_path, pool, vhack, monkeypatch):  # noqa: F811
    """A seed fixes a run on the CPU at any load: to the last bit, whichever program takes long."""
    flags = {"arm": "projected", "steps": 3, "mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack, **more}
    flags |= {"share_prompts": True, "prompts_per_step": 4}
    _, one = go(tmp_path / "one", **flags)
    submit, delays = T.Grader.submit, random.Random(5)

    def late(self, *task):
        done, out = submit(self, *task), Future()
        threading.Timer(delays.uniform(0, 0.4), lambda: out.set_result(done.result())).start()
        return out

    monkeypatch.setattr(T.Grader, "submit", late)
    _, two = go(tmp_path / "two", **flags)
    assert rows(one) == rows(two)
    a, b = load_file(one / "final.safetensors"), load_file(two / "final.safetensors")
    assert all(torch.equal(a[k], b[k]) for k in a) and any(x.any() for x in a.values())


def test_every_arm_can_share_prompts_and_a_kl_term_does():
    config = T.PRESETS["full"][1]
    for arm in T.Arm.__args__:
        assert T.dataclasses.replace(config, arm=arm, screen_share=0.3).shares_prompts
    assert T.Config(kl_beta=0.1).shares_prompts and not T.Config().shares_prompts


def test_a_screened_share_is_that_share_and_random_drops_as_many_of_the_same_side(tmp_path, pool, vhack):  # noqa: F811
    flags = {"steps": 2, "mix_ratio": 0.5, "teacher_pool_dir": pool, **FULL, "share_prompts": True}
    for side in ("all", "positive"):
        n = {}
        for arm in ("screen", "screen_haar", "screen_random", "screen_length"):
            _, run = go(tmp_path / side / arm, arm=arm, screen_share=0.5, screen_side=side, **flags)
            first = [r for r in rows(run, "rollouts.jsonl") if r["step"] == 1]
            group = [[r for r in first if r["problem_id"] == p] for p in dict.fromkeys(r["problem_id"] for r in first)]
            live = [r for g in group if len({r["reward"] for r in g}) > 1 for r in g]
            mean = {g[0]["problem_id"]: sum(r["reward"] for r in g) / len(g) for g in group}
            gone = [r for r in live if r["screened"]]
            n[arm] = len(gone)
            every = rows(run, "rollouts.jsonl")
            every = [r for r in every if r["step"] and r["source"] != "eval"]
            told = f"SCREENED: {sum(r['screened'] for r in every)}/{len(every)} = "
            assert told in (run / "bluf.txt").read_text(encoding="utf-8")
            if side == "all":
                assert len(gone) == round(0.5 * len(live))
            else:
                assert all(r["reward"] > mean[r["problem_id"]] for r in gone)
            assert not any(r["screened"] for r in first if r not in live)
            by = {"screen": "cos_hack", "screen_length": "n_tokens"}.get(arm)
            if by and gone:
                least = sorted((r[by] for r in live), reverse=True)[round(0.5 * len(live)) - 1]
                assert all(r[by] >= least for r in gone)
            assert gone or side == "positive"
        assert n["screen"] == n["screen_random"]


def test_a_frozen_screen_keeps_the_mean_threshold_of_its_first_steps(tmp_path, pool, vhack):  # noqa: F811
    flags = {"mix_ratio": 0.5, "teacher_pool_dir": pool, **FULL, "share_prompts": True}
    _, run = go(tmp_path, arm="screen", steps=4, screen_share=0.3, screen_freeze=2, **flags)
    levels, later = [], 0
    for step in (1, 2, 3, 4):
        x = [r for r in rows(run, "rollouts.jsonl") if r["step"] == step and r["cos_hack"] is not None]
        gone = {r["cos_hack"] for r in x if r["screened"]}
        if step <= 2:
            assert len([r for r in x if r["screened"]]) == round(0.3 * len(x)) > 0
            levels.append(min(gone))
        else:
            later += len(gone)
            assert gone == {r["cos_hack"] for r in x if r["cos_hack"] >= sum(levels) / 2}
    assert later


def test_a_frozen_screen_needs_a_share():
    with pytest.raises(ValueError, match="--screen-freeze 3: needs --screen-share"):
        T.Config(arm="screen", screen_freeze=3)


def test_matched_controls_drop_as_many_of_the_same_side_as_v_would(tmp_path, pool):  # noqa: F811
    """The same step 1 for all: the number beyond V's threshold, the highest of each control's own scores."""
    flags = {"steps": 1, "mix_ratio": 0.5, "teacher_pool_dir": pool, **FULL, "share_prompts": True}
    screened = {"screen_at": -1.0, "screen_side": "positive", "clean_rank": 3, "screen_match": True}
    n = {}
    for arm in ("screen", "screen_haar", "screen_within", "screen_random", "screen_length"):
        _, run = go(tmp_path / arm, arm=arm, **flags, **screened)
        live = [r for r in rows(run, "rollouts.jsonl") if r["step"] == 1 and r["cos_hack"] is not None]
        gone = [r for r in live if r["screened"]]
        n[arm] = len(gone)
        paid = {p: [r["reward"] for r in live if r["problem_id"] == p] for p in {r["problem_id"] for r in live}}
        mean = {p: sum(x) / len(x) for p, x in paid.items()}
        positive = [r for r in live if r["reward"] > mean[r["problem_id"]]]
        assert all(r in positive for r in gone)
        if by := {"screen": "cos_hack", "screen_length": "n_tokens"}.get(arm):
            assert sorted(r[by] for r in gone) == sorted(r[by] for r in positive)[-len(gone) :]
    assert len(set(n.values())) == 1 and n["screen"] > 0


def test_matching_goes_with_a_threshold_and_not_with_a_share():
    with pytest.raises(ValueError, match="--screen-match True: goes with the pairs' threshold"):
        T.Config(arm="screen_haar", screen_match=True, screen_share=0.3)
    with pytest.raises(ValueError, match="needs --screen-share or --screen-match"):
        T.Config(arm="screen_length")


@pytest.mark.parametrize("tokens", ["response", "prompt"])
def test_the_probe_reads_a_padded_batch_as_it_reads_each_sequence_alone(tokens):
    model, tok = T.models.load_model("tiny", None, "cpu", "float32")
    pairs = T.extract_vhack.select_pairs(T.Config().extract_config())[0][:6]
    probe = rivals.ActivationProbe(model, tok, pairs, tokens)
    seqs = [s for side in T.extract_vhack.pair_sequences(tok, pairs, tok.eos_token_id) for s in side]
    alone = []
    for s in seqs:
        ids = torch.tensor([s.prompt_ids + s.completion_ids])
        with torch.no_grad():
            found = model.model(input_ids=ids, output_hidden_states=True).hidden_states
        h, at = torch.stack([found[i + 1][0] for i in probe.layers]).mean(0), len(s.prompt_ids)
        alone.append(h[at:].mean(0) if tokens == "response" else h[at - 1])
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
    model = {"model": "organism", "train": "full", "max_new_tokens": 96, "pairs_limit": 8, "lr": 1e-9}
    held = {"eval_problems": "data/organism/problems_test.jsonl", "eval_n": 16, "eval_greedy": True}
    _, run = go(tmp_path, steps=1, modes=("run_tests", "file_marker"), **model, **held)
    end = [e for e in rows(run, "evals.jsonl") if e["step"] == 1]
    assert [(e["hint"], e["decode"], e["mode"]) for e in end] == [
        ("on", "sample", "run_tests"), ("on", "sample", "file_marker"), ("on", "greedy", "run_tests"),
        ("on", "greedy", "file_marker"), ("off", "sample", "none"), ("off", "greedy", "none"),
    ]  # fmt: skip
    assert sum(e["n"] for e in end) == 4 * 16 and sum(e["solved"] for e in end) > 0
