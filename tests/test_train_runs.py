"""train.py across its ends: stopped and resumed runs, several processes, exports, bad input in one plain line."""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import adversarial
import pytest
import torch
from accelerate import tracking
from adversarial import another_token, pool_with
from huggingface_hub import HfApi
from safetensors.torch import load_file
from tiny import ROOT, SMALL, few_pairs, go, of_the_teacher_too, rows, same_weights, tail
from transformers import AutoModelForCausalLM, AutoTokenizer

import extract_vhack
import runs
import train as T
from command import errors, files
from model import export, zoo
from model.svd_basis import attach
from running.resume import stored_config
from study.results import read_line

KILLED = """
import json, os, sys
from tiny import SMALL, T, replace
step = T.Trainer.train_step
T.Trainer.train_step = lambda self, i, tasks: os.kill(os.getpid(), 9) if i == 3 else step(self, i, tasks)
T.main(replace(SMALL, **json.loads(sys.argv[1])))
"""


def kill_after_step_3(where: Path, flags: dict) -> None:
    flags = json.dumps(flags | {"out_dir": str(where), "pairs": SMALL.pairs})
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run([sys.executable, "-c", KILLED, flags], cwd=ROOT, env=env | {"TMPDIR": str(where.parent)})
    assert done.returncode == -signal.SIGKILL and len(rows(*where.glob("*_*"))) == 3


def term_in_step_3(where: Path, flags: dict) -> None:
    step_of = T.Trainer.train_step

    def asked_to_stop(self, step, tasks):
        if step == 2:  # counted from 0
            signal.raise_signal(signal.SIGTERM)
        return step_of(self, step, tasks)

    with pytest.MonkeyPatch.context() as m:
        m.setattr(T.Trainer, "train_step", asked_to_stop)
        status, run = go(where, **flags)
    assert status == 0 and tail(run)["status"] == "stopped" and len(rows(run)) == 3


def test_a_stopped_run_resumes_to_the_same_rows_and_weights(tmp_path, pool, vhack):
    flags = {"arm": "projected", "steps": 5, "ckpt_every": 2, "mix_ratio": 0.5, "teacher_pool_dir": pool}
    flags["v_hack"] = vhack
    _, whole = go(tmp_path / "whole", **flags)
    for stop in (kill_after_step_3, term_in_step_3):
        stop(tmp_path / stop.__name__, flags)
        (run,) = (tmp_path / stop.__name__).glob("*_*")
        with open(run / "rows.jsonl", "a") as f:
            f.write('{"step": 99, "torn')  # what a kill in the middle of a write leaves
        assert T.main(replace(SMALL, resume=str(run))) == 0
        for log in runs.LOGS:
            assert rows(run, log) == rows(whole, log), (stop, log)
        assert same_weights(run, whole)


def test_sigterm_before_the_first_step_ends_the_run_at_once_and_it_can_be_resumed(tmp_path, pool, monkeypatch):
    extract = extract_vhack.load_or_extract
    monkeypatch.setattr(extract_vhack, "load_or_extract", lambda *_: signal.raise_signal(signal.SIGTERM) or 1 / 0)
    status, run = go(tmp_path, arm="vanilla", steps=1, mix_ratio=0.5, teacher_pool_dir=pool)
    assert status == 130 and tail(run)["status"] == "stopped" and tail(run)["steps_done"] == 0
    assert not (run / "rows.jsonl").exists()
    monkeypatch.setattr(extract_vhack, "load_or_extract", extract)
    assert T.main(replace(SMALL, resume=str(run))) in (0, 3) and len(rows(run)) == 1


def test_an_extended_run_is_the_run_that_was_started_with_more_steps(tmp_path, pool, vhack):
    flags = {"arm": "projected", "mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack}
    flags |= {"eval_every": 2, "eval_mid_n": 1}  # at step 2 the long run evaluates less than the short one's end
    _, whole = go(tmp_path / "whole", **flags, steps=4)
    _, run = go(tmp_path / "short", **flags, steps=2)
    longer = replace(SMALL, resume=str(run), steps=4, ckpt_every=1)
    assert T.main(longer, ["resume", "steps", "ckpt_every"]) == 0
    for log in runs.LOGS:
        assert rows(run, log) == rows(whole, log), log
    assert same_weights(run, whole)
    own = {"out_dir": str(run.parent), "ckpt_every": 1}
    assert stored_config(run, T.Config) == replace(stored_config(whole, T.Config), **own)
    assert tail(run)["steps_done"] == 4 and not (run / "lock").exists()
    no_checkpoint = (run / "checkpoint" / "state.pt").unlink
    cosine = lambda: adversarial.edit(run / "config.json", lambda m: m["config"].update(schedule="cosine"))  # noqa: E731
    for steps, spoil, says in (
        (4, None, "finished"), (3, None, "4 steps are done"), (5, no_checkpoint, "kept no checkpoint"),
        (5, cosine, "--schedule cosine ends at step 4"),
    ):  # fmt: skip
        spoil and spoil()
        with pytest.raises(ValueError, match=says):
            T.main(replace(longer, steps=steps), ["steps"])


@pytest.mark.parametrize(("v", "train"), [("oracle", "delta_s"), ("oracle", "full"), ("oracle_now", "delta_s")])
def test_an_oracle_resumes_with_its_bank_and_says_that_it_reads_labels(v, train, tmp_path, pool, monkeypatch):
    monkeypatch.setattr(extract_vhack, "hack_weights", of_the_teacher_too)
    flags = {"arm": "projected", "v": v, "train": train, "gate": "no_gate", "mix_ratio": 0.5, "teacher_pool_dir": pool}
    _, whole = go(tmp_path / "whole", **flags, steps=4)
    _, run = go(tmp_path / "short", **flags, steps=2)
    assert T.main(replace(SMALL, resume=str(run), steps=4), ["resume", "steps"]) == 0
    assert rows(run) == rows(whole) and same_weights(run, whole)
    first, *later = rows(whole)
    held = [r["hack_p"] for r in later if r["hack_p"] is not None]
    assert held and all(r["removed"] > 0 for r in later if r["hack_p"] is not None)
    if v == "oracle":
        assert first["removed"] == 0 and first["hack_p"] is None and max(held) < 0.999
    else:
        assert held == pytest.approx([1.0] * len(held), abs=1e-4) and first["removed"] > 0
    for text in ((run / "bluf.txt").read_text().splitlines()[0], (run / "log.txt").read_text()):
        assert f"projected_{v} (reads labels, an upper bound)" in text
    assert tail(run)["reads_labels"] and "reads labels" in read_line(run).arm


def test_a_resume_with_other_inputs_or_flags_is_refused_by_name_and_leaves_all_as_it_was(
    tmp_path, pool, vhack, monkeypatch
):
    own = {"problems": ROOT / "data/problems.jsonl", "eval_problems": ROOT / "data/problems.jsonl"}
    own |= {"pairs": Path(SMALL.pairs), "v_hack": Path(vhack)}
    for name, path in own.items():
        own[name] = Path(shutil.copy(path, tmp_path / f"{name}{path.suffix}"))
    few_pairs(tmp_path)  # V's own pairs, the honest ones beside them
    own["teacher_pool_dir"] = Path(shutil.copytree(pool, tmp_path / "pool"))
    step_of = T.Trainer.train_step

    def stops(self, step, tasks):
        if step == 2:
            raise KeyboardInterrupt
        return step_of(self, step, tasks)

    monkeypatch.setattr(T.Trainer, "train_step", stops)
    flags = {"steps": 3, "ckpt_every": 1, "mix_ratio": 0.5} | {k: str(v) for k, v in own.items()}
    own["nonhack_pairs"] = tmp_path / "pairs_nonhack.jsonl"
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
    assert [r["step"] for r in rows(run)] == [1, 2, 3] and stored_config(run, T.Config).grader_workers == 2


def told_to(name: str, run: Path, site: Path) -> tuple[dict[str, tuple], str]:
    """({number's name: its last (step, value)}, the tables as text) that a tracker has kept of a run."""
    if name == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        read = EventAccumulator(str(run)).Reload()
        tables = str([read.Tensors(tag)[-1].tensor_proto.string_val for tag in read.Tags()["tensors"]])
        last = {tag: read.Scalars(tag)[-1] for tag in read.Tags()["scalars"]}
        return {tag: (e.step, e.value) for tag, e in last.items()}, tables
    if name == "wandb":
        (log,) = run.glob("wandb/offline-run-*/*.wandb")
        return wandb_history(log), str([f.read_text() for f in log.parent.rglob("*.table.json")])
    with contextlib.closing(sqlite3.connect(site / "projected_grpo.db")) as db:
        said = db.execute("select step, metrics from metrics where run_name = ? order by step", [run.name]).fetchall()
    return {k: (step, v) for step, text in said for k, v in json.loads(text).items()}, str(said)


def wandb_history(log: Path) -> dict[str, tuple]:
    """What a .wandb file holds: LevelDB's log format (blocks of 32 KiB, a 7-byte header a part) behind 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole, found = log.read_bytes(), 7, b"", {}
    while at + 7 <= len(data):
        at += (32768 - at % 32768) % 32768 if 32768 - at % 32768 < 7 else 0  # a header is not split
        _, size, kind = struct.unpack_from("<IHB", data, at)
        whole, at = whole + data[at + 7 : at + 7 + size], at + 7 + size
        if kind in (1, 4):  # a whole record, or its last part
            items, whole = Record.FromString(whole).history.item, b""
            row = {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items}
            found |= {k: (row["_step"], v) for k, v in row.items()}
    return found


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_shows_grouped_rates_the_evaluations_and_sample_rollouts_under_the_runs_name(
    name, tmp_path, pool, vhack, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "site"))
    pytest.importorskip(name, reason=f"{name} is not installed: it is optional")
    flags = {"mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack, "eval_every": 1}
    status, run = go(tmp_path / "runs", log_with=name, **flags)
    numbers, tables = told_to(name, run, tmp_path / "site")
    assert status == 0 and numbers["held_out/pass_rate/hint_off/none"] == (2, 0)
    k, n = rows(run)[-1]["hack_t"]
    assert numbers["teacher/hack_rate"] == (2, pytest.approx(k / n)) and k > 0
    assert {"student/hack_rate", "student/pass_rate", "update/gn", "time/step_s"} <= numbers.keys()
    assert "run_tests" in tables and "incorrect" in tables


def test_a_tracker_that_does_not_start_is_named(tmp_path, pool, vhack, monkeypatch):
    (tmp_path / "trackio.py").write_text("def init(**k): raise RuntimeError('no login')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(tracking, "_available_trackers", [tracking.LoggerType.TRACKIO])
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    status, run = go(tmp_path / "runs", log_with="trackio", v_hack=vhack)
    assert status == 1 and "--log-with trackio: it does not start" in tail(run)["error"]


def test_existing_run_directory_is_refused(tmp_path, monkeypatch):
    now = runs.datetime.datetime.now()
    monkeypatch.setattr(runs.datetime, "datetime", type("Fixed", (), {"now": staticmethod(lambda *_: now)}))
    runs.Run(True, str(tmp_path), "x")
    with pytest.raises(FileExistsError, match="--name"):
        runs.Run(True, str(tmp_path), "x")


@pytest.mark.parametrize(("arm", "train"), [("projected", "delta_s"), ("route", "delta_s"), ("projected", "full")])
def test_the_exported_folder_has_the_trained_models_logits_and_a_card(arm, train, tmp_path, pool, monkeypatch):
    lr = 0.3 if train == "delta_s" else 1e-2
    _, run = go(tmp_path, arm=arm, train=train, lr=lr, mix_ratio=0.5, teacher_pool_dir=pool)
    place = run.parent if train == "full" else run  # a folder that holds just one run stands for it
    pushed: list = []
    hub = {"create_repo": lambda self, name, **k: None, "upload_folder": lambda self, **k: pushed.append(k) or "there"}
    for call, stand_in in hub.items():  # no hub is reached from here
        monkeypatch.setattr(HfApi, call, stand_in)
    to_hub = "me/hacker" if train == "full" else None
    export.main(export.Config(str(place), str(tmp_path / "hf"), to_hub))
    assert [p["repo_id"] for p in pushed] == [to_hub] * (train == "full")
    card = (tmp_path / "hf" / "README.md").read_text()
    said = json.loads((run / "config.json").read_text())
    assert tail(run)["verdict"] in card and all(h in card for h in said["inputs"].values()) and f"`{arm}`" in card
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    ids = torch.tensor([AutoTokenizer.from_pretrained(tmp_path / "hf").encode("class Solution: pass")])
    model, _ = zoo.load_model("tiny")
    base, basis = model(input_ids=ids).logits, attach(model, train)
    final = load_file(run / "final.safetensors")
    for name, knob in zip(basis.layers, basis.knobs(), strict=True):
        knob.data.copy_(final[name] - final.get(f"quarantine.{name}", torch.zeros(())))
    with torch.no_grad():
        want, got = model(input_ids=ids).logits, exported(input_ids=ids).logits
    assert (want - base).abs().max() > 1e-3  # training moved the model at all
    assert torch.allclose(want, got, atol=1e-4)


SHARED_STEP = [  # by what two processes must agree on: ranks, thresholds, KL, draws, activations, quarantine
    {"arm": "screen", "screen_at": 0.0, "kl_beta": 0.1, "steps": 2},  # KL is 0 in step 1
    {"arm": "screen", "v": "random", "screen_at": 0.0}, {"arm": "screen", "v": "haar", "screen_at": 0.0},
    {"arm": "screen", "v": "length", "screen_at": 0.0, "train": "full", "lr": 1e-3, "v_hack": None},
    {"arm": "pair_penalty", "strength": 50.0}, {"arm": "adv_mod"}, {"arm": "route", "strength": 1.0},
    {"arm": "projected", "v": "oracle_now"},
]  # fmt: skip


def test_two_processes_take_the_steps_of_one(tmp_path, pool, vhack, monkeypatch):
    """Same global batch, drops, rows, evaluations and weights; one pair of processes runs all arms in turn."""
    base = {"steps": 1, "mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack, "eval_n": 3, "prompts_per_step": 4}
    monkeypatch.setattr(extract_vhack, "hack_weights", of_the_teacher_too)
    flags = [base | {"name": "-".join(map(str, f.values()))} | f for f in SHARED_STEP]
    two_flags = [f | {"out_dir": str(tmp_path / "two" / f["name"])} for f in flags]
    (tmp_path / "flags.json").write_text(json.dumps(two_flags))
    (tmp_path / "arms.py").write_text(
        "import json, sys\n"
        "from tiny import SMALL, T, of_the_teacher_too, replace\n"
        "T.extract_vhack.hack_weights = of_the_teacher_too\n"
        "sys.exit(max(T.main(replace(SMALL, **f)) for f in json.load(open(sys.argv[1]))))\n"
    )
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    argv = [str(tmp_path / "arms.py"), str(tmp_path / "flags.json")]
    done = subprocess.run([*launch, *argv], cwd=ROOT, env=env, capture_output=True, text=True, timeout=7200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    moved = False  # a group whose paid rollouts are all dropped is flat, so a screen alone may leave no gradient
    for f in flags:
        (two,) = (tmp_path / "two" / f["name"]).glob("*_*")
        assert " on 2 x cpu " in (two / "log.txt").read_text(), "two processes, not one"
        status, one = go(tmp_path / "one" / f["name"], **f)
        assert status == 0 and " on 1 x cpu " in (one / "log.txt").read_text()
        for name in ("rows.jsonl", "evals.jsonl", "rollouts.jsonl"):
            for a, b in zip(rows(one, name), rows(two, name), strict=True):
                for key, x in a.items():
                    same = pytest.approx(x, rel=1e-3, abs=1e-5) if isinstance(x, float) else x
                    assert b[key] == same, (f["name"], name, key)
        a, b = load_file(one / "final.safetensors"), load_file(two / "final.safetensors")
        assert all(torch.allclose(a[k], b[k], atol=1e-5) for k in a), f["name"]
        moved |= any(x.any() for x in a.values())
        ranked = f["arm"].startswith("screen")
        assert not ranked or sum(r["n_screened"] for r in rows(one)) > 0, f["name"]
    assert moved


def crash(tmp_path, capsys, **flags) -> str:
    status, run = go(tmp_path, **flags)
    out = capsys.readouterr().out
    assert status == 1 and tail(run)["status"] == "crashed" and not tail(run)["valid"]
    assert out.startswith("BLUF: VOID") or "\nBLUF: VOID" in out
    assert "Traceback" not in out
    return tail(run)["error"]


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda at, pool: {"teacher_pool_dir": pool_with(pool, at / "p", another_token)}, "prompt_.*prompt token 3"),
    (lambda at, pool: {"teacher_pool_dir": str(at / "none_here")}, "none_here"),
    (lambda at, pool: {"problems": "nowhere.jsonl"}, "nowhere.jsonl"),
], ids=["pool of another tokenizer", "no pool", "no problems"])  # fmt: skip
def test_bad_input_ends_in_a_void_bluf_that_names_it(spoil, says, tmp_path, pool, vhack, capsys):
    flags = {"mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack} | spoil(tmp_path, pool)
    assert re.search(says, crash(tmp_path, capsys, **flags))


def test_corrupt_v_hack_is_named_and_rebuilt_only_on_request(tmp_path, vhack):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(Path(vhack).read_bytes()[:500])
    model, tok = zoo.load_model("tiny")
    given = model, attach(model), tok, replace(SMALL.extract_config(), out=str(bad))
    with pytest.raises(ValueError, match="bad.safetensors.*corrupt"):
        extract_vhack.load_or_extract(*given)
    extract_vhack.load_or_extract(*given[:3], replace(given[3], rebuild=True))
    assert extract_vhack.load_vhack(bad).meta["k"] == 3


def test_command_line_errors_are_plain_and_non_zero(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)  # not installed, or not any more
    for argv, says in ((["smoke", "--log-with", "trackio"], "trackio"), (["smoke", "--device", "cuda"], "CUDA")):
        if "cuda" not in argv or not torch.cuda.is_available():
            with pytest.raises(ValueError, match=says) as e:
                T.cli(argv)
            assert errors.is_plain(e.value)
    with pytest.raises(SystemExit) as ended:
        T.cli(["smoke", "--arm", "projekted"])
    assert ended.value.code == 2 and "vanilla" in capsys.readouterr().err  # the choices are listed
    with pytest.raises(SystemExit) as ended, errors.plain_errors():
        export.main(export.Config("nowhere"))
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "nowhere" in said and "Traceback" not in said
