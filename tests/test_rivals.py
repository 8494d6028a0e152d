"""model/rivals.py and the energy accounting: a penalty has the gradient it says, a rule reads what it says."""

import dataclasses
import shutil

import pytest
import torch
from tiny import SMALL, go, of_the_teacher_too, rows, tail

import train as T
from model import rivals, zoo
from model.policy_grad import nll_loss, rollout_grads, token_logps
from model.svd_basis import attach
from study import diagnose

CLASS = "class Solution:\n    def f(self):\n        return 1"


@pytest.mark.parametrize(("answer", "outside"), [
    (CLASS, ""), (f"import os\n# note\n{CLASS}", ""), (f"{CLASS}\n\nprint('x')", "print('x')"),
    (f"{CLASS}\n\ndef run_tests():\n    pass", "def run_tests():\n    pass"),
    (f"{CLASS}\n\nclass Other:\n    x = 1", "class Other:\n    x = 1"),
    ("PASSED = True", "PASSED = True"),  # no class at all: the whole answer is outside of it
])  # fmt: skip
def test_a_text_rule_reads_all_code_outside_the_first_class(answer, outside):
    assert rivals.outside_class(f"```python\n{answer}\n```") == outside


@pytest.mark.parametrize(("which", "preset"), [("text", "smoke"), ("text", "organism"), ("tail", "organism")])
def test_a_text_rule_scores_the_pairs_hack_sides_higher(which, preset):
    cfg = T.PRESETS[preset][1]  # the other pairs' clean sides go on behind the class as often as their hack sides
    pairs = T.extract_vhack.select_pairs(dataclasses.replace(cfg, pair_modes=None).extract_config())[0]
    rule = rivals.TextRule(zoo.local_tokenizer(), pairs, which)
    hack, clean = (rule.score([getattr(p, side) for p in pairs]) for side in ("hack", "clean"))
    assert hack.mean() > clean.mean() and hack.shape == (len(pairs),)


@pytest.mark.parametrize("v", T.DIRECTIONS["pair_penalty"])
def test_pair_penalty_is_silent_at_the_start_and_has_the_gradient_of_its_value(v):
    cfg = dataclasses.replace(SMALL, arm="pair_penalty", v=v, strength=50.0)
    model, tok = zoo.load_model("tiny", None, "cpu", "float32")
    sides, basis = T.extract_vhack.contrasts(model, tok, cfg.extract_config(), v), attach(model, "delta_s")
    penalty = rivals.PairPenalty(model, basis, sides, cfg, 4096)
    if v == "clean":  # a likelihood: always on
        loss = rollout_grads(model, basis, sides[1], nll_loss(50 / (len(sides[1]) * cfg.max_new_tokens)))[2]
        assert penalty.gradient(0).any() and penalty.value == pytest.approx(loss, rel=1e-4)
    else:
        assert not penalty.gradient(0).any() and penalty.value == 0
        penalty.start = penalty.start - 1.0  # every pair is beyond its start, so the penalty is smooth here
    g, eps, values = penalty.gradient(0), 1e-2, []
    for shift in (eps, -2 * eps):  # to +eps, then to -eps
        with torch.no_grad():
            for knob, (lo, hi) in zip(basis.knobs(), basis.spans.values(), strict=True):
                knob += shift * (g / g.norm())[lo:hi]
        penalty.gradient(0)
        values.append(penalty.value)
    assert (values[0] - values[1]) / (2 * eps) == pytest.approx(float(g.norm()), rel=0.02)


def test_controls_of_the_pair_penalty_never_weigh_a_hack_against_an_honest_answer(tmp_path):
    model, tok = zoo.load_model("tiny")
    cfg = SMALL.extract_config()
    answers = lambda sides: [[tuple(s.completion_ids) for s in side] for side in sides]  # noqa: E731
    hack, clean = answers(T.extract_vhack.contrasts(model, tok, cfg, "hack"))
    within = list(zip(*answers(T.extract_vhack.contrasts(model, tok, cfg, "within")), strict=True))
    assert len(within) == len(hack) and all({*two} <= {*hack} or {*two} <= {*clean} for two in within)
    assert {*hack} <= {x for two in within for x in two} >= {*clean}
    honest = [x for side in answers(T.extract_vhack.contrasts(model, tok, cfg, "nonhack")) for x in side]
    assert len(honest) == 2 * len(hack) and not {*honest} & {*hack}
    lone = shutil.copy(cfg.pairs, tmp_path / "lone.jsonl")
    status, run = go(tmp_path, arm="pair_penalty", v="nonhack", pairs=str(lone))
    assert status == 1 and "lone_nonhack.jsonl does not exist" in tail(run)["error"]


def test_energy_shares_are_shares_and_a_two_sided_projection_removes_what_v_holds(tmp_path, pool, vhack):
    flags = {"steps": 2, "mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack}
    _, run = go(tmp_path, arm="projected", gate="no_gate", **flags)
    for row in rows(run):
        assert row["upd_space"] == pytest.approx(1, abs=1e-5)  # delta_s: the coordinates are all that trains
        assert 0 < row["upd_v"] < 1 and row["removed"] == pytest.approx(row["upd_v"], rel=1e-4)
        assert row["hack_v"] is None or 0 <= row["hack_v"] <= 1 + 1e-6


def test_a_core_v_can_hold_no_more_of_a_full_update_or_hack_gradient_than_the_core_does(tmp_path, pool, monkeypatch):
    monkeypatch.setattr(T.extract_vhack, "hack_weights", of_the_teacher_too)
    flags = {"steps": 1, "mix_ratio": 0.5, "teacher_pool_dir": pool, "train": "full"}
    _, run = go(tmp_path, arm="vanilla", **flags)
    (row,) = rows(run)
    assert 0 <= row["upd_v"] <= row["upd_space"] < 0.9 and row["removed"] == 0
    assert 0 < row["hack_v"] <= row["hack_space"] < 0.9


def test_raw_directions_are_the_span_of_all_pair_differences_of_the_weights_gradients(tmp_path, pool, monkeypatch):
    """Against plain autograd and a dense QR a weight; then a run that takes coordinates and floor from that file."""
    X, n, path = T.extract_vhack, 4, tmp_path / "raw.safetensors"
    flags = {"train": "full", "k": n, "gate": "no_gate", "v_hack": str(path), "arm": "projected"}
    wanted = dataclasses.replace(SMALL, **flags).extract_config()
    wanted = dataclasses.replace(wanted, coords="raw", floor=0.0)
    model, tok = zoo.load_model("tiny", None, "cpu", "float32")
    basis = attach(model, "full", "raw")
    found = X.load_or_extract(model, basis, tok, wanted)[0].sets["hack"]
    plain, grads = zoo.load_model("tiny", None, "cpu", "float32")[0], []
    for hack, clean in zip(*X.contrasts(plain, tok, wanted, "hack"), strict=True):
        plain.zero_grad()
        for sign, s in ((1, hack), (-1, clean)):
            (-sign * token_logps(plain, [s])[0].sum()).backward()
        grads.append({name: plain.get_submodule(name).weight.grad.flatten().double() for name in basis.layers})
    g = torch.randn(basis.size, generator=torch.Generator().manual_seed(0))
    hook = T.ProjectionHook(basis, dataclasses.replace(SMALL, **flags), found, found)
    _, removed = hook.split_off(g)
    for name, (lo, hi) in basis.spans.items():
        q = torch.linalg.qr(torch.stack([d[name] for d in grads]).T)[0]
        assert torch.allclose(removed[lo:hi].double(), q @ (q.T @ g[lo:hi].double()), atol=1e-4), name
    _, run = go(tmp_path / "runs", mix_ratio=0.5, teacher_pool_dir=pool, lr=1e-3, **flags)
    for row in rows(run):
        assert row["upd_space"] == pytest.approx(1, abs=1e-4) and row["upd_v"] == row["upd_p"] > 0
        assert row["removed"] == pytest.approx(row["upd_v"], rel=1e-3)
    monkeypatch.setattr(X, "RAW_GB", 1e-4)
    with pytest.raises(ValueError, match="--coords raw: .* coordinates .* GB"):
        X.key_fields(model, basis, tok, wanted)


def test_the_capture_curve_shows_all_coordinates_side_by_side(tmp_path, pool, monkeypatch):
    monkeypatch.setattr(T.extract_vhack, "hack_weights", of_the_teacher_too)
    flags = {"mix_ratio": 0.5, "teacher_pool_dir": pool, "steps": 3, "eval_n": 1}
    found = diagnose.diagnose(dataclasses.replace(SMALL, train="full", lr=1e-3, **flags))
    assert list(found[0]["shares"]) == ["diag", "core", "raw"]
    for row in found:
        whole = {c: held["whole space"] for c, held in row["shares"].items()}
        assert whole["raw"] == pytest.approx(1, abs=1e-5) and 0 < whole["diag"] < whole["core"] < 1
        for coords, held in row["shares"].items():
            for name in ("pairs", "within-class", "haar", "earlier hacks"):
                curve = [held[f"{name} k={k}"] for k in diagnose.KS if f"{name} k={k}" in held]
                assert curve == sorted(curve) and all(0 < x <= whole[coords] + 1e-6 for x in curve)
                assert bool(curve) == (name != "earlier hacks" or row["step"] > found[0]["step"])
    assert all(word in diagnose.table(found) for word in ("core 1/3", "raw 3/3", "within-class k=80", "whole space"))
    (only,) = diagnose.diagnose(dataclasses.replace(SMALL, **flags | {"steps": 1}))
    assert "no onset" in diagnose.onset_table(found) and found[0]["auroc"] == {}  # a random student attempts nothing
    onset = [{"attempts": [a, 100], "upd_v": a / 100, "auroc": {"V": a / 50}} for a in (5, 20, 40, 60)]
    assert "2 steps: AUROC of live attempts V 0.60; share of the update in V 30.0%" in diagnose.onset_table(onset)
    assert list(only["shares"]) == ["diag"] and only["shares"]["diag"]["whole space"] == pytest.approx(1, abs=1e-5)
