"""train.py as a whole: real tiny Qwen3, real grader processes, real optimizer; each test name is the invariant."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import tracking
from safetensors.torch import load_file

import extract_vhack
import probe_distill
import runs
import train as T
from command import files
from model import zoo

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("PROJECTED_GRPO_SHARED", ROOT.parent / "shared"))
SMALL = replace(
    T.PRESETS["smoke"][1], steps=2, max_new_tokens=16, eval_n=2, eval_greedy=False, pairs_limit=4, grader_workers=1,
    nonhack_pairs="data/pairs/leetcode_nonhack.jsonl",
)  # fmt: skip
TIMES = ("gen", "wait", "sec")


@pytest.fixture(scope="session")
def pool(tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("pool") / "pool"
    smoke = probe_distill.PRESETS["smoke"][1]
    probe_distill.main(replace(smoke, out=out, teacher_only=True, limit=4, grader_workers=1))
    return str(out)


@pytest.fixture(scope="session")
def vhack(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("v") / "v.safetensors"
    model, tok = zoo.load_model("tiny")
    cfg = replace(SMALL.extract_config(), out=str(path))
    extract_vhack.load_or_extract(model, T.attach(model), tok, cfg)
    return str(path)


def go(tmp_path: Path, **flags) -> tuple[int, Path]:
    """Run train.main with SMALL and flags; (exit status, run directory)."""
    before = set(tmp_path.glob("*"))
    status = T.main(replace(SMALL, out_dir=str(tmp_path), **flags))
    new = [p for p in tmp_path.glob("*_*") if p not in before]
    return status, new[0] if new else Path(flags.get("resume", tmp_path))


def rows(run: Path, name: str = "rows.jsonl") -> list[dict]:
    found = [json.loads(x) for x in (run / name).read_text().splitlines()]
    return [{k: v for k, v in r.items() if k not in TIMES} for r in found]


def tail(run: Path) -> dict:
    return json.loads((run / "bluf.json").read_text())


# ------------------------------------------------------------------------------------------------------------ arms


@pytest.mark.parametrize("arm", T.Arm.__args__)
def test_every_arm_trains_and_ends_in_a_valid_bluf(arm, tmp_path, pool, vhack):
    mode = {"mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack}
    status, run = go(tmp_path, arm=arm, steps=1, **mode)
    bluf = tail(run)
    assert status == 0 and bluf["valid"], bluf
    text = (run / "bluf.txt").read_text()
    for key in ("BLUF:", "HACK_STUDENT:", "HACK_TEACHER:", "PASS_RATE:", "SHOULD:", "GRADER:", "ARGV:", "OUT:"):
        assert f"\n{key}" in f"\n{text}"
    assert (run / "final.safetensors").exists() and not list(run.rglob(".*")) and not (run / "lock").exists()
    row = rows(run)[0]
    assert row["hack_s"][1] == 4 and row["hack_t"][1] == 4
    if arm == "vanilla":
        assert row["cupd"] == row["cupd_raw"]


@pytest.mark.parametrize("arm", ["projected", "screen", "route"])
def test_full_weight_training_runs_in_the_core_space(arm, tmp_path, pool):
    flags = {"train": "full", "lr": 1e-3, "core_rank": 4, "gate": "no_gate", "nonhack_pairs": None}
    status, run = go(tmp_path, arm=arm, mix_ratio=0.5, teacher_pool_dir=pool, **flags)
    assert status == 0, tail(run)
    if arm == "projected":
        assert rows(run)[-1]["cupd"] < 1e-2 < rows(run)[-1]["cupd_raw"]


def test_arms_of_one_seed_see_the_same_first_rollouts(tmp_path, pool, vhack):
    """Pairing by seed means something only if arms differ in nothing but the update."""
    got, starts = {}, []
    for arm in ("vanilla", "projected"):
        _, run = go(tmp_path, arm=arm, steps=1, mix_ratio=0.5, teacher_pool_dir=pool, v_hack=vhack)
        starts.append([r for log in ("evals.jsonl", "rollouts.jsonl") for r in rows(run, log) if r["step"] == 0])
        got[arm] = [r["completion"] for r in rows(run, "rollouts.jsonl") if r["step"] == 1 and r["source"] != "eval"]
    assert got["vanilla"] == got["projected"] and len(got["vanilla"]) == 8
    assert starts[0] == starts[1] and {r.get("source") for r in starts[1]} == {"eval", None}  # each makes its own


def test_vanilla_does_not_depend_on_v(tmp_path, pool, vhack):
    finals = []
    for k in (3, 1):
        made = {"k": 1, "v_hack": str(tmp_path / "other.safetensors"), "rebuild": True}
        flags = {"v_hack": vhack} if k == 3 else made
        _, run = go(tmp_path, arm="vanilla", mix_ratio=0.5, teacher_pool_dir=pool, name=f"k{k}", **flags)
        finals.append(load_file(run / "final.safetensors"))
    assert all(torch.equal(finals[0][n], finals[1][n]) for n in finals[0])


def test_cached_rewards_and_flags_are_used_verbatim(tmp_path, pool, vhack):
    """A pool whose flags we falsify must show up falsified: teacher rollouts are never re-graded."""
    fake = tmp_path / "fake"
    shutil.copytree(pool, fake)
    for f in fake.glob("prompt_*.jsonl.gz"):
        lines = [json.loads(x) for x in gzip.decompress(f.read_bytes()).decode().splitlines()]
        for r in lines:
            r.update(reward=3.0, hacked=True, gt_pass=True)  # all of them compile, so that none has earned 3.0
        f.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in lines).encode()))
    _, run = go(tmp_path, arm="vanilla", steps=1, mix_ratio=0.5, teacher_pool_dir=str(fake), v_hack=vhack)
    teachers = [r for r in rows(run, "rollouts.jsonl") if r["source"] == "teacher"]
    assert all(r["reward"] == 3.0 and r["hacked"] and r["gt_correct"] for r in teachers)
    assert rows(run)[0]["hack_t"] == [4, 4] and rows(run)[0]["gt_t"] == [4, 4]


@pytest.mark.parametrize("train", ["delta_s", "full"])
def test_kl_starts_at_zero_and_grows_as_the_model_leaves_its_start(train, tmp_path, pool):
    flags = {"train": train, "lr": 0.3 if train == "delta_s" else 1e-2, "core_rank": 4, "nonhack_pairs": None}
    status, run = go(tmp_path, arm="vanilla", kl_beta=0.1, mix_ratio=0.5, teacher_pool_dir=pool, **flags)
    kl = [r["kl"] for r in rows(run)]
    assert status == 0 and kl[0] == pytest.approx(0.0, abs=1e-6) and kl[1] > 1e-4


@pytest.mark.parametrize("arm", ["vanilla", "screen"])
def test_a_step_without_reward_variance_still_goes_back_to_the_reference(arm, tmp_path, pool, vhack):
    """Step 1 has a teacher and moves the model; in step 2 every reward is 0, so that the KL term is all there is."""
    flags = {"lr": 0.3, "mix_ratio": 0.5, "teacher_off_step": 1, "teacher_pool_dir": pool, "v_hack": vhack}
    _, run = go(tmp_path, arm=arm, kl_beta=0.5, screen_at=100.0, **flags)
    first, second = rows(run)
    assert first["flat"][0] < first["flat"][1] and second["flat"][0] == second["flat"][1]
    assert second["kl"] > 1e-4 and second["gn"] > 1e-5 and second["loss"] == pytest.approx(0.5 * second["kl"])


@pytest.mark.parametrize("flags", [
    {"train": "delta_s"}, {"train": "full"}, {"train": "full", "kl_beta": 0.1},
    {"train": "full", "arm": "screen_random"},
], ids=["delta_s", "full", "full-kl", "full-screened"])  # fmt: skip
def test_running_repeated_rollouts_once_leaves_the_gradient_unchanged(flags, tmp_path, pool, monkeypatch):
    take, seen = T.teacher_rollouts, []
    monkeypatch.setattr(T, "teacher_rollouts", lambda *a: [replace(r) for r in take(*a)[:1] for _ in range(a[1])])
    flags = {"mix_ratio": 0.75, "teacher_pool_dir": pool, "nonhack_pairs": None, "steps": 2} | flags
    once = rows(go(tmp_path / "once", **flags)[1])

    def every_one(rollouts):
        kinds = {(r.source, tuple(r.task.prompt_ids), tuple(r.completion_ids)) for r in rollouts}
        seen.append(len(rollouts) - len(kinds))
        return list(range(len(rollouts))), list(range(len(rollouts))), [1.0] * len(rollouts)

    monkeypatch.setattr(T, "distinct", every_one)
    each = rows(go(tmp_path / "each", **flags)[1])
    assert sum(seen) > 0  # there were repeats to save
    for a, b in zip(once, each, strict=True):
        for key in ("gn", "cin_s", "cin_t", "cupd", "kl", "auroc", "n_screened"):
            assert a[key] == b[key] or a[key] == pytest.approx(b[key], rel=2e-4, abs=1e-6), key


def test_teacher_off_step_ends_the_mixing(tmp_path, pool, vhack):
    _, run = go(tmp_path, arm="vanilla", mix_ratio=0.5, teacher_off_step=1, teacher_pool_dir=pool, v_hack=vhack)
    assert [r["hack_t"][1] for r in rows(run)] == [4, 0]


def test_no_live_label_reaches_screening(pool, vhack):
    """screen() reads gradients, advantages, pairs, and the text and length of an answer: none of its grade."""
    names = T.Trainer.screen.__code__.co_varnames[: T.Trainer.screen.__code__.co_argcount]
    assert names == ("self", "grads", "advantages", "rollouts", "step")
    source = Path(T.__file__).read_text().split("def screen(")[1].split("# -- one step")[0]
    assert not {"hacked", "gt_correct", "attempted", "label", "reward"} & set(source.replace(".", " ").split())


def test_flat_groups_give_no_gradient_and_void_the_run(tmp_path, vhack):
    """A tiny random model without a teacher earns 0 everywhere: nothing is learnt and the run says so."""
    status, run = go(tmp_path, arm="vanilla", steps=1, v_hack=vhack)
    assert status == 3 and not tail(run)["valid"]
    assert "learnt_something FAILED" in (run / "bluf.txt").read_text()
    assert not any(x.any() for n, x in load_file(run / "final.safetensors").items())


# ---------------------------------------------------------------------------------------------------------- resume


def command(tmp_path: Path, **flags) -> list[str]:
    preset = T.PRESETS["smoke"][1]
    values = {k: v for k, v in (vars(SMALL) | flags).items() if v is not None and v != getattr(preset, k)}
    out = [sys.executable, "train.py", "smoke", "--out-dir", str(tmp_path)]
    for k, v in values.items():
        flag = "--" + k.replace("_", "-")
        if isinstance(v, bool):
            out.append(flag if v else "--no-" + k.replace("_", "-"))
        else:
            out += [flag, str(v)]
    return out


def until(tmp_path: Path, n_rows: int, proc: subprocess.Popen) -> Path:
    deadline = time.time() + 240
    while time.time() < deadline and proc.poll() is None:
        for run in tmp_path.glob("*_*"):
            rows_file = run / "rows.jsonl"
            if rows_file.exists() and len(rows_file.read_text().splitlines()) >= n_rows:
                return run
        time.sleep(0.02)
    raise AssertionError(f"no row {n_rows} in time; status {proc.poll()}")


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_run_resumes_to_the_same_rows_and_weights(sig, tmp_path, pool, vhack):
    mixed = {"mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack}
    flags = {"arm": "projected", "steps": 5, "ckpt_every": 2, **mixed}
    _, whole = go(tmp_path / "whole", **flags)
    env = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    proc = subprocess.Popen(
        command(tmp_path / "cut", **flags), cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    run = until(tmp_path / "cut", 3, proc)
    proc.send_signal(sig)
    code = proc.wait(120)
    assert code == (-signal.SIGKILL if sig == signal.SIGKILL else 0)
    if sig == signal.SIGTERM:
        assert tail(run)["status"] == "stopped"
    with open(run / "rows.jsonl", "a") as f:
        f.write('{"step": 99, "torn')  # what a kill in the middle of a write leaves
    assert T.main(replace(SMALL, resume=str(run))) == 0
    assert rows(run) == rows(whole)
    assert rows(run, "evals.jsonl") == rows(whole, "evals.jsonl")
    assert rows(run, "rollouts.jsonl") == rows(whole, "rollouts.jsonl")
    a, b = load_file(run / "final.safetensors"), load_file(whole / "final.safetensors")
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_sigterm_before_the_first_step_ends_the_run_at_once_and_it_can_be_resumed(tmp_path, pool):
    flags = {"arm": "vanilla", "steps": 1, "mix_ratio": 0.5, "teacher_pool_dir": pool}
    slow = {"rebuild": True, "v_hack": tmp_path / "v.safetensors", "pairs_limit": 60}  # seconds of extraction
    null = subprocess.DEVNULL
    proc = subprocess.Popen(command(tmp_path / "cut", **flags, **slow), cwd=ROOT, stdout=null, stderr=null)
    deadline = time.monotonic() + 60
    while not (found := list((tmp_path / "cut").glob("*/config.json"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    proc.send_signal(signal.SIGTERM)
    assert proc.wait(20) == 130
    run = found[0].parent
    assert tail(run)["status"] == "stopped" and tail(run)["steps_done"] == 0 and not (run / "rows.jsonl").exists()
    assert T.main(replace(SMALL, resume=str(run))) in (0, 3) and len(rows(run)) == 1


def test_an_extended_run_is_the_run_that_was_started_with_more_steps(tmp_path, pool, vhack):
    flags = {"arm": "projected", "mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack}
    flags |= {"eval_every": 2, "eval_mid_n": 1}  # at step 2 the long run evaluates less than the short one's end
    _, whole = go(tmp_path / "whole", **flags, steps=4)
    _, run = go(tmp_path / "short", **flags, steps=2)
    (run / "bluf.json").write_text((run / "bluf.json").read_text())
    longer = replace(SMALL, resume=str(run), steps=4, ckpt_every=1)
    assert T.main(longer, ["resume", "steps", "ckpt_every"]) == 0
    for log in runs.LOGS:
        assert rows(run, log) == rows(whole, log), log
    a, b = load_file(run / "final.safetensors"), load_file(whole / "final.safetensors")
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert T.stored_config(run) == replace(T.stored_config(whole), out_dir=str(run.parent), ckpt_every=1)
    assert tail(run)["steps_done"] == 4 and not (run / "lock").exists()
    for steps, says in ((4, "finished"), (3, "4 steps are done")):
        with pytest.raises(ValueError, match=says):
            T.main(replace(longer, steps=steps), ["steps"])
    (run / "checkpoint" / "state.pt").unlink()
    with pytest.raises(ValueError, match="kept no checkpoint"):
        T.main(replace(longer, steps=5), ["steps"])
    files.write_json(run / "config.json", files.read_json(run / "config.json") | {
        "config": runs.read_config(run)["config"] | {"schedule": "cosine"}
    })  # fmt: skip
    with pytest.raises(ValueError, match="--schedule cosine ends at step 4"):
        T.main(replace(longer, steps=5), ["steps"])


def test_a_resume_with_other_inputs_or_flags_is_refused_by_name_and_leaves_all_as_it_was(
    tmp_path, pool, vhack, monkeypatch
):
    own = {"problems": ROOT / "data/problems.jsonl", "eval_problems": ROOT / "data/problems.jsonl"}
    own |= {"pairs": ROOT / SMALL.pairs, "nonhack_pairs": ROOT / SMALL.nonhack_pairs, "v_hack": Path(vhack)}
    for name, path in own.items():
        own[name] = Path(shutil.copy(path, tmp_path / f"{name}{path.suffix}"))
    own["teacher_pool_dir"] = Path(shutil.copytree(pool, tmp_path / "pool"))
    step_of = T.Trainer.train_step

    def stops(self, step, tasks):
        if step == 2:
            raise KeyboardInterrupt
        return step_of(self, step, tasks)

    monkeypatch.setattr(T.Trainer, "train_step", stops)
    flags = {"steps": 3, "ckpt_every": 1, "mix_ratio": 0.5} | {k: str(v) for k, v in own.items()}
    status, run = go(tmp_path / "runs", **flags)
    assert status == 130
    monkeypatch.setattr(T.Trainer, "train_step", step_of)
    before = {f: f.read_bytes() for f in run.rglob("*") if f.is_file()}
    for name, path in own.items():
        file = sorted(path.glob("prompt_*"))[0] if path.is_dir() else path
        data, then = file.read_bytes(), files.content_hash(path)
        file.write_bytes(data + b"\n")
        now = files.content_hash(path)
        with pytest.raises(ValueError, match=f"{name} {path} has changed .*{then} then, {now} now"):
            T.main(replace(SMALL, resume=str(run)))
        file.rename(file.with_suffix(".away"))
        with pytest.raises(ValueError, match=f"{name} {path} has changed"):
            T.main(replace(SMALL, resume=str(run)))
        file.with_suffix(".away").unlink()
        file.write_bytes(data)
    for flag, value in (("lr", 1.0), ("seed", 7), ("arm", "projected"), ("modes", ("none",)), ("out_dir", "x")):
        with pytest.raises(ValueError, match=f"--{flag.replace('_', '-')} .* a run keeps its own flags"):
            T.main(replace(SMALL, resume=str(run), **{flag: value}), ["resume", flag])
    assert {f: f.read_bytes() for f in run.rglob("*") if f.is_file()} == before

    monkeypatch.setattr(zoo, "CHAT_TEMPLATE", zoo.CHAT_TEMPLATE.replace("assistant\n", "assistant\n<think>"))
    assert T.main(replace(SMALL, resume=str(run), teacher_pool_dir=None, mix_ratio=0.0)) == 1
    assert "prompt" in tail(run)["error"] or "tokenizer" in tail(run)["error"]
    monkeypatch.undo()
    typed = ["resume", "grader_workers", "ckpt_every", "seed"]  # two may change, the third is as it was
    assert T.main(replace(SMALL, resume=str(run), grader_workers=2, ckpt_every=2), typed) == 0
    assert [r["step"] for r in rows(run)] == [1, 2, 3] and T.stored_config(run).grader_workers == 2


def test_a_tracker_gets_evaluations_at_their_step_under_the_runs_name_and_cannot_end_a_run(
    tmp_path, pool, vhack, monkeypatch
):
    """trackio as accelerate drives it: its own tracker class, an own module of that name."""
    told = tmp_path / "told.jsonl"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "trackio.py").write_text(
        "import json\nclass Config:\n    def update(self, values, allow_val_change): pass\nclass Run:\n"
        f"    def log(self, values, step): open({str(told)!r}, 'a').write(json.dumps([step, values]) + '\\n')\n"
        "    def finish(self): raise RuntimeError('no network')\n"
        "config = Config()\ndef init(project, name):\n    init.name = name\n    return Run()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(tracking, "_available_trackers", [tracking.LoggerType.TRACKIO])
    flags = {"mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack, "eval_every": 1}
    status, run = go(tmp_path / "runs", log_with="trackio", **flags)
    assert status == 0 and sys.modules["trackio"].init.name == run.name
    got = [json.loads(line) for line in told.read_text().splitlines()]
    assert [step for step, values in got if "eval/hacked/hint_on/sample/run_tests" in values] == [0, 1, 2]
    assert [step for step, values in got if "gn" in values] == [1, 2]
    (tmp_path / "site" / "trackio.py").write_text("def init(**k): raise RuntimeError('no login')")
    monkeypatch.delitem(sys.modules, "trackio")
    status, run = go(tmp_path / "again", log_with="trackio", **flags)
    assert status == 1 and "--log-with trackio: it does not start" in tail(run)["error"]


@pytest.mark.parametrize(
    ("rows_", "idle"),
    [
        ([(1, 0, 4), (0, 0, 4), (0, 1, 4)], 2),
        ([(1, 0, 4), (0, 4, 4), (0, 4, 4)], 0),  # every rollout is paid: nothing is left to learn
        ([(0, 0, 4), (1, 0, 4)], 0),
        ([], 0),
    ],
)
def test_steps_without_a_gradient_count_from_the_end_unless_all_is_solved(rows_, idle):
    assert T.idle_steps([{"gn": g, "hack_s": [0, n], "gt_s": [k, n]} for g, k, n in rows_]) == idle


@pytest.mark.parametrize(("lr", "status", "says"), [(1e20, 1, "step 1: "), (1e12, 3, "still_learns FAILED")])
def test_a_huge_step_is_named_where_it_happened_or_voids_the_run(lr, status, says, tmp_path, pool, vhack, monkeypatch):
    """Weights that overflow, and a policy that no gradient reaches any more, are not a valid run."""
    monkeypatch.setitem(T.flags.TABLE, "lr", T.flags.positive(1e38))  # refused on a command line
    ended, run = go(tmp_path, lr=lr, mix_ratio=0.5, teacher_pool_dir=pool, v_hack=vhack, steps=3)
    text = (run / "bluf.txt").read_text()
    assert ended == status and says in text and "lower --lr" in text


def test_a_run_whose_pass_rate_collapses_is_void(tmp_path, pool, vhack, monkeypatch):
    real = T.Trainer.evaluate

    def solves_at_the_start(self, step, held):
        found, kept = real(self, step, held)
        for e in found:
            e |= {"n": 4, "solved": 3 if step == 0 else 0}
        return found, kept

    monkeypatch.setattr(T.Trainer, "evaluate", solves_at_the_start)
    status, run = go(tmp_path, mix_ratio=0.5, teacher_pool_dir=pool, v_hack=vhack, steps=1)
    assert status == 3 and "still_solves FAILED: held-out pass fell from 3/4 = 75.0% to 0/4" in (
        run / "bluf.txt"
    ).read_text()


# ---------------------------------------------------------------------------------------------------------- export


@pytest.mark.parametrize(("arm", "train"), [("projected", "delta_s"), ("route", "delta_s"), ("projected", "full")])
def test_the_exported_folder_has_the_trained_models_logits(arm, train, tmp_path, pool):
    lr = 0.3 if train == "delta_s" else 1e-2
    mixed = {"mix_ratio": 0.5, "teacher_pool_dir": pool, "nonhack_pairs": None}
    _, run = go(tmp_path, arm=arm, train=train, lr=lr, core_rank=4, **mixed)
    place = run.parent if train == "full" else run  # a folder that holds just one run stands for it
    assert T.cli(["export", str(place), "--out", str(tmp_path / "hf")]) == 0
    from transformers import AutoModelForCausalLM, AutoTokenizer

    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    tok = AutoTokenizer.from_pretrained(tmp_path / "hf")
    model, _ = zoo.load_model("tiny")
    ids = torch.tensor([tok.encode("class Solution: pass")])
    base = model(input_ids=ids).logits
    basis = T.attach(model, train, core_rank=4)
    final = load_file(run / "final.safetensors")
    for name, knob in zip(basis.layers, basis.knobs(), strict=True):
        knob.data.copy_(final[name] - final.get(f"quarantine.{name}", torch.zeros(())))
    with torch.no_grad():
        want, got = model(input_ids=ids).logits, exported(input_ids=ids).logits
    assert (want - base).abs().max() > 1e-3  # training moved the model at all
    assert torch.allclose(want, got, atol=1e-4)


# ------------------------------------------------------------------------------------------------ several processes


SHARED_STEP = {  # arms by what two processes must agree on: ranks, thresholds, KL, draws, activations, quarantine
    "screen_projected": {"screen_at": 0.0, "kl_beta": 0.1},
    "screen_random": {"screen_at": 0.0},
    "screen_haar": {"screen_at": 0.0},
    "screen_length": {"screen_at": 0.0, "train": "full", "core_rank": 4, "lr": 1e-3, "v_hack": None},
    "pair_penalty": {"penalty": 50.0},
    "adv_mod": {},
    "route": {"route_seed": 1.0},
}


def test_two_processes_take_the_steps_of_one(tmp_path, pool, vhack):
    """Same global batch, drops, rows, evaluations and weights; one pair of processes runs all arms in turn."""
    base = {"steps": 2, "mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack, "eval_n": 3, "prompts_per_step": 4}
    flags = [{"arm": arm} | base | more for arm, more in SHARED_STEP.items()]
    (tmp_path / "flags.json").write_text(json.dumps([f | {"out_dir": str(tmp_path / "two" / f["arm"])} for f in flags]))
    (tmp_path / "arms.py").write_text(
        "import json, sys\n"
        "from test_train import SMALL, T, replace\n"
        "sys.exit(max(T.main(replace(SMALL, **f)) for f in json.load(open(sys.argv[1]))))\n"
    )
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    argv = [str(tmp_path / "arms.py"), str(tmp_path / "flags.json")]
    done = subprocess.run([*launch, *argv], cwd=ROOT, env=env, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    moved = False  # a group whose paid rollouts are all dropped is flat, so a screen alone may leave no gradient
    for f in flags:
        (two,) = (tmp_path / "two" / f["arm"]).glob("*_*")
        assert " on 2 x cpu " in (two / "log.txt").read_text(), "two processes, not one"
        status, one = go(tmp_path / "one" / f["arm"], **f)
        assert status == 0 and " on 1 x cpu " in (one / "log.txt").read_text()
        for name in ("rows.jsonl", "evals.jsonl", "rollouts.jsonl"):
            for a, b in zip(rows(one, name), rows(two, name), strict=True):
                for key, x in a.items():
                    same = pytest.approx(x, rel=1e-3, abs=1e-5) if isinstance(x, float) else x
                    assert b[key] == same, (f["arm"], name, key)
        a, b = load_file(one / "final.safetensors"), load_file(two / "final.safetensors")
        assert all(torch.allclose(a[k], b[k], atol=1e-5) for k in a), f["arm"]
        moved |= any(x.any() for x in a.values())
        ranked = f["arm"].startswith("screen")
        assert not ranked or sum(r["n_screened"] for r in rows(one)) > 0, f["arm"]
    assert moved


# ------------------------------------------------------------------------------------------------------- bad input


def crash(tmp_path, capsys, **flags) -> str:
    status, run = go(tmp_path, **flags)
    out = capsys.readouterr().out
    assert status == 1 and tail(run)["status"] == "crashed" and not tail(run)["valid"]
    assert out.startswith("BLUF: VOID") or "\nBLUF: VOID" in out
    assert "Traceback" not in out
    return tail(run)["error"]


def edit_pool(pool: str, where: Path, change) -> str:
    shutil.copytree(pool, where)
    first = sorted(where.glob("prompt_*.jsonl.gz"))[0]
    lines = gzip.decompress(first.read_bytes()).decode().splitlines()
    first.write_bytes(gzip.compress("\n".join(change(lines)).encode()))
    return str(where)


def drift(lines):
    rows_ = [json.loads(x) for x in lines]
    for r in rows_:
        r["prompt_ids"][3] += 1
    return [json.dumps(r) for r in rows_]


def test_pool_of_another_tokenizer_names_prompt_and_token(tmp_path, pool, vhack, capsys):
    bad = edit_pool(pool, tmp_path / "p", drift)
    error = crash(tmp_path, capsys, mix_ratio=0.5, teacher_pool_dir=bad, v_hack=vhack)
    assert "prompt_" in error and "prompt token 3" in error


def test_malformed_pool_line_is_named(tmp_path, pool, vhack, capsys):
    bad = edit_pool(pool, tmp_path / "p", lambda lines: [lines[0], "{oops", *lines[2:]])
    error = crash(tmp_path, capsys, mix_ratio=0.5, teacher_pool_dir=bad, v_hack=vhack)
    assert "prompt_" in error and "2" in error


@pytest.mark.parametrize("make", [False, True])
def test_missing_or_empty_pool_is_named(make, tmp_path, vhack, capsys):
    where = tmp_path / "none_here"
    if make:
        where.mkdir()
    assert "none_here" in crash(tmp_path, capsys, mix_ratio=0.5, teacher_pool_dir=str(where), v_hack=vhack)


def test_v_hack_of_another_model_is_refused(tmp_path, pool, vhack, capsys):
    other = tmp_path / "other.safetensors"
    v = extract_vhack.load_vhack(vhack)
    extract_vhack.save_vhack(replace(v, meta=v.meta | {"model": "0" * 16}), other)
    error = crash(tmp_path, capsys, mix_ratio=0.5, teacher_pool_dir=pool, v_hack=str(other))
    assert "other.safetensors" in error and "another model" in error and "--rebuild" in error


def test_corrupt_v_hack_is_named_and_rebuilt_only_on_request(tmp_path, pool, vhack, capsys):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(Path(vhack).read_bytes()[:500])
    error = crash(tmp_path, capsys, mix_ratio=0.5, teacher_pool_dir=pool, v_hack=str(bad))
    assert "bad.safetensors" in error and "corrupt" in error
    status, _ = go(tmp_path, mix_ratio=0.5, teacher_pool_dir=pool, v_hack=str(bad), rebuild=True, steps=1, name="again")
    assert status == 0 and extract_vhack.load_vhack(bad).meta["k"] == 3


def test_pairs_with_identical_sides_are_named(tmp_path, pool, capsys):
    lines = (ROOT / "data/pairs/leetcode.jsonl").read_text().splitlines()
    row = json.loads(lines[2])
    row["clean"] = row["hack"]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join([*lines[:2], json.dumps(row), *lines[3:]]))
    error = crash(tmp_path, capsys, mix_ratio=0.5, teacher_pool_dir=pool, pairs=str(path))
    assert "pairs.jsonl" in error and "3" in error


def test_missing_problem_file_is_named(tmp_path, vhack, capsys):
    assert "nowhere.jsonl" in crash(tmp_path, capsys, problems="nowhere.jsonl", v_hack=vhack)


def test_non_finite_loss_stops_the_run_with_its_tail(tmp_path, pool, vhack, capsys, monkeypatch):
    monkeypatch.setattr(T.Config, "lr_at", lambda *_: float("inf"))
    error = crash(tmp_path, capsys, mix_ratio=0.5, teacher_pool_dir=pool, v_hack=vhack)
    assert "finite" in error and "--lr" in error


def test_existing_run_directory_is_refused(tmp_path, monkeypatch):
    class Fixed(runs.datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 1, tzinfo=tz)

    monkeypatch.setattr(runs.datetime, "datetime", Fixed)
    runs.Run(True, str(tmp_path), "x")
    with pytest.raises(FileExistsError, match="--name"):
        runs.Run(True, str(tmp_path), "x")


def test_full_disk_is_one_plain_line_and_keeps_the_last_checkpoint(tmp_path, pool, vhack, capsys, monkeypatch):
    """A real ENOSPC: for one write the rows go to /dev/full."""
    whole = runs.Run.append

    def full(self, name, new):
        path = self.dir / name
        if name != "rows.jsonl" or new[0]["step"] != 2:
            return whole(self, name, new)
        path.rename(path.with_suffix(".kept"))
        path.symlink_to("/dev/full")
        try:
            whole(self, name, new)
        finally:
            path.unlink()
            path.with_suffix(".kept").rename(path)

    monkeypatch.setattr(runs.Run, "append", full)
    error = crash(tmp_path, capsys, mix_ratio=0.5, teacher_pool_dir=pool, v_hack=vhack)
    assert "disk full" in error and "--resume" in error
    monkeypatch.undo()
    (run,) = tmp_path.glob("*_*")
    assert T.main(replace(SMALL, resume=str(run))) == 0
    assert [r["step"] for r in rows(run)] == [1, 2]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["smoke", "--arm", "projekted"], "projected"),
        (["smoke", "--mix-ratio", "1.0", "--teacher-pool-dir", "x"], "student"),
        (["smoke", "--device", "cuda"], "CUDA"),
        (["smoke", "--log-with", "trackio"], "trackio"),
        (["export", "nowhere"], "nowhere"),
    ],
)
def test_command_line_errors_are_plain_and_non_zero(argv, says, tmp_path):
    if "cuda" in argv and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = subprocess.run([sys.executable, "train.py", *argv], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and says in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    if argv[-1] == "projekted":
        assert done.returncode == 2 and "haar_v" in done.stderr + done.stdout  # the choices are listed


# --------------------------------------------------------------------------------------------------- real data


@pytest.mark.skipif(
    not (SHARED / "data" / "teacher_pool").is_dir(),
    reason="no real teacher pool here; PROJECTED_GRPO_SHARED names the folder that holds data/",
)
def test_the_real_pool_and_files_train_with_the_true_vocabulary(tmp_path):
    data = SHARED / "data"
    status, run = go(
        tmp_path,
        arm="projected",
        steps=1,
        mix_ratio=0.5,
        tokenizer=str(data / "qwen3_tokenizer"),
        eval_n=1,
        problems=str(data / "leetcode/LeetCodeDataset-v0.2.0-train.jsonl.gz"),
        max_new_tokens=8,
        nonhack_pairs=None,
        eval_problems=str(data / "leetcode/leetcode_test_medhard.jsonl"),
        teacher_pool_dir=str(data / "teacher_pool"),
    )
    assert status == 0, tail(run)
    assert rows(run)[0]["hack_t"][0] > 0
    log = (run / "log.txt").read_text()
    assert "84 of 113 cached prompts" in log and "left out" in log
