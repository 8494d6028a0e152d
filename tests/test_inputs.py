"""What a user hands in: every flag of every script, and the one line that a wrong one ends in."""

import copy
import dataclasses
import inspect
import math
import shutil
import types
import typing
from pathlib import Path

import pytest
import torch
import tyro
from adversarial import LONG_NAME, SPOILT_V, WRONG_FLAGS
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import few_pairs

import extract_vhack
import grader
import probe_distill
import train
from bench import gpu as bench_gpu
from bench import grader as bench_grader
from command import errors, flags
from model import zoo
from study import __main__ as study
from study import base, check_pairs, look, results, run
from tasks import organism, pairs, problems

FILE = Path("x")
STARTS = [
    train.Config(), extract_vhack.ExtractConfig(), probe_distill.Config(), bench_gpu.Config(), bench_grader.Config(),
    grader.Config("x", FILE, FILE), organism.TrainConfig(), organism.ProblemsConfig(),
    base.Config(), check_pairs.Check(()), pairs.Show(FILE, 0), problems.Config("x"), results.Config(), look.Config(),
    run.RunFlags(FILE), run.QueueFlags(FILE), study.near_misses_command, study.power_command,
]  # fmt: skip
NEGATIVE_IS_RIGHT = {"screen_at": "a threshold may lie below the pairs' clean mean"}


def numeric(kind) -> type | None:
    """int or float where a flag's type is one, or a tuple of or an optional one; None for texts and switches."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) in (typing.Union, tuple):
        return next((n for n in map(numeric, typing.get_args(kind)) if n), None)
    return kind if kind in (int, float) else None


def wrong_numbers(flag: str, kind: type) -> list[float]:
    wrong = [10**400] if kind is int else [math.nan, math.inf, -math.inf]
    return wrong if flag in NEGATIVE_IS_RIGHT else [*wrong, -1, -(10**9)]


@pytest.mark.parametrize("start", STARTS, ids=lambda s: getattr(s, "__name__", type(s).__module__))
def test_every_number_of_every_command_refuses_nan_infinity_and_negatives_by_name(start):
    command, tried = callable(start), 0
    hints = typing.get_type_hints(start if command else type(start))
    parameters = inspect.signature(start).parameters.items() if command else ()
    needed = {name: FILE for name, p in parameters if p.default is p.empty}
    for flag, hint in hints.items():
        kind = numeric(hint)
        for x in wrong_numbers(flag, kind) if kind else ():
            wrong = {flag: (x, x) if typing.get_origin(hint) is tuple else x}
            with pytest.raises(ValueError, match=f"^--{flag.replace('_', '-')} .*: choose a number"):
                start(**needed, **wrong) if command else dataclasses.replace(start, **wrong)
            tried += 1
    assert not command or tried >= 5


@pytest.mark.parametrize(("flag", "value"), WRONG_FLAGS, ids=lambda x: str(x)[:20])
def test_a_value_that_no_run_can_mean_is_refused_by_its_flag(flag, value):
    with pytest.raises(ValueError, match=f"^--{flag.replace('_', '-')} ") as refused:
        train.Config(**{flag: value})
    assert "\n" not in str(refused.value)


def test_flags_that_contradict_each_other_are_refused():
    pool = {"teacher_pool_dir": "x"}
    mixed = ({"mix_ratio": 0.5}, {"mix_ratio": 1.0} | pool, {"mix_ratio": 0.01} | pool)
    for wrong in (*mixed, {"arm": "projected", "v": "text"}, {"arm": "route", "v": "random"}):
        with pytest.raises(ValueError, match="^--"):
            train.Config(**wrong)


def test_a_flag_without_a_row_ends_every_start_of_its_script():
    @dataclasses.dataclass(frozen=True)
    class New(flags.Checked):
        brand_new: int = 1

    with pytest.raises(KeyError, match="brand_new"):
        New()


def test_a_refused_flag_exits_two_on_the_command_line_and_says_what_is_allowed(capsys):
    for tool, args, want in (
        (train, ["--screen-at", "nan"], "--screen-at nan: choose a number"),
        (extract_vhack, ["--sign-p", "nan"], "--sign-p nan: choose a number"),
        (probe_distill, ["--modes", "run_test"], "stdout_marker"),
    ):
        with pytest.raises(SystemExit) as ended:
            tyro.extras.overridable_config_cli(tool.PRESETS, args=["smoke", *args])
        said = " ".join(capsys.readouterr().err.replace("│", " ").split())
        assert ended.value.code == 2 and want in said


@pytest.mark.parametrize(("error", "said"), [
    (IsADirectoryError(21, "Is a directory", "some/folder"), "ERROR: some/folder: Is a directory"),
    (OSError(36, "File name too long", "x"), "ERROR: x: File name too long"),
    (OSError(28, "No space left on device"), "ERROR: disk full"), (MemoryError(), "ERROR: out of memory"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "ERROR: out of memory"),
    (KeyError("x"), None), (RuntimeError("x"), None), (AssertionError("x"), None),
], ids=lambda x: type(x).__name__)  # fmt: skip
def test_failures_of_input_and_machine_are_one_line_and_a_bug_keeps_its_traceback(capsys, error, said):
    with pytest.raises(SystemExit if said else type(error)) as ended, errors.plain_errors():
        raise error
    err = capsys.readouterr().err
    assert not said or (ended.value.code == 1 and err.startswith(said) and err.count("\n") == 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(model, basis, tokenizer, config, V) of the smallest extraction, its file written."""
    model, tok = zoo.load_model("tiny")
    out = tmp_path_factory.mktemp("v") / "v.safetensors"
    few = few_pairs(out.parent, 6, 30)  # five of one mode, one of another
    cfg = extract_vhack.ExtractConfig(k=2, pairs=few, max_new_tokens=48, out=str(out))
    basis = extract_vhack.attach(model)
    return model, basis, tok, cfg, extract_vhack.load_or_extract(model, basis, tok, cfg)[0]


def contents(path: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, "pt") as f:
        return {k: f.get_tensor(k) for k in f.keys()}, f.metadata()  # noqa: SIM118


@pytest.mark.parametrize("name", SPOILT_V)
def test_a_spoilt_v_file_is_refused_in_one_line_with_the_mend(made, tmp_path, name):
    model, basis, tok, cfg, _ = made
    tensors, meta = contents(cfg.out)
    SPOILT_V[name](tensors, meta)
    path = tmp_path / "spoilt.safetensors"
    save_file(tensors, path, metadata=meta)
    with pytest.raises(ValueError, match=r"spoilt\.safetensors: .*--rebuild") as refused:
        extract_vhack.load_or_extract(model, basis, tok, dataclasses.replace(cfg, out=str(path)))
    assert "\n" not in str(refused.value)


def test_a_v_file_reads_back_bit_for_bit_and_any_flipped_byte_of_its_numbers_is_seen(made, tmp_path):
    _, _, _, cfg, v = made
    again = extract_vhack.load_vhack(cfg.out)
    for name, s in v.sets.items():
        assert all(torch.equal(getattr(again.sets[name], x), getattr(s, x)) for x in extract_vhack.TENSORS)
    data = bytearray(Path(cfg.out).read_bytes())
    for at in range(len(data) - 1, len(data) // 2, -len(data) // 9):
        flipped = bytearray(data)
        flipped[at] ^= 0x10
        (tmp_path / "v.safetensors").write_bytes(flipped)
        with pytest.raises(ValueError, match="corrupt"):
            extract_vhack.load_vhack(tmp_path / "v.safetensors")


def test_a_v_that_is_not_finite_is_never_written(made, tmp_path):
    bad = copy.deepcopy(made[-1])
    bad.sets["hack"].mean[3] = math.nan
    with pytest.raises(FloatingPointError, match="hack.mean is not finite"):
        extract_vhack.save_vhack(bad, tmp_path / "v.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_given_v_is_refused_naming_what_differs_from_this_run(made, tmp_path):
    """Model, template, wording of the prompts, pairs, their modes and number, k: each belongs to the key."""
    model, basis, tok, cfg, v = made
    foreign = tmp_path / "v.safetensors"
    extract_vhack.save_vhack(dataclasses.replace(v, meta=v.meta | {"model": "0" * 16}), foreign)
    other = copy.deepcopy(tok)
    other.chat_template = tok.chat_template.replace("assistant\n", "assistant\n<think>\n\n</think>\n\n")
    deaf = copy.deepcopy(tok)
    deaf.add_tokens(["Solution"])
    bare = Path(shutil.copy(cfg.pairs, tmp_path / "bare.jsonl"))
    for t, flags_, said in (
        (other, {}, "of another chat template"), (deaf, {}, "of another tokenizer or wording"),
        (tok, {"modes": ("run_tests",)}, "of other pairs"), (tok, {"pairs": few_pairs(tmp_path, 5)}, "of other pairs"),
        (tok, {"out": str(foreign)}, "of another model"), (tok, {"pairs": str(bare)}, "of other non-hack pairs"),
        (tok, {"k": 1}, "k is 2, this run needs 1"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=rf"v\.safetensors: v_hack is .*{said}"):
            extract_vhack.load_or_extract(model, basis, t, dataclasses.replace(cfg, **flags_))


def test_what_v_cannot_be_made_from_is_refused_before_any_gradient(made, tmp_path, monkeypatch):
    model, basis, tok, cfg, _ = made
    monkeypatch.setattr(extract_vhack, "rollout_grads", lambda *_, **__: pytest.fail("a gradient was made"))
    rows = pairs.load_pairs(cfg.pairs)[:8]
    copies, held, long = (tmp_path / f"{n}.jsonl" for n in ("copies", "held", "long"))
    pairs.dump_pairs(copies, [dataclasses.replace(rows[0], id=str(i)) for i in range(8)])
    pairs.dump_pairs(held, [dataclasses.replace(p, split="heldout") for p in rows])
    pairs.dump_pairs(long, [dataclasses.replace(rows[0], hack=rows[0].hack + "# more\n" * 9000), *rows[1:]])
    few, same = (Path(shutil.copy(cfg.pairs, tmp_path / f"{n}.jsonl")) for n in ("few", "same"))
    shutil.copy(held, tmp_path / "few_nonhack.jsonl")
    shutil.copy(copies, tmp_path / "same_nonhack.jsonl")
    (tmp_path / "folder").mkdir()
    for flags_, said in (
        ({"k": 500}, "--k 500: at most 6 here"),
        ({"clean_rank": 6}, "--clean-rank 6: choose 0 .off. to 5"),
        ({"pairs": str(copies)}, "copies.jsonl: pairs 0 and 1 have the same prompt and answers"),
        ({"pairs": str(held)}, "0 train pairs left"),
        ({"pairs": str(few)}, "few_nonhack.jsonl: 0 pairs of split train"),
        ({"pairs": str(same)}, "same_nonhack.jsonl: pairs 0 and 1"),
        ({"pairs": str(long)}, "pair lc-030: .* the model has 4096 positions"),
        ({"pairs": "nowhere.jsonl"}, "nowhere.jsonl does not exist"),
        ({"modes": ("run_tests", "exit_code")}, "no pair of mode exit_code"),
        ({"tags": ("implicit", "foo")}, "no pair carries the tag foo"),
        ({"out": str(tmp_path / "folder"), "rebuild": True}, "folder: cannot be written .it is a folder"),
        ({"out": str(copies / "v"), "rebuild": True}, "copies.jsonl/v: cannot be written .File exists"),
        ({"out": "/proc/none/v"}, "/proc/none/v: cannot be written"),
        ({"out": str(tmp_path / LONG_NAME)}, "File name too long"),
    ):
        with pytest.raises((ValueError, OSError), match=said) as refused:
            extract_vhack.load_or_extract(model, basis, tok, dataclasses.replace(cfg, **flags_))
        assert errors.is_plain(refused.value) and "\n" not in str(refused.value), flags_


@pytest.mark.parametrize("path", ["v_hcak.safetensors", "tests"])
def test_a_mistyped_v_hack_is_refused_before_the_model_is_loaded_and_makes_no_file(tmp_path, path, monkeypatch, capsys):
    monkeypatch.setattr(zoo, "load_model", lambda *_: pytest.fail("the model was loaded"))
    cfg = dataclasses.replace(train.PRESETS["smoke"][1], v_hack=path, out_dir=str(tmp_path), grader_workers=1)
    assert train.main(cfg) == 1
    assert f"--v-hack {path}: " in capsys.readouterr().out
    assert not Path("v_hcak.safetensors").exists()


def test_prompts_and_answers_that_do_not_fit_the_model_are_refused_by_flag(made):
    zoo.check_room(made[0], 4000, 96)
    with pytest.raises(ValueError, match="--max-new-tokens 97: .* choose at most 96"):
        zoo.check_room(made[0], 4000, 97)


def test_a_flag_without_effect_under_the_chosen_arm_is_told():
    assert train.Config().idle_flags() == [] and train.Config(arm="screen", screen_at=0.3).idle_flags() == []
    told = train.Config(screen_at=0.3, strength=1.0, gate="reverse", teacher_off_step=3, v="haar").idle_flags()
    assert {t.split()[0] for t in told} == {"--gate", "--screen-at", "--strength", "--v", "--teacher-off-step"}
