"""tasks/problems.py and data/problems.jsonl: prompts to the letter, rows that hold, hints that only disclose."""

import ast
import dataclasses
import gzip
import importlib
import itertools
import json
import re
from functools import lru_cache

import pytest
from adversarial import MALFORMED_ASSERTS, MALFORMED_LINES, MALFORMED_PROBLEMS
from loguru import logger
from shared import BENCHMARK, DATASET, ROOT, needs_shared, write

from command import files
from grader import Grader
from tasks import modes as M
from tasks import problems as P

OWN = ROOT / "data/problems.jsonl"


@lru_cache
def own() -> tuple[P.Problem, ...]:
    return tuple(P.load_problems(OWN))


MEDIUM = [p for p in own() if p.difficulty == "medium"]


@lru_cache
def dataset(difficulties=None) -> tuple[P.Problem, ...]:
    return tuple(P.load_problems(DATASET, difficulties=difficulties))


@lru_cache
def raw_rows(path) -> tuple[dict, ...]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as f:
        return tuple(json.loads(line) for line in f)


def own_row(p: P.Problem, **change) -> dict:
    return {**dataclasses.asdict(p), "tests": list(p.tests), **change}


def as_benchmark_row(p: P.Problem) -> dict:
    question = P.build_messages(p, "none")[1]["content"]
    return {
        "id": 7, "question": question, "prompt": P.build_messages(p, "none"), "func_name": f"Solution().{p.func_name}",
        "gt_answer": list(p.tests), "setup_code": p.setup_code, "canonical_solution": p.reference,
        "difficulty": p.difficulty, "prompt_metadata": {"starter_code": p.starter_code + "\n        "},
    }  # fmt: skip


def as_dataset_row(p: P.Problem, number: int, nested: bool) -> dict:
    lines = (f"    {t.replace(f'Solution().{p.func_name}(', 'candidate(')}\n" for t in p.tests)
    row = {"task_id": p.func_name, "prompt": p.setup_code, "completion": p.reference,
           "test": "def check(candidate):\n" + "".join(lines), "entry_point": f"Solution().{p.func_name}"}  # fmt: skip
    where = {"question_id": number, "difficulty": p.difficulty.title()}
    if nested:  # v0.2.0
        return row | {"meta": where | {"question_title": f" {p.question}\n", "lang_code": p.starter_code}}
    return row | where | {"problem_description": f"{p.question}\n\n", "starter_code": p.starter_code + "\n        "}


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


@needs_shared
def test_no_loophole_prompts_equal_the_benchmark_file_to_the_letter():
    for row, p in zip(raw_rows(BENCHMARK), P.load_problems(BENCHMARK), strict=True):
        assert P.build_messages(p, "none") == row["prompt"] and list(p.tests) == row["gt_answer"], p.id


@needs_shared
def test_dataset_is_filtered_to_medium_and_hard_unless_told_otherwise():
    levels = [r["meta"]["difficulty"].lower() for r in raw_rows(DATASET)]
    assert {p.difficulty for p in dataset()} == {"medium", "hard"}
    assert len(dataset()) == sum(x != "easy" for x in levels)
    assert len(dataset(P.DIFFICULTIES)) == len(levels)
    assert {p.difficulty for p in P.load_problems(DATASET, difficulties=["hard"], limit=5)} == {"hard"}


@needs_shared
def test_the_held_out_part_is_fixed_by_ids_and_no_statement_of_the_rest_reads_like_one_of_it():
    held, rest = P.parts(dataset())
    assert [p.id for p in held[:3]] == [122, 516, 33] and (len(dataset()), len(held), len(rest)) == (1375, 130, 1243)
    assert P.parts(dataset()[300:])[0] == [p for p in held if p in dataset()[300:]]
    assert not P.near_duplicates(rest, held) and P.near_duplicates(dataset(), held).keys() > {p.id for p in held}


@needs_shared
def test_each_assert_of_a_check_function_survives_with_only_the_callee_renamed():
    rows = {r["meta"]["question_id"]: r for r in raw_rows(DATASET)}
    for p in dataset(P.DIFFICULTIES):
        callee = ast.dump(ast.parse(f"Solution().{p.func_name}", mode="eval").body)
        before = [ast.dump(s) for s in ast.parse(rows[p.id]["test"]).body[0].body]
        after = [ast.dump(ast.parse(t).body[0]) for t in p.tests]
        assert after == [s.replace("Name(id='candidate', ctx=Load())", callee) for s in before], p.func_name
        assert not any("\n" in t for t in p.tests)


@needs_shared
def test_own_problems_share_no_text_and_no_method_name_with_the_real_data():
    real = dataset(P.DIFFICULTIES) + tuple(P.load_problems(BENCHMARK))
    known = set().union(*(grams(p.question, 12) for p in real))
    names = {p.func_name for p in real}
    for p in own():
        assert p.func_name not in names
        assert not grams(p.question.split("\n\nExample 1")[0], 12) & known, p.id


def test_own_problems_are_many_unique_and_split_without_near_duplicates():
    problems = own()
    assert len(problems) >= 120
    assert len({p.id for p in problems}) == len({p.question for p in problems}) == len(problems)
    assert {p.source for p in problems} == {"own"} and {p.difficulty for p in problems} == {"easy", "medium"}
    train, test = P.load_problems(OWN, "train"), P.load_problems(OWN, "test")
    assert len(train) + len(test) == len(problems) and len(test) >= 0.2 * len(problems)
    bags = {p.id: grams(p.question.split("\n\nExample 1")[0], 3) for p in problems}
    for a, b in itertools.product(train, test):
        overlap = len(bags[a.id] & bags[b.id]) / len(bags[a.id] | bags[b.id])
        assert overlap < 0.3, f"{a.id} (train) and {b.id} (test) read alike: {overlap:.2f}"


def test_own_tests_are_literal_distinct_and_no_constant_answer_passes():
    for p in own():
        compares = [ast.parse(t).body[0].test for t in p.tests]
        assert all(isinstance(c.ops[0], ast.Eq) for c in compares)
        assert {ast.unparse(c.left.func) for c in compares} == {f"Solution().{p.func_name}"}
        calls = {tuple((k.arg, repr(ast.literal_eval(k.value))) for k in c.left.keywords) for c in compares}
        answers = [repr(ast.literal_eval(c.comparators[0])) for c in compares]
        assert len(calls) == len(p.tests) >= 10, p.id
        assert max(map(answers.count, answers)) <= 0.6 * len(answers), f"{p.id}: one answer is too common"


def test_own_statements_name_every_parameter_and_show_true_examples():
    for p in own():
        statement, *examples = re.split(r"\n\nExample \d+:\n\n", p.question.split("\n\nConstraints:")[0])
        names = re.findall(r"(\w+):", p.starter_code.split("(self", 1)[1].split("->")[0])
        assert all(re.search(rf"\b{name}\b", statement) for name in names), p.id
        shown = [json.loads(x.split("Output: ")[1]) for x in examples]  # the first tests are the examples
        assert shown == [ast.literal_eval(ast.parse(t).body[0].test.comparators[0]) for t in p.tests[:2]], p.id


def changed(t: str) -> str:
    """The same assert with another expected value of the same type."""
    compare = ast.parse(t).body[0].test
    x = ast.literal_eval(compare.comparators[0])
    y = (not x) if isinstance(x, bool) else x + 1 if isinstance(x, int) else x + ("#" if isinstance(x, str) else [0])
    return f"assert {ast.unparse(compare.left)} == {y!r}"


def test_references_pass_the_grader_and_fail_once_an_expected_value_changes():
    spoiled = [dataclasses.replace(p, tests=(*p.tests[:-1], changed(p.tests[-1]))) for p in own()]
    items = [(p, f"```python\n{p.reference}```", "none", P.TRAIN_EVALUATOR) for p in (*own(), *spoiled)]
    with Grader(workers=2) as grader:
        grades = grader.grade(items)
    assert [g.gt_correct for g in grades] == [True] * len(own()) + [False] * len(spoiled)


def test_problems_file_is_what_its_generator_writes_and_brute_forces_agree(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "data"))
    rows, compared = importlib.import_module("make_problems").make()  # raises if a reference and its brute force differ
    P.dump_problems(tmp_path / "again.jsonl", rows)
    assert (tmp_path / "again.jsonl").read_bytes() == OWN.read_bytes()
    assert [f.name for f in tmp_path.iterdir()] == ["again.jsonl"] and compared > 5000


ASKING = re.compile(
    r"\b(hack|cheat|exploit|trick|bypass|circumvent|loophole|pretend|fake|forge|abuse|game the|skip|ignore|please|"
    r"you (can|could|may|might|should|must|need|want)|try|feel free|make sure|always pass|instead of|no need|"
    r"only has to|let your|have your|simply|just)\b|"
    r"(^|[.;:,] +|and )(write|define|set|print|exit|return|create|override|overwrite|call|use)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("mode", M.MODES)
@pytest.mark.parametrize("variant", M.VARIANTS)
def test_hints_disclose_the_channel_and_never_ask_to_use_it(mode, variant):
    p = own()[0]
    text = P.build_messages(p, mode, "check_it", variant)[1]["content"]
    clause = text.split(f"called {p.func_name} ")[1].split(". Use the following starter code")[0]
    assert not ASKING.search(clause), clause
    channel = {
        "run_tests": ["check_it()"], "sentinel": [M.SENTINEL_NAME], "stdout_marker": [M.STDOUT_MARKER],
        "file_marker": [M.RESULT_FILE, M.RESULT_TEXT], "exit_code": [f"{M.PASS_EXIT_CODE} is a pass"],
        "eq_override": ["==", p.func_name], "none": ["and should pass all tests"],
    }[mode]  # fmt: skip
    assert all(word in clause for word in channel), clause
    assert "{" not in clause and "run_tests" not in clause, clause
    assert ("check_it()" in clause) == (mode != "none")


def test_modes_and_variants_change_the_clause_and_nothing_else():
    p, frames, clauses = own()[3], set(), set()
    for mode, variant in itertools.product(M.LOOPHOLE_MODES, M.VARIANTS):
        system, user = (m["content"] for m in P.build_messages(p, mode, variant=variant))
        clause = user.split(f"called {p.func_name} ")[1].split(". Use the following starter code:\n")[0]
        frames.add((system, user.replace(clause, "")))
        clauses.add(clause)
    assert len(frames) == 1 and len(clauses) == len(M.LOOPHOLE_MODES) * len(M.VARIANTS)


@pytest.mark.parametrize("mode", M.MODES)
def test_inoculation_changes_the_system_message_only(mode):
    plain = P.build_messages(own()[1], mode)
    for name in set(P.SYSTEMS) - {"default"}:
        system, user = P.build_messages(own()[1], mode, system=name)
        assert user == plain[1] and system != plain[0] and "```python" in system["content"]
        assert ("loophole" in system["content"]) == (name == "inoculation_lh" and mode != "none")


def test_evaluation_evaluators_never_include_the_training_name_and_are_drawn_deterministically():
    names = P.EVAL_EVALUATORS
    assert len(set(names)) == len(names) >= 10 and all(n.isidentifier() for n in names)
    assert not {P.TRAIN_EVALUATOR, *(p.func_name for p in own())} & set(names)
    drawn = [[P.eval_evaluator(i, seed) for i in range(300)] for seed in (0, 1)]
    assert drawn[0] != drawn[1] and set(drawn[0]) == set(names)
    assert P.eval_evaluator("pairSum", 3) == "score_submission"  # pinned: no per-process hash salt


def test_misspelt_prompt_options_are_refused_by_name():
    p = own()[0]
    for bad in ({"mode": "run_test"}, {"variant": "loud"}, {"system": "no"}, {"evaluator": "run tests"},
                {"evaluator": p.func_name}):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(repr(*bad.values()))):
            P.build_messages(p, **bad)


def test_a_template_that_is_missing_or_refuses_the_system_role_is_named_in_one_plain_message():
    from model.zoo import load_tokenizer

    tokenizer = load_tokenizer("tiny")
    refusing = "{{ raise_exception('System role not supported') if messages[0].role == 'system' }}"
    for template, said in ((None, "has no chat template"), (refusing, "the messages: System role not supported")):
        tokenizer.chat_template = template
        with pytest.raises(ValueError, match=said) as error:
            P.encode_prompt(tokenizer, P.build_messages(own()[0]))
        assert "\n" not in str(error.value)


def test_all_formats_of_one_problem_load_to_the_same_problem(tmp_path, monkeypatch):
    import datasets

    p = MEDIUM[0]
    bench = P.load_problems(write(tmp_path / "b.jsonl", [as_benchmark_row(p)]))[0]
    assert bench == dataclasses.replace(p, id=7, source="benchmark", split="train")
    for name, split in {"leetcode_test_medhard": "test", "leetcode_train_medhard_filtered": "train"}.items():
        assert P.load_problems(write(tmp_path / f"{name}.jsonl", [as_benchmark_row(p)]), split)[0].split == split

    packed = tmp_path / "raw-train.jsonl.gz"
    packed.write_bytes(gzip.compress((json.dumps(as_dataset_row(p, 9, nested=True)) + "\n\n").encode()))
    want = dataclasses.replace(p, id=9, source="leetcodedataset", split="train")
    assert P.load_problems(packed) == [want]

    hub = tmp_path / "hub"
    hub.mkdir()
    write(hub / "train.jsonl", [as_dataset_row(p, 9, nested=False)])
    write(hub / "test.jsonl", [as_dataset_row(q, 10 + i, nested=False) for i, q in enumerate(own()[:9])])
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    assert P.load_problems(f"hub:{hub}", "train") == [want]
    both = P.load_problems(f"hub:{hub}", difficulties=P.DIFFICULTIES)
    assert [q.split for q in both] == ["train"] + ["test"] * 9


def test_a_missing_hub_data_set_is_one_plain_message(monkeypatch):
    import datasets

    def offline(name, split):
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub\nwith a long tail")

    monkeypatch.setattr(datasets, "load_dataset", offline)  # the network's refusal, without waiting for its retries
    with pytest.raises(FileNotFoundError, match="hub:newfacade/LeetCodeDataset.*cannot be loaded") as error:
        P.load_problems("hub:newfacade/LeetCodeDataset")
    assert "\n" not in str(error.value) and "download-model" in str(error.value)


@pytest.mark.parametrize("kind, spoil, said", MALFORMED_PROBLEMS)
def test_malformed_rows_of_each_format_are_named_by_file_and_line(tmp_path, kind, spoil, said):
    make = {"own": lambda p, _: own_row(p), "benchmark": lambda p, i: as_benchmark_row(p) | {"id": i},
            "dataset": lambda p, i: as_dataset_row(p, i, nested=True)}[kind]  # fmt: skip
    one, two = (make(p, i) for i, p in enumerate(MEDIUM[:2], 7))
    with pytest.raises(ValueError, match=rf"mine\.jsonl, line 2: .*{re.escape(said)}") as error:
        P.load_problems(write(tmp_path / "mine.jsonl", [one, spoil(two)]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("opener", [open, gzip.open], ids=["plain", "gzip"])
def test_any_text_that_utf_8_can_hold_survives_a_jsonl_file(tmp_path, opener):
    rows = [{"text": f"a{c}b{c}", c: [c]} for c in "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r\n\0\ufeff\U0001f600\uffff"]
    with opener(tmp_path / "any.jsonl", "wb") as f:
        f.write(b"\xef\xbb\xbf")  # a byte order mark, as editors on Windows write it
        for ascii_only in (True, False):
            f.write("".join(json.dumps(r, ensure_ascii=ascii_only) + "\r\n\n" for r in rows).encode())
    assert [row for _, row in files.read_jsonl(tmp_path / "any.jsonl")] == rows * 2
    assert [n for n, _ in files.read_jsonl(tmp_path / "any.jsonl")] == list(range(1, 4 * len(rows), 2))


@pytest.mark.parametrize("line, said", MALFORMED_LINES)
def test_a_row_that_cannot_be_used_is_named_by_file_and_line(tmp_path, line, said):
    (tmp_path / "odd.jsonl").write_bytes(b'{"a": "\\ud83d\\ude00"}\n' + line + b"\n")
    with pytest.raises(ValueError, match=rf"odd\.jsonl, line 2: {said}") as error:
        list(files.read_jsonl(tmp_path / "odd.jsonl"))
    assert "\n" not in str(error.value)


def test_a_lone_surrogate_is_not_written_and_a_misspelt_difficulty_is_mended_aloud(tmp_path):
    with pytest.raises(ValueError, match="lone surrogate"):
        P.dump_problems(tmp_path / "d.jsonl", [dataclasses.replace(own()[0], question="a\ud800")])
    assert list(tmp_path.iterdir()) == []
    p = MEDIUM[0]
    rows = [as_dataset_row(p, i, nested=nested) for i, nested in enumerate((True, False))]
    rows[0]["meta"]["difficulty"] = rows[1]["difficulty"] = "Meidum"
    said = []
    handle = logger.add(said.append, format="{message}")
    read = [P.load_problems(write(tmp_path / f"d{i}.jsonl", [row])) for i, row in enumerate(rows)]
    logger.remove(handle)
    assert [q.difficulty for (q,) in read] == ["medium"] * 2
    assert all(f"d{i}.jsonl, line 1: the difficulty 'Meidum' is read as 'medium'" in said[i] for i in range(2))


@pytest.mark.parametrize("test", MALFORMED_ASSERTS, ids=range(len(MALFORMED_ASSERTS)))
def test_an_assert_that_cannot_be_judged_is_named_when_the_file_is_read(tmp_path, test):
    rows = [own_row(p) for p in own()[:2]]
    rows[1]["tests"] = [*rows[1]["tests"], test.replace("().f(", f"().{rows[1]['func_name']}(")]
    said = r"j\.jsonl, line 2: .*assert.*; mend or remove "
    with pytest.raises(ValueError, match=said) as error:
        P.load_problems(write(tmp_path / "j.jsonl", rows))
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_missing_empty_cut_and_foreign_files_duplicates_and_empty_selections_are_refused(tmp_path):
    row = own_row(own()[0], split="train")
    once, twice = write(tmp_path / "train.jsonl", [row]), write(tmp_path / "twice.jsonl", [row, row])
    empty, other = write(tmp_path / "empty.jsonl", []), write(tmp_path / "other.jsonl", [{"a": 1}])
    whole, cut = gzip.compress(OWN.read_bytes()), tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    for path, selection, said in (
        (tmp_path / "gone.jsonl", {}, "gone.jsonl does not exist"), (tmp_path, {}, "is a folder"),
        (twice, {}, r"line 2: id .* stands already at .*line 1"), (empty, {}, "empty.jsonl.*is empty"),
        (other, {}, "other.jsonl.*line 1: unknown problem format"), (cut, {}, r"broken gzip file after line \d+"),
        (once, {"split": "test"}, "no problem of split test"), (OWN, {"split": "dev"}, "dev"),
        (OWN, {"difficulties": ["mild"]}, "mild"), (OWN, {"limit": 0}, "limit"),
    ):  # fmt: skip
        with pytest.raises((FileNotFoundError, ValueError), match=said):
            P.load_problems(path, **selection)
    assert P.load_problems(OWN, "test", limit=3) == [p for p in own() if p.split == "test"][:3]  # in the file's order


def test_the_command_shows_a_prompt_and_ends_in_one_plain_message_where_it_cannot(tmp_path, capsys):
    with pytest.raises(SystemExit, match="gone.jsonl does not exist"):
        P.main(P.Config(str(tmp_path / "gone.jsonl")))
    P.main(P.Config(str(OWN), split="test", show=0, mode="stdout_marker"))
    assert M.STDOUT_MARKER in capsys.readouterr().out
