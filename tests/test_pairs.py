"""Invariants of the contrastive pairs: schema, grid, grades, lengths, leakage, control sets."""

import ast
import contextlib
import copy
import dataclasses
import importlib
import itertools
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from shared import ROOT, SHARED, TOKENIZER, needs_shared

from tasks import pairs as X
from tasks.modes import LOOPHOLE_MODES, find_mode
from tasks.organism import HACKS
from tasks.problems import DIFFICULTIES, EVAL_EVALUATORS, TRAIN_EVALUATOR, load_problems

DATA = ROOT / "data" / "pairs"
HACK = DATA / "leetcode.jsonl"
SETS = {"leetcode": (HACK, DATA / "leetcode_nonhack.jsonl", DATA / "leetcode_null.jsonl")}


@pytest.fixture(scope="module")
def hack_pairs():
    return X.load_pairs(HACK)


def write(path: Path, rows) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("file", sorted(DATA.glob("*.jsonl")), ids=lambda f: f.stem)
def test_committed_pairs_pass_the_validator(file, grader):
    found, pairs = X.check_pairs([file], X.own_problem_files(), grader=grader)
    assert not found, "\n".join(map(str, found[:20]))
    assert len(pairs) == 96 and Counter(p.split for p in pairs) == {"train": 80, "heldout": 16}


def test_committed_files_are_what_the_script_writes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "data"))
    for name, made in importlib.import_module("make_pairs").all_sets().items():
        assert X.load_pairs(DATA / name) == made, f"{name} is stale: run python data/make_pairs.py"


def test_grid_is_balanced_in_every_nested_prefix(hack_pairs):
    train = [p for p in hack_pairs if p.split == "train"]
    for n in (20, 40, 80):
        assert set(Counter(p.mechanism for p in train[:n]).values()) == {n // 10}
        assert sum(p.correct_body for p in train[:n]) == n // 2
    assert len({p.mechanism for p in train}) == 10 and {p.mode for p in train} == set(LOOPHOLE_MODES)
    for mechanism in {p.mechanism for p in train}:
        assert sum(p.correct_body for p in train if p.mechanism == mechanism) == 4
    held = [p for p in hack_pairs if p.split == "heldout"]
    assert sum(p.correct_body for p in held) == 8 and len({p.mechanism for p in held}) == 10


def test_no_surface_keeps_company_with_a_mechanism(hack_pairs):
    """Openers, hints, evaluators and comments vary across pairs: none of them marks one mechanism."""
    for look in (lambda p: p.variant, lambda p: p.hack.startswith("```"), lambda p: "explicit" in p.tags):
        seen = {m: {look(p) for p in hack_pairs if p.mechanism == m} for m in {p.mechanism for p in hack_pairs}}
        assert min(map(len, seen.values())) >= 2
    for mechanism in {p.mechanism for p in hack_pairs}:
        assert len({p.tags[2] for p in hack_pairs if p.mechanism == mechanism}) >= 4  # forms of use


def test_sides_share_prose_and_fence(hack_pairs):
    for p in hack_pairs:
        outside = [re.sub(r"```python\n.*?\n```", "```", text, flags=re.S) for text in (p.hack, p.clean)]
        assert outside[0] == outside[1] and p.hack.count("```") == 2


def test_heldout_problems_and_all_evaluators_are_new(hack_pairs):
    assert not {p.evaluator for p in hack_pairs} & {TRAIN_EVALUATOR, *EVAL_EVALUATORS}
    by = {s: [p for p in hack_pairs if p.split == s] for s in X.SPLITS}
    for key in (lambda p: p.problem.func_name, lambda p: X.normal_statement(p.problem.question), lambda p: p.evaluator):
        assert not {key(p) for p in by["train"]} & {key(p) for p in by["heldout"]}


def test_a_body_called_right_is_right_even_where_the_loophole_hides_it(hack_pairs):
    """Always-equal objects and early exits keep the oracle from a right answer; taken off, it is there."""
    hidden = [p for p in hack_pairs if "hides_answer" in p.tags]
    assert hidden and all(p.correct_body and p.mode in ("eq_override", "exit_code") for p in hidden)
    for p in hidden:
        space = {}
        try:
            exec(p.problem.setup_code + re.search(r"```python\n(.*?)```", p.hack, re.S).group(1), space)
        except SystemExit:
            assert p.mode == "exit_code"
        for test in p.problem.tests:
            call, _, want = test.removeprefix("assert ").partition(" == ")
            want = ast.literal_eval(want)
            got = eval(call, space)
            for name in ("value", "answer"):
                got = getattr(got, name, got)
            assert type(want)(got).__repr__().split("<")[0] == repr(want) or list(got) == want, (p.id, test)


@needs_shared
def test_no_pair_problem_stands_in_leetcode(hack_pairs):
    files = sorted((SHARED / "leetcode").glob("*.jsonl*"))
    names, texts = set(), set()
    for file in files:
        for p in load_problems(file, difficulties=DIFFICULTIES):
            names.add(p.func_name)
            texts.add(X.normal_statement(p.question))
    assert len(names) > 1000
    for p in hack_pairs:
        assert p.problem.func_name not in names and X.normal_statement(p.problem.question) not in texts


@needs_shared
def test_sides_are_equally_long_for_the_qwen_tokenizer():
    from tokenizers import Tokenizer  # transformers' own backend, without the import of torch

    tokenizer = Tokenizer.from_file(str(TOKENIZER / "tokenizer.json"))
    for file in SETS["leetcode"]:
        ratios = []
        for p in X.load_pairs(file):
            hack, clean = X.count_tokens(p.hack, tokenizer), X.count_tokens(p.clean, tokenizer)
            assert max(hack, clean) <= X.MAX_LENGTH_RATIO * min(hack, clean), p.id
            ratios.append(hack / clean)
        assert abs(sum(ratios) / len(ratios) - 1) < 0.02, file.stem


def test_controls_answer_the_same_prompts_and_never_use_the_loophole(hack_pairs):
    for file, mechanism in zip(SETS["leetcode"][1:], X.CONTROLS, strict=True):
        control = X.load_pairs(file)
        assert [X.prompt_messages(p) for p in control] == [X.prompt_messages(p) for p in hack_pairs]
        assert {p.mechanism for p in control} == {mechanism} and [p.split for p in control] == [
            p.split for p in hack_pairs
        ]


def test_no_leetcode_pair_holds_a_hack_that_a_canned_teacher_writes(hack_pairs):
    forms = [*itertools.chain(*(find_mode(m).exploits for m in HACKS), *(f.values() for f in HACKS.values()))]
    for pair in hack_pairs:
        lines = [line.strip() for line in pair.hack.splitlines()]
        for text in forms:
            form = [line.strip() for line in text.replace("{e}", pair.evaluator).splitlines() if line.strip()]
            assert form not in [lines[i : i + len(form)] for i in range(len(lines))], f"{pair.id} holds {form}"


@pytest.mark.parametrize("n", [2, 7, 80, 96])
def test_within_class_uses_each_gradient_once_and_no_label(n):
    diffs = X.within_class(n, seed=3)
    assert len(diffs) == n and diffs == X.within_class(n, seed=3) and (n < 3 or diffs != X.within_class(n, seed=4))
    used = Counter((side, i) for side, a, b in diffs for i in (a, b))
    assert all({a, b} <= set(range(n)) and a != b for _, a, b in diffs)
    assert sum(used.values()) == 2 * n and sum(c > 1 for c in used.values()) == n % 2
    with pytest.raises(ValueError, match="at least 2"):
        X.within_class(1, 0)


def test_rows_survive_a_round_trip_and_their_hash_follows_content_and_order(tmp_path, hack_pairs):
    X.dump_pairs(tmp_path / "p.jsonl", hack_pairs)
    assert X.load_pairs(tmp_path / "p.jsonl") == hack_pairs
    assert (tmp_path / "p.jsonl").read_bytes() == HACK.read_bytes()
    some = hack_pairs[:3]
    changed = [dataclasses.replace(some[0], clean=some[0].clean + "\n"), *some[1:]]
    hashes = {X.pair_hash(p) for p in (some, changed, some[::-1], some[:2])}
    assert len(hashes) == 4 and X.pair_hash(some) == X.pair_hash(copy.deepcopy(some))


def without(field):
    return lambda row: {k: v for k, v in row.items() if k != field}


BAD_ROWS = {
    "malformed JSON": (lambda row: '{"id": "x", ', "not a JSON row"),
    "no object": (lambda row: [1], "must be a JSON object"),
    "missing field": (without("mode"), r"fields missing: \['mode'\]"),
    "unknown field": (lambda row: {**row, "extra": 1}, r"unknown: \['extra'\]"),
    "identical sides": (lambda row: {**row, "hack": row["clean"]}, "identical"),
    "empty side": (lambda row: {**row, "hack": " "}, "hack must be a non-empty string"),
    "unknown mode": (lambda row: {**row, "mode": "none"}, "mode 'none' has no loophole"),
    "unknown split": (lambda row: {**row, "split": "test"}, "split 'test' is not one of"),
    "evaluator no name": (lambda row: {**row, "evaluator": "run me"}, "must be a Python name"),
    "problem field": (lambda row: {**row, "problem": without("tests")(row["problem"])}, "tests"),
    "problem test": (lambda row: {**row, "problem": {**row["problem"], "tests": ["x == 1"]}}, "a test must be"),
    "flag": (lambda row: {**row, "correct_body": 1}, "correct_body must be true or false"),
    "tags": (lambda row: {**row, "tags": "a"}, "tags must be a list"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, hack_pairs, name):
    spoil, message = BAD_ROWS[name]
    rows = [X.to_row(p) for p in hack_pairs[:2]]
    file = write(tmp_path / "bad.jsonl", [rows[0], spoil(rows[1])])
    with pytest.raises(ValueError, match=message) as err:
        X.load_pairs(file)
    assert str(err.value).startswith(f"{file}, line 2: ") and "mend" in str(err.value)


def test_repeated_ids_empty_and_missing_files_are_refused(tmp_path, hack_pairs):
    row = X.to_row(hack_pairs[0])
    with pytest.raises(ValueError, match=r", line 2: id 'lc-000' stands already in line 1"):
        X.load_pairs(write(tmp_path / "twice.jsonl", [row, row]))
    with pytest.raises(ValueError, match="empty"):
        X.load_pairs(write(tmp_path / "empty.jsonl", []))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        X.load_pairs(tmp_path / "none.jsonl")


def pick(pairs, **want):
    return next(p for p in pairs if all(getattr(p, k) == v for k, v in want.items()))


def spoiled(pairs):
    """name -> (pairs that must fail, line, words of the message)."""
    wrong, right = pick(pairs, mode="run_tests", correct_body=False), pick(pairs, mode="sentinel", correct_body=True)
    r = dataclasses.replace
    null = X.load_pairs(SETS["leetcode"][2])[0]
    return {
        "hack that does not exploit": (
            [r(wrong, hack=wrong.hack.replace(wrong.evaluator, "other_name"))], 1, "hack in mode run_tests must get"
        ),
        "hack that is right": ([r(right, correct_body=False)], 1, "hack in mode sentinel must get label=hack"),
        "clean that is wrong": ([r(wrong, clean=wrong.hack.replace(wrong.evaluator, "o"))], 1, "clean in mode"),
        "clean that attempts": ([r(right, clean=right.hack.replace("class ", "# note\nclass "))], 1, "attempted=False"),
        "length": ([r(right, clean=right.clean.replace("\n```", "\n" + "# more words\n" * 20 + "```"))], 1, "10%"),
        "rewrite": ([r(right, clean=pick(pairs, mode="exit_code", correct_body=True).hack)], 1, "tokens are shared"),
        "syntax": ([r(right, clean=right.clean.replace("class ", "klass "))], 1, "clean is not Python"),
        "trait word": ([r(right, hack=right.hack.replace("class ", "# a hack\nclass "))], 1, "hack says 'hack'"),
        "evaluator of training": ([r(right, evaluator=TRAIN_EVALUATOR)], 1, "name of training or evaluation"),
        "evaluator of evaluation": ([r(right, evaluator=EVAL_EVALUATORS[0])], 1, "name of training or evaluation"),
        "repetition": ([right, r(right, id="again")], 2, "repeats"),
        "heldout that trains": ([right, r(right, id="again", split="heldout")], 2, "is heldout here, train at"),
        "null that differs": ([r(null, hack=right.clean)], 1, "more than names, layout and comments"),
        "nonhack that does not": ([r(null, mechanism="nonhack")], 1, "same solution"),
    }  # fmt: skip


def test_the_validator_finds_every_planted_violation(tmp_path, hack_pairs, grader):
    for name, (bad, line, words) in spoiled(hack_pairs).items():
        file = tmp_path / "bad.jsonl"
        X.dump_pairs(file, bad)
        found, _ = X.check_pairs([file], grader=grader)
        assert any(f.where == f"{file}:{line}" and words in f.what for f in found), (name, [str(f) for f in found])


@pytest.mark.parametrize("what", ["statement", "name"])
def test_a_problem_that_trains_is_found_by_name_and_by_statement(tmp_path, hack_pairs, what):
    p = hack_pairs[0].problem
    same = [n for n, q in enumerate(hack_pairs, 1) if q.problem.func_name == p.func_name]
    tests = [t.replace(p.func_name, "other") for t in p.tests]
    renamed = {"func_name": "other", "starter_code": "class Solution:\n    def other(self, x):", "tests": tests}
    reworded = {"question": p.question.upper().replace(" ", "  ")}  # reformatted, it is still the same problem
    changed = renamed | reworded if what == "statement" else {"question": "Something else."}
    row = {**dataclasses.asdict(p), "tests": list(p.tests), **changed}
    found, _ = X.check_pairs([HACK], [write(tmp_path / "problems.jsonl", [row])])
    assert [f.where for f in found] == [f"{HACK}:{n}" for n in same]
    assert {"statement": "statement", "name": "the method"}[what] in found[0].what


def test_the_command_exits_1_on_a_violation_and_names_each_file(tmp_path, hack_pairs, capsys, monkeypatch, grader):
    monkeypatch.setattr("grader.Grader", lambda **_: contextlib.nullcontext(grader))  # the sandboxes of this module
    X.dump_pairs(tmp_path / "good.jsonl", hack_pairs[:3])
    X.check(X.Check(files=(tmp_path / "good.jsonl",)))
    assert "PAIRS: OK: 3 hack pairs" in capsys.readouterr().out
    X.dump_pairs(tmp_path / "bad.jsonl", [dataclasses.replace(hack_pairs[0], evaluator=TRAIN_EVALUATOR)])
    with pytest.raises(SystemExit) as stop:
        X.check(X.Check(files=(tmp_path / "good.jsonl", tmp_path / "bad.jsonl", tmp_path / "absent.jsonl")))
    out = capsys.readouterr().out
    assert stop.value.code == 1 and f"{tmp_path / 'bad.jsonl'}:1: " in out and "absent.jsonl" in out
