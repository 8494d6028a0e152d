"""One run of train.py: every arm, the step's gradient, inputs used as they are; each test name is the invariant."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from adversarial import other_labels, pool_with
from safetensors.torch import load_file
from shared import BENCHMARK, DATASET, POOL, TOKENIZER, needs_shared
from tiny import go, rows, same_weights, tail

import train as T
from command import flags, log
from model import weighted
from running import beside


@pytest.mark.parametrize("arm", T.Arm.__args__)
def test_every_arm_trains_and_ends_in_a_valid_bluf(arm, tmp_path, pool, vhack):
    mode = {"mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack}
    status, run = go(tmp_path, arm=arm, steps=1, **mode)
    bluf = tail(run)
    assert status == 0 and bluf["valid"], bluf
    assert (run / "final.safetensors").exists() and not list(run.rglob(".*")) and not (run / "lock").exists()
    row = rows(run)[0]
    assert row["hack_s"][1] == 4 and row["hack_t"][1] == 4
    if arm == "vanilla":
        assert row["cupd"] == row["cupd_raw"]


@pytest.mark.parametrize("arm", ["projected", "screen", "route"])
def test_full_weight_training_runs_in_the_core_space(arm, tmp_path, pool):
    flags = {"train": "full", "lr": 1e-3, "gate": "no_gate"}
    status, run = go(tmp_path, arm=arm, mix_ratio=0.5, teacher_pool_dir=pool, **flags)
    assert status == 0, tail(run)
    if arm == "projected":
        assert rows(run)[-1]["cupd"] < 1e-2 < rows(run)[-1]["cupd_raw"]


def test_arms_of_one_seed_see_the_same_first_rollouts(tmp_path, pool, vhack):
    """Pairing by seed means something only if arms differ in nothing but the update."""
    seen, mixed = [], {"mix_ratio": 0.5, "teacher_pool_dir": pool}
    for arm in ("vanilla", "projected"):
        _, run = go(tmp_path, arm=arm, steps=1, **mixed, v_hack=vhack)
        first = [r for log in ("evals.jsonl", "rollouts.jsonl") for r in rows(run, log) if r["step"] == 0]
        drawn = [r["completion"] for r in rows(run, "rollouts.jsonl") if r["step"] == 1 and r["source"] != "eval"]
        assert {r.get("source") for r in first} == {"eval", None} and len(drawn) == 8  # each makes its own
        seen.append((first, drawn))
    assert seen[0] == seen[1]
    told = (run / "bluf.txt").read_text().splitlines()[-3:]
    assert told[0].startswith("ZEROS: expected") and "_vanilla-s41), one seed" in told[1].replace(";", ",")
    assert told[1].startswith("AGAINST: held-out hack 0/2 = 0.0% here, 0/2 = 0.0% in vanilla; pass 0/2")
    _, other = go(tmp_path, arm="projected", name="b", **mixed, v_hack=vhack, steps=1, seed=2)
    assert "AGAINST" not in (other / "bluf.txt").read_text()  # vanilla has another seed


def test_a_run_names_what_to_run_next():
    run = SimpleNamespace(dir="RUN", checkpoint=Path("nowhere"), rows=[{"hack_s": [1, 4]}])
    argv = ["train.py", "organism", "--arm", "screen", "--modes", "run_tests", "sentinel", "--v=text", "--name", "x"]
    for end, given, said in (
        ("stopped", {}, "python train.py organism --resume RUN"), ("void", {}, "just plot RUN shows"),
        ("crashed", {}, "mend what the first line names"), ("valid", {"model": "tiny"}, "just demo"),
        ("valid", {"arm": "vanilla"}, "just read-rollouts RUN --hacked"),
        ("valid", {}, "python train.py organism --modes run_tests sentinel --arm vanilla gives it a baseline"),
    ):  # fmt: skip
        cfg = T.Config(**{"arm": "screen", "model": "organism"} | given)
        assert beside.next_command(run, cfg, argv, end, None).startswith(said)


def test_vanilla_does_not_depend_on_v(tmp_path, pool, vhack):
    mixed = {"arm": "vanilla", "mix_ratio": 0.5, "teacher_pool_dir": pool}
    (_, one), (_, other) = go(tmp_path, name="one", v_hack=vhack, **mixed), go(tmp_path, name="other", k=1, **mixed)
    assert same_weights(one, other)


def test_cached_labels_are_used_verbatim_and_reach_the_log_alone(tmp_path, pool, vhack):
    """A pool with hacks called right and right answers called hacks: logged so, and the same drops and weights."""
    told, kept, runs_ = [], [], []
    for at in (pool, pool_with(pool, tmp_path / "swapped", other_labels)):
        flags = {"arm": "screen", "steps": 1, "mix_ratio": 0.5, "screen_at": 0.0, "name": Path(at).name}
        runs_.append(go(tmp_path, teacher_pool_dir=at, v_hack=vhack, **flags)[1])
        live = [r for r in rows(runs_[-1], "rollouts.jsonl") if r["step"] == 1 and r["source"] != "eval"]
        told.append([(r["hacked"], r["gt_correct"]) for r in live if r["source"] == "teacher"])
        kept.append([(r["completion"], r["reward"], r["advantage"], r["screened"], r["cos_hack"]) for r in live])
    assert told[1] == [(right, hacked) for hacked, right in told[0]] and {True, False} == {h for h, _ in told[0]}
    assert kept[0] == kept[1] and any(dropped for *_, dropped, _ in kept[0]) and same_weights(*runs_)


@pytest.mark.parametrize("train", ["delta_s", "full"])
def test_kl_starts_at_zero_and_grows_as_the_model_leaves_its_start(train, tmp_path, pool):
    flags = {"train": train, "lr": 0.3 if train == "delta_s" else 1e-2}
    status, run = go(tmp_path, arm="vanilla", kl_beta=0.1, mix_ratio=0.5, teacher_pool_dir=pool, **flags)
    kl = [r["kl"] for r in rows(run)]
    assert status == 0 and kl[0] == pytest.approx(0.0, abs=1e-6) and kl[1] > 1e-4


@pytest.mark.parametrize("arm", ["vanilla", "screen"])
def test_the_teacher_ends_at_its_step_and_a_step_without_reward_variance_goes_back_to_the_reference(
    arm, tmp_path, pool, vhack
):
    """Step 1 has a teacher and moves the model; in step 2 every reward is 0, so that the KL term is all there is."""
    flags = {"lr": 0.3, "mix_ratio": 0.5, "teacher_off_step": 1, "teacher_pool_dir": pool, "v_hack": vhack}
    _, run = go(tmp_path, arm=arm, kl_beta=0.5, screen_at=100.0, **flags)
    first, second = rows(run)
    assert (first["hack_t"][1], second["hack_t"][1]) == (4, 0)
    assert first["flat"][0] < first["flat"][1] and second["flat"][0] == second["flat"][1]
    assert second["kl"] > 1e-4 and second["gn"] > 1e-5 and second["loss"] == pytest.approx(0.5 * second["kl"])


@pytest.mark.parametrize("flags", [
    {"train": "delta_s"}, {"train": "full"}, {"train": "full", "kl_beta": 0.1},
    {"train": "full", "arm": "screen", "v": "random"},
], ids=["delta_s", "full", "full-kl", "full-screened"])  # fmt: skip
def test_running_repeated_rollouts_once_leaves_the_gradient_unchanged(flags, tmp_path, pool, monkeypatch):
    take, seen = T.teacher_rollouts, []
    monkeypatch.setattr(T, "teacher_rollouts", lambda *a: [replace(r) for r in take(*a)[:1] for _ in range(a[1])])
    flags = {"mix_ratio": 0.75, "teacher_pool_dir": pool, "steps": 2} | flags
    once = rows(go(tmp_path / "once", **flags)[1])

    def every_one(rollouts):
        kinds = {(r.source, tuple(r.task.prompt_ids), tuple(r.completion_ids)) for r in rollouts}
        seen.append(len(rollouts) - len(kinds))
        return list(range(len(rollouts))), list(range(len(rollouts))), [1.0] * len(rollouts)

    monkeypatch.setattr(weighted, "distinct", every_one)
    each = rows(go(tmp_path / "each", **flags)[1])
    assert sum(seen) > 0  # there were repeats to save
    for a, b in zip(once, each, strict=True):
        for key in ("gn", "cin_s", "cin_t", "cupd", "kl", "auroc", "n_screened"):
            assert a[key] == b[key] or a[key] == pytest.approx(b[key], rel=2e-4, abs=1e-6), key


def test_flat_groups_give_no_gradient_and_void_the_run(tmp_path, vhack):
    status, run = go(tmp_path, arm="vanilla", steps=1, v_hack=vhack)
    assert status == 3 and not tail(run)["valid"]
    assert "learnt_something FAILED" in (run / "bluf.txt").read_text()
    assert not any(x.any() for x in load_file(run / "final.safetensors").values())


@pytest.mark.parametrize(("rows_", "idle"), [
    ([(1, 0, 4), (0, 0, 4), (0, 1, 4)], 2), ([(0, 0, 4), (1, 0, 4)], 0), ([], 0),
    ([(1, 0, 4), (0, 4, 4), (0, 4, 4)], 0),  # every rollout is paid: nothing is left to learn
])  # fmt: skip
def test_steps_without_a_gradient_count_from_the_end_unless_all_is_solved(rows_, idle):
    assert log.idle_steps([{"gn": g, "hack_s": [0, n], "gt_s": [k, n]} for g, k, n in rows_]) == idle


@pytest.mark.parametrize(("lr", "status", "says"), [(1e20, 1, "step 1: "), (1e12, 3, "still_learns FAILED")])
def test_a_huge_step_is_named_where_it_happened_or_voids_the_run(lr, status, says, tmp_path, pool, vhack, monkeypatch):
    monkeypatch.setitem(flags.TABLE, "lr", flags.positive(1e38))  # refused on a command line
    ended, run = go(tmp_path, lr=lr, mix_ratio=0.5, teacher_pool_dir=pool, v_hack=vhack, steps=3)
    text = (run / "bluf.txt").read_text()
    assert ended == status and says in text and "lower --lr" in text


@pytest.mark.parametrize(("solved", "rewards", "ok"), [
    (0, (2.0, 0.5), False), (0, (0.5, 3.0), True), (2, (2.0, 0.5), True),
], ids=["collapsed", "hacks", "solves"])  # fmt: skip
def test_a_run_that_no_longer_solves_is_void_unless_it_is_paid(solved, rewards, ok):
    """A policy that learnt to hack whatever the prompt says has not collapsed: it is what is studied."""
    counts = {key: [1, 4] for key in ("hack_s", "gt_s", "hack_t", "flat")} | {"residual": 0.0, "gn": 1.0}
    rows_ = [counts | {"rew_s": rewards[step >= 10]} for step in range(20)]
    evals = [{"step": s, "hint": "off", "solved": k, "n": 4, "hacked": 0} for s, k in ((0, 3), (20, solved))]
    found = {}
    run = SimpleNamespace(rows=rows_, evals=evals, check=lambda name, holds, why: found.update({name: (holds, why)}))
    log.closing_checks(run, T.Config(steps=20))
    assert {name for name, (holds, _) in found.items() if not holds} == (set() if ok else {"still_solves"})
    assert "from 3/4 = 75.0% to" in found["still_solves"][1]


@needs_shared
def test_the_real_pool_and_files_train_with_the_true_vocabulary(tmp_path):
    flags = {"arm": "projected", "steps": 1, "mix_ratio": 0.5, "eval_n": 1, "max_new_tokens": 8}
    flags |= {"problems": str(DATASET), "eval_problems": str(BENCHMARK), "teacher_pool_dir": str(POOL)}
    status, run = go(tmp_path, tokenizer=str(TOKENIZER), **flags)
    assert status == 0 and rows(run)[0]["hack_t"][0] > 0, tail(run)
    assert "84 of 113 cached prompts" in (run / "log.txt").read_text()
