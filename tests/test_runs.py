"""Run directories: one writer, logs and checkpoints that fit or are named, any terminal, children that end too."""

import dataclasses
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from adversarial import SPOILT_CHECKPOINTS, SPOILT_LOGS, SPOILT_RUN_FILES, WRONG_CONFIGS
from safetensors.torch import save_file
from worlds import ROLLOUT, eval_row

import runs
import train
from command import errors, files, flags
from running.resume import input_hashes, stored_config
from study import look, results, runner
from study.archive import pack_runs
from study.read import read_run
from study.spec import Cell
from tasks.problems import load_problems

ROOT = Path(__file__).resolve().parents[1]
ROWS = [{"step": i, "rew_s": i / 3, "text": "caf\u00e9 \u2028\u0085"} for i in (1, 2, 3)]


def new_run(tmp_path: Path, name: str = "a", config: dict | None = None) -> runs.Run:
    run = runs.Run(True, str(tmp_path), name)
    files.write_json(run.dir / "config.json", {"config": {"arm": "vanilla", "seed": 1, "steps": 3} | (config or {})})
    return run


@pytest.fixture
def stopped(tmp_path) -> Path:
    """A run stopped after a checkpoint of step 2, with one row more."""
    run = new_run(tmp_path)
    run.append("rows.jsonl", ROWS[:2])
    run.append("rollouts.jsonl", ROWS[:2])
    run.save_checkpoint({"step": 2, "x": torch.arange(1000.0)})
    run.append("rows.jsonl", ROWS[2:])
    run.close()
    return run.dir


def test_a_second_writer_is_refused_by_pid_and_a_killed_one_leaves_no_lock(stopped):
    hold = "import sys, runs; r = runs.Run(True, '', '', sys.argv[1]); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(stopped)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=f"process {other.pid} on .* is writing this run"):
            runs.Run(True, "", "", str(stopped))
        other.kill()
    assert (stopped / "lock").read_text().startswith(f"{other.pid} ")  # what SIGKILL leaves
    again = runs.Run(True, "", "", str(stopped))
    with pytest.raises(ValueError, match=f"process {os.getpid()} "):  # within one process too
        runs.Run(True, "", "", str(stopped))
    again.close()
    assert not (stopped / "lock").exists()


@pytest.mark.parametrize(
    ("text", "refused"),
    [("", False), (f"1 {socket.gethostname()}\n", False), ("garbage", False), ("77 elsewhere\n", True)],
    ids=["empty", "recycled pid", "garbage", "another host"],
)
def test_a_stale_lock_is_taken_over_and_that_of_another_host_is_not(text, refused, stopped):
    (stopped / "lock").write_text(text)
    if refused:
        with pytest.raises(ValueError, match="process 77 on elsewhere .* delete .*lock"):
            runs.Run(True, "", "", str(stopped))
        assert (stopped / "lock").read_text() == text
    else:
        runs.Run(True, "", "", str(stopped)).close()


def test_what_a_kill_left_of_a_file_goes_at_the_next_start_and_nothing_else(stopped):
    left = [stopped / ".bluf.json.77.tmp", stopped / "checkpoint" / ".state.pt.78.tmp"]
    beside = stopped.parent / ".other.79.tmp"
    for f in (*left, beside):
        f.write_text("half")
    runs.Run(True, "", "", str(stopped)).close()
    assert not any(f.exists() for f in left) and beside.exists() and (stopped / "checkpoint" / "state.pt").exists()


def test_a_resumed_run_has_the_bytes_of_its_checkpoint(stopped):
    (stopped / "bluf.json").write_text("{}")
    run = runs.Run(True, "", "", str(stopped))
    state = run.load_checkpoint()
    assert state["step"] == 2 and torch.equal(state["x"], torch.arange(1000.0))
    assert len((stopped / "rows.jsonl").read_text().splitlines()) == 3 and (stopped / "bluf.json").exists()
    run.rewind()
    assert run.rows == ROWS[:2] == list(runs.read_log(stopped / "rows.jsonl")) and not (stopped / "bluf.json").exists()
    run.append("rows.jsonl", ROWS[2:])
    run.save_checkpoint({"step": 3})
    run.close()
    assert runs.Run(True, "", "", str(stopped)).load_checkpoint()["step"] == 3


@pytest.mark.parametrize(("file", "how"), [
    *(("rows.jsonl", how) for how in SPOILT_LOGS), *(("rollouts.jsonl", how) for how in ("deleted", "cut")),
    *(("checkpoint/state.pt", how) for how in SPOILT_CHECKPOINTS),
])  # fmt: skip
def test_a_checkpoint_or_log_that_is_not_what_it_was_is_named_before_any_work(file, how, stopped):
    data = (stopped / file).read_bytes()
    spoilt = SPOILT_CHECKPOINTS[how](data) if "state" in file else SPOILT_LOGS[how](data.splitlines(keepends=True))
    (stopped / file).unlink() if spoilt is None else (stopped / file).write_bytes(spoilt)
    with pytest.raises(ValueError, match=f"{Path(file).name}: .*put it back, or delete .*state.pt") as e:
        runs.Run(True, "", "", str(stopped)).load_checkpoint()
    assert "\n" not in str(e.value) and errors.is_plain(e.value)


@pytest.mark.parametrize("state", [{"step": 2, "params": []}, {"format": 1}, [1, 2], {"format": runs.CHECKPOINT + 1}])
def test_a_checkpoint_of_another_version_is_named(state, stopped):
    torch.save(state, stopped / "checkpoint" / "state.pt")
    with pytest.raises(ValueError, match="state.pt: format .* check out the commit"):
        runs.Run(True, "", "", str(stopped)).load_checkpoint()


@pytest.mark.parametrize("left", [False, True], ids=["first", "with one kept"])
def test_a_disk_that_takes_no_more_is_one_line_and_keeps_the_last_checkpoint(left, tmp_path):
    """The kernel's own refusal, by the limit on a file's size; torch and safetensors do not raise OSError for it."""
    run = new_run(tmp_path)
    if left:
        run.save_checkpoint({"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(OSError, match="state.pt") as e:
            run.save_checkpoint({"step": 2, "x": torch.zeros(1 << 20)})
        with pytest.raises(OSError, match="rows.jsonl"):
            run.append("rows.jsonl", [{"x": "x" * (1 << 20)}])
        with pytest.raises(OSError, match="final.safetensors"), files.atomic_path(run.dir / "final.safetensors") as tmp:
            save_file({"x": torch.zeros(1 << 20)}, tmp)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert errors.is_plain(e.value) and "\n" not in errors.plain_message(e.value)
    assert not list(run.dir.rglob(".*")) and (run.dir / "checkpoint").exists() == left
    if left:
        run.close()
        assert runs.Run(True, "", "", str(run.dir)).load_checkpoint()["step"] == 1


def test_files_of_a_run_are_readable_alike(stopped):
    with files.atomic_path(stopped / "final.safetensors") as tmp:
        save_file({"x": torch.zeros(1)}, tmp)
    assert {oct(f.stat().st_mode & 0o777) for f in stopped.rglob("*") if f.is_file()} == {oct(0o666 & ~files.UMASK)}


def test_a_flag_that_a_run_did_not_have_reads_as_its_default(tmp_path):
    whole = dataclasses.asdict(train.Config(lr=0.5))
    assert runs.default_config() == dataclasses.asdict(train.Config())
    old = {k: v for k, v in whole.items() if k not in ("kl_beta", "modes", "resume")}
    a, b = new_run(tmp_path, "a", old), new_run(tmp_path, "b", whole)
    assert runs.read_config(a.dir) == runs.read_config(b.dir) | {"config": runs.read_config(a.dir)["config"]}
    norm = lambda c: json.loads(json.dumps(c))  # noqa: E731
    assert norm(read_run(a.dir).config) == norm(read_run(b.dir).config)
    assert stored_config(a.dir, train.Config) == stored_config(b.dir, train.Config) == train.Config(lr=0.5, seed=41)


@pytest.mark.parametrize(("text", "says"), WRONG_CONFIGS)
def test_a_config_that_cannot_be_used_is_named_in_one_line(text, says, tmp_path):
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=says) as e:
        train.main(train.Config(resume=str(tmp_path)))
    assert "config.json" in str(e.value) and "\n" not in str(e.value)
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("file", ["bluf.json", "evals.jsonl", "rows.jsonl", "rollouts.jsonl", "config.json"])
@pytest.mark.parametrize("how", SPOILT_RUN_FILES)
def test_every_reader_names_a_file_that_is_no_log_of_a_run(file, how, tmp_path):
    d = tmp_path / "s" / "runs" / "20260101T000000_vanilla-s1"
    d.mkdir(parents=True)
    whole = {
        "config.json": {"config": {"arm": "vanilla", "seed": 1, "steps": 1}, "argv": []},
        "bluf.json": {"status": "finished", "valid": True},
        "evals.jsonl": eval_row(0, "on", 0, 1), "rows.jsonl": {"step": 1}, "rollouts.jsonl": ROLLOUT,
    }  # fmt: skip
    for name, row in whole.items():
        (d / name).write_text((json.dumps(row) + "\n") * 2 if name.endswith("l") else json.dumps(row))
    good = (d / file).read_bytes()
    (d / file).write_bytes(SPOILT_RUN_FILES[how](good))
    cell = Cell("vanilla", 1, ())
    readers = {
        "read": lambda: read_run(d), "results": lambda: results.read_line(d),
        "rollouts": lambda: list(look.read_rollouts(d)),
        "runner": lambda: runner.find_runs(d.parent, cell),
        "archive": lambda: pack_runs(d.parent, tmp_path / "a.tar.xz"),
    }  # fmt: skip
    named = 0
    for name, read in readers.items():
        try:
            read()
        except (ValueError, FileNotFoundError) as e:
            assert errors.is_plain(e) and "\n" not in str(e), name
            named += str(d / file) in str(e)
    assert named >= (0 if (file, how) == ("bluf.json", "other fields") else 1)


SAYS = "import sys\nfrom command import errors\nwith errors.plain_errors():\n    {body}\n"


def script(body: str, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", SAYS.format(body=body)], cwd=ROOT, **options)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_letter_is_printed_on_any_terminal(encoding):
    env = os.environ | {"PYTHONIOENCODING": encoding}
    body = "print('caf\\u00e9 \\u2713'); print('\\u2713', file=sys.stderr); errors.tell('end \\u2713'); sys.exit(3)"
    with script(body, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as p:
        out, err = (x.decode(encoding) for x in p.communicate())
    assert p.returncode == 3 and "end" in out and "Traceback" not in err
    assert ("\\u2713" in out and "\\u2713" in err) == (encoding != "utf-8")


@pytest.mark.parametrize("say", ["print(i)", "errors.tell('')", "print(i, file=sys.stderr)", "errors.logger.info(i)"])
def test_a_closed_pipe_or_full_disk_behind_stdout_changes_no_exit_status(say):
    r, w = os.pipe()
    os.close(r)
    try:
        with script(f"[{say} for i in range(9999)]; sys.exit(3)", stdout=w, stderr=w) as p:
            assert p.wait() == 3
    finally:
        os.close(w)
    with open("/dev/full", "w") as full, script("errors.tell('done'); sys.exit(3)", stdout=full) as p:
        assert p.wait() == 3


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_children_of_a_runner_end_with_it(sig, tmp_path):
    """A runner killed by itself leaves nothing behind that goes on computing."""
    body = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    child = SAYS.format(body=body)
    run = f"subprocess.run([sys.executable, '-c', {child!r}], env=os.environ | errors.child_env())"
    with script(f"import os, subprocess; {run}", stdout=subprocess.PIPE) as runner:
        pid = int(runner.stdout.readline())
        runner.send_signal(sig)
        runner.wait()
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        time.sleep(0.05)  # the test's own time limit is the suite's


def test_flags_of_a_command_line_are_found_however_they_are_spelt():
    argv = ["smoke", "--lr", "1", "--eval_n=3", "--modes", "none", "--v-hack", "None"]
    assert flags.typed_flags(argv, vars(train.Config())) == ["lr", "eval_n", "modes", "v_hack"]


def test_inputs_are_found_from_any_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = train.PRESETS["organism"][1]
    assert load_problems(cfg.problems, limit=1) and train.extract_vhack.select_pairs(cfg.extract_config())
    assert set(input_hashes(cfg)) == {"problems", "eval_problems", "pairs", "nonhack_pairs"}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "problems.jsonl").write_text("mine")
    assert files.find("data/problems.jsonl").read_text() == "mine"  # what lies here comes first
    assert files.find("nowhere") == Path("nowhere")
