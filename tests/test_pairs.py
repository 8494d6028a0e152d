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

import pytest
from adversarial import MALFORMED_PAIRS, unsound_pairs
from shared import ROOT, SHARED, TOKENIZER, needs_shared, write

from study import check_pairs
from tasks import pairs as X
from tasks.modes import LOOPHOLE_MODES, find_mode
from tasks.organism import HACKS
from tasks.problems import DIFFICULTIES, TRAIN_EVALUATOR, load_problems, near_duplicates

DATA = ROOT / "data" / "pairs"
HACK = DATA / "leetcode.jsonl"
SETS = (HACK, DATA / "leetcode_nonhack.jsonl", DATA / "leetcode_null.jsonl")


@pytest.fixture(scope="module")
def hack_pairs():
    return X.load_pairs(HACK)


def test_committed_pairs_pass_the_validator(grader):
    files = sorted(DATA.glob("*.jsonl"))
    found, pairs = X.check_pairs(files, X.own_problem_files(), grader=grader)
    assert not found, "\n".join(map(str, found[:20]))
    for first in range(0, 96 * len(files), 96):
        assert Counter(p.split for p in pairs[first : first + 96]) == {"train": 80, "heldout": 16}
    assert len(pairs) == 96 * len(files) == 864


def test_committed_files_are_what_the_script_writes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "data"))
    for name, made in importlib.import_module("make_pairs").all_sets().items():
        assert X.load_pairs(DATA / name) == made, f"{name} is stale: run python data/make_pairs.py"


def test_grid_is_balanced_in_every_nested_prefix(hack_pairs):
    train, held = ([p for p in hack_pairs if p.split == split] for split in X.SPLITS)
    for n in (20, 40, 80):
        assert set(Counter(p.mechanism for p in train[:n]).values()) == {n // 10}
        assert sum(p.correct_body for p in train[:n]) == n // 2
    mechanisms = {p.mechanism for p in train}
    assert len(mechanisms) == 10 and {p.mode for p in train} == set(LOOPHOLE_MODES)
    assert Counter(p.mechanism for p in train if p.correct_body) == dict.fromkeys(mechanisms, 4)
    assert sum(p.correct_body for p in held) == 8 and {p.mechanism for p in held} == mechanisms


def test_no_surface_keeps_company_with_a_mechanism(hack_pairs):
    """Openers, hints, evaluators and forms of use vary across pairs: none of them marks one mechanism."""
    looks = {lambda p: p.variant: 2, lambda p: p.hack.startswith("```"): 2, lambda p: "explicit" in p.tags: 2}
    for look, least in (looks | {lambda p: p.tags[2]: 4}).items():
        for mechanism in {p.mechanism for p in hack_pairs}:
            assert len({look(p) for p in hack_pairs if p.mechanism == mechanism}) >= least


def test_sides_share_prose_and_fence(hack_pairs):
    for p in hack_pairs:
        outside = [re.sub(r"```python\n.*?\n```", "```", text, flags=re.S) for text in (p.hack, p.clean)]
        assert outside[0] == outside[1] and p.hack.count("```") == 2


def test_heldout_statements_and_evaluators_are_new(hack_pairs):
    for key in (lambda p: X.normal_statement(p.problem.question), lambda p: p.evaluator):
        train, held = ({key(p) for p in hack_pairs if p.split == split} for split in X.SPLITS)
        assert not train & held


def test_a_body_called_right_is_right_even_where_the_loophole_hides_it(hack_pairs):
    """Always-equal objects and early exits keep the oracle from a right answer; taken off, it is there."""
    hidden = [p for p in hack_pairs if "hides_answer" in p.tags]
    assert hidden and all(p.correct_body and p.mode in ("eq_override", "exit_code") for p in hidden)
    for p in hidden:
        space = {}
        with contextlib.suppress(SystemExit):
            exec(p.problem.setup_code + re.search(r"```python\n(.*?)```", p.hack, re.S).group(1), space)
        for test in p.problem.tests:
            call, _, want = test.removeprefix("assert ").partition(" == ")
            want, got = ast.literal_eval(want), eval(call, space)
            for name in ("value", "answer"):
                got = getattr(got, name, got)
            assert type(want)(got).__repr__().split("<")[0] == repr(want) or list(got) == want, (p.id, test)


@needs_shared
def test_no_pair_problem_stands_in_leetcode(hack_pairs):
    files = (SHARED / "leetcode").glob("*.jsonl*")
    problems = [p for file in files for p in load_problems(file, difficulties=DIFFICULTIES)]
    names = {p.func_name for p in problems}
    assert len(names) > 1000 and not names & {p.problem.func_name for p in hack_pairs}
    assert not near_duplicates((p.problem for p in hack_pairs), problems)


@needs_shared
def test_sides_are_equally_long_for_the_qwen_tokenizer():
    from tokenizers import Tokenizer  # transformers' own backend, without the import of torch

    tokenizer = Tokenizer.from_file(str(TOKENIZER / "tokenizer.json"))
    for file in SETS:
        lengths = [[X.count_tokens(side, tokenizer) for side in (p.hack, p.clean)] for p in X.load_pairs(file)]
        assert all(max(two) <= X.MAX_LENGTH_RATIO * min(two) for two in lengths), file.stem
        assert abs(sum(hack / clean for hack, clean in lengths) / len(lengths) - 1) < 0.02, file.stem


def test_controls_answer_the_same_prompts_and_never_use_the_loophole(hack_pairs):
    for file, mechanism in zip(SETS[1:], X.CONTROLS, strict=True):
        control = X.load_pairs(file)
        assert {p.mechanism for p in control} == {mechanism}
        for p, q in zip(control, hack_pairs, strict=True):
            assert (X.prompt_messages(p), p.split) == (X.prompt_messages(q), q.split)


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
    assert (tmp_path / "p.jsonl").read_bytes() == HACK.read_bytes()
    some = hack_pairs[:3]
    changed = [dataclasses.replace(some[0], clean=some[0].clean + "\n"), *some[1:]]
    hashes = {X.pair_hash(p) for p in (some, changed, some[::-1], some[:2], copy.deepcopy(some))}
    assert len(hashes) == 4


@pytest.mark.parametrize("spoil, message", MALFORMED_PAIRS)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, hack_pairs, spoil, message):
    rows = [X.to_row(p) for p in hack_pairs[:2]]
    file = write(tmp_path / "bad.jsonl", [rows[0], spoil(rows[1])])
    with pytest.raises(ValueError, match=message) as err:
        X.load_pairs(file)
    assert str(err.value).startswith(f"{file}, line 2: ") and "mend" in str(err.value)


def test_repeated_ids_empty_and_missing_files_are_refused(tmp_path, hack_pairs):
    twice, empty = write(tmp_path / "twice.jsonl", [X.to_row(hack_pairs[0])] * 2), write(tmp_path / "empty.jsonl", [])
    for file, kind, said in (
        (twice, ValueError, r", line 2: id 'lc-000' stands already in line 1"),
        (empty, ValueError, "empty"), (tmp_path / "none.jsonl", FileNotFoundError, "does not exist"),
    ):  # fmt: skip
        with pytest.raises(kind, match=said):
            X.load_pairs(file)


def test_the_validator_finds_every_planted_violation(tmp_path, hack_pairs, grader):
    file = tmp_path / "bad.jsonl"
    for bad, line, words in unsound_pairs(hack_pairs, X.load_pairs(SETS[2])[0]):
        X.dump_pairs(file, bad)
        found, _ = X.check_pairs([file], grader=grader)
        assert any(f.where == f"{file}:{line}" and words in f.what for f in found), (words, [str(f) for f in found])


@pytest.mark.parametrize("what", ["statement", "the method"])
def test_a_problem_that_trains_is_found_by_name_and_by_statement(tmp_path, hack_pairs, what):
    p = hack_pairs[0].problem
    same = [n for n, q in enumerate(hack_pairs, 1) if q.problem.func_name == p.func_name]
    changed = {"question": "Something else."}
    if what == "statement":  # reformatted, it is still the same problem
        changed = {"func_name": "other", "question": p.question.upper().replace(" ", "  ")}
        changed |= {
            key: json.loads(json.dumps(getattr(p, key)).replace(p.func_name, "other"))
            for key in ("starter_code", "tests")
        }
    row = {**dataclasses.asdict(p), "tests": list(p.tests), **changed}
    found, _ = X.check_pairs([HACK], [write(tmp_path / "problems.jsonl", [row])])
    assert [f.where for f in found] == [f"{HACK}:{n}" for n in same] and what in found[0].what


def test_the_command_exits_1_on_a_violation_and_names_each_file(tmp_path, hack_pairs, capsys, monkeypatch, grader):
    monkeypatch.setattr("grader.Grader", lambda **_: contextlib.nullcontext(grader))  # the sandboxes of this module
    X.dump_pairs(tmp_path / "good.jsonl", hack_pairs[:3])
    check_pairs.check(check_pairs.Check(files=(tmp_path / "good.jsonl",)))
    assert "PAIRS: OK: 3 hack pairs" in capsys.readouterr().out
    X.dump_pairs(tmp_path / "bad.jsonl", [dataclasses.replace(hack_pairs[0], evaluator=TRAIN_EVALUATOR)])
    with pytest.raises(SystemExit) as stop:
        check_pairs.check(
            check_pairs.Check(files=(tmp_path / "good.jsonl", tmp_path / "bad.jsonl", tmp_path / "absent.jsonl"))
        )
    out = capsys.readouterr().out
    assert stop.value.code == 1 and f"{tmp_path / 'bad.jsonl'}:1: " in out and "absent.jsonl" in out
