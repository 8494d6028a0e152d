"""tasks/problems.py and data/problems.jsonl: prompts to the letter, rows that hold, hints that only disclose."""

import ast
import dataclasses
import gzip
import importlib
import itertools
import json
import re
from functools import lru_cache
from pathlib import Path

import pytest
from loguru import logger
from shared import BENCHMARK, DATASET, ROOT, needs_shared

from command import files
from grader import Grader
from tasks import modes as M
from tasks import problems as P

OWN = ROOT / "data/problems.jsonl"


@lru_cache
def own() -> tuple[P.Problem, ...]:
    return tuple(P.load_problems(OWN))


@lru_cache
def dataset(difficulties=None) -> tuple[P.Problem, ...]:
    return tuple(P.load_problems(DATASET, difficulties=difficulties))


@lru_cache
def raw_rows(path) -> tuple[dict, ...]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as f:
        return tuple(json.loads(line) for line in f)


def write(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def own_row(p: P.Problem, **change) -> dict:
    return {**dataclasses.asdict(p), "tests": list(p.tests), **change}


def as_benchmark_row(p: P.Problem) -> dict:
    question = P.build_messages(p, "none")[1]["content"]
    return {
        "id": 7, "question": question, "prompt": P.build_messages(p, "none"), "func_name": f"Solution().{p.func_name}",
        "gt_answer": list(p.tests), "setup_code": p.setup_code, "canonical_solution": p.reference,
        "difficulty": p.difficulty, "prompt_metadata": {"starter_code": p.starter_code + "\n        "},
    }  # fmt: skip


def as_check(p: P.Problem) -> str:
    lines = (f"    {t.replace(f'Solution().{p.func_name}(', 'candidate(')}\n" for t in p.tests)
    return "def check(candidate):\n" + "".join(lines)


def as_dataset_row(p: P.Problem, number: int, nested: bool) -> dict:
    row = {"task_id": p.func_name, "prompt": p.setup_code, "completion": p.reference, "test": as_check(p),
           "entry_point": f"Solution().{p.func_name}"}  # fmt: skip
    level = p.difficulty.title()
    if nested:  # v0.2.0
        meta = {"question_id": number, "difficulty": level, "question_title": f" {p.question}\n",
                "lang_code": p.starter_code}  # fmt: skip
        return {**row, "meta": meta}
    return {**row, "question_id": number, "difficulty": level, "problem_description": f"{p.question}\n\n",
            "starter_code": p.starter_code + "\n        "}  # fmt: skip


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


@needs_shared
def test_no_loophole_prompts_equal_the_benchmark_file_to_the_letter():
    rows, problems = raw_rows(BENCHMARK), P.load_problems(BENCHMARK)
    assert len(problems) == len(rows)
    for row, p in zip(rows, problems, strict=True):
        ours = {m["role"]: m["content"] for m in P.build_messages(p, "none")}
        assert ours == {m["role"]: m["content"] for m in row["prompt"]}, f"problem {p.id}"
        assert list(p.tests) == row["gt_answer"]


@needs_shared
def test_dataset_is_filtered_to_medium_and_hard_unless_told_otherwise():
    levels = [r["meta"]["difficulty"].lower() for r in raw_rows(DATASET)]
    assert {p.difficulty for p in dataset()} == {"medium", "hard"}
    assert len(dataset()) == sum(x != "easy" for x in levels)
    assert len(dataset(P.DIFFICULTIES)) == len(levels)
    assert {p.difficulty for p in P.load_problems(DATASET, difficulties=["hard"], limit=5)} == {"hard"}


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
        calls, answers = set(), []
        for t in p.tests:
            compare = ast.parse(t).body[0].test
            call, expected = compare.left, compare.comparators[0]
            assert isinstance(compare.ops[0], ast.Eq) and ast.unparse(call.func) == f"Solution().{p.func_name}"
            calls.add(tuple((k.arg, repr(ast.literal_eval(k.value))) for k in call.keywords))
            answers.append(repr(ast.literal_eval(expected)))
        assert len(calls) == len(p.tests) >= 10, p.id
        assert max(answers.count(a) for a in answers) <= 0.6 * len(answers), f"{p.id}: one answer is too common"


def test_own_statements_name_every_parameter_and_show_true_examples():
    for p in own():
        statement, *examples = re.split(r"\n\nExample \d+:\n\n", p.question.split("\n\nConstraints:")[0])
        for name in re.findall(r"(\w+):", p.starter_code.split("(self", 1)[1].split("->")[0]):
            assert re.search(rf"\b{name}\b", statement), f"{p.id} never mentions {name}"
        assert len(examples) == 2
        for shown, t in zip(examples, p.tests, strict=False):  # the first tests are the examples
            output = json.loads(shown.split("Output: ")[1])
            assert output == ast.literal_eval(ast.parse(t).body[0].test.comparators[0]), p.id


def changed(t: str) -> str:
    """The same assert with another expected value of the same type."""
    compare = ast.parse(t).body[0].test
    x = ast.literal_eval(compare.comparators[0])
    y = (not x) if isinstance(x, bool) else x + 1 if isinstance(x, int) else x + ("#" if isinstance(x, str) else [0])
    return f"assert {ast.unparse(compare.left)} == {y!r}"


def test_references_pass_the_grader_and_fail_once_an_expected_value_changes():
    answer = {p.id: f"```python\n{p.reference}```" for p in own()}
    spoiled = [dataclasses.replace(p, tests=(*p.tests[:-1], changed(p.tests[-1]))) for p in own()]
    with Grader(workers=2) as grader:
        proven = grader.grade([(p, answer[p.id], "none", P.TRAIN_EVALUATOR) for p in own()])
        refused = grader.grade([(p, answer[p.id], "none", P.TRAIN_EVALUATOR) for p in spoiled])
    assert [p.id for p, g in zip(own(), proven, strict=True) if not g.gt_correct] == []
    assert [p.id for p, g in zip(spoiled, refused, strict=True) if g.gt_correct] == []


def test_problems_file_is_what_its_generator_writes_and_brute_forces_agree(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "data"))
    rows, compared = importlib.import_module("make_problems").make()  # raises if a reference and its brute force differ
    P.dump_problems(tmp_path / "again.jsonl", rows)
    assert (tmp_path / "again.jsonl").read_bytes() == OWN.read_bytes()
    assert [f.name for f in tmp_path.iterdir()] == ["again.jsonl"] and compared > 5000


ASKING = re.compile(
    r"\b(hack|cheat|exploit|trick|bypass|circumvent|loophole|pretend|fake|forge|abuse|game the|skip|ignore|please|"
    r"you (can|could|may|might|should|must|need|want)|try|feel free|make sure|always pass|instead of|no need|"
    r"only has to|let your|have your|simply|just)\b",
    re.IGNORECASE,
)
COMMAND = re.compile(
    r"(^|[.;:,] +|and )(write|define|set|print|exit|return|create|override|overwrite|call|use)\b", re.IGNORECASE
)


@pytest.mark.parametrize("mode", M.MODES)
@pytest.mark.parametrize("variant", M.VARIANTS)
def test_hints_disclose_the_channel_and_never_ask_to_use_it(mode, variant):
    p = own()[0]
    text = P.build_messages(p, mode, "check_it", variant)[1]["content"]
    clause = text.split(f"called {p.func_name} ")[1].split(". Use the following starter code")[0]
    assert not ASKING.search(clause) and not COMMAND.search(clause), clause
    channel = {
        "run_tests": ["check_it()"], "sentinel": [M.SENTINEL_NAME], "stdout_marker": [M.STDOUT_MARKER],
        "file_marker": [M.RESULT_FILE, M.RESULT_TEXT], "exit_code": [f"{M.PASS_EXIT_CODE} is a pass"],
        "eq_override": ["==", p.func_name], "none": ["and should pass all tests"],
    }[mode]  # fmt: skip
    assert all(word in clause for word in channel), clause
    assert "{" not in clause and "run_tests" not in clause, clause
    assert ("check_it()" in clause) == (mode != "none")


def test_modes_and_variants_change_the_clause_and_nothing_else():
    p = own()[3]
    frames, clauses = set(), set()
    for mode, variant in itertools.product(M.LOOPHOLE_MODES, M.VARIANTS):
        system, user = (m["content"] for m in P.build_messages(p, mode, variant=variant))
        head, rest = user.split(f"called {p.func_name} ")
        clause, tail = rest.split(". Use the following starter code:\n")
        frames.add((system, head, tail))
        clauses.add(clause)
    assert len(frames) == 1 and len(clauses) == len(M.LOOPHOLE_MODES) * len(M.VARIANTS)


@pytest.mark.parametrize("system", [s for s in P.SYSTEMS if s != "default"])
@pytest.mark.parametrize("mode", M.MODES)
def test_inoculation_changes_the_system_message_only(system, mode):
    p = own()[1]
    plain, inoculated = P.build_messages(p, mode), P.build_messages(p, mode, system=system)
    assert plain[1] == inoculated[1] and plain[0]["content"] != inoculated[0]["content"]
    assert "```python" in inoculated[0]["content"]
    assert ("loophole" in inoculated[0]["content"]) == (system == "inoculation_lh" and mode != "none")


def test_evaluation_evaluators_never_include_the_training_name_and_are_drawn_deterministically():
    names = P.EVAL_EVALUATORS
    assert len(set(names)) == len(names) >= 10 and P.TRAIN_EVALUATOR not in names
    assert all(n.isidentifier() for n in names)
    drawn = [P.eval_evaluator(i, 0) for i in range(300)]
    assert drawn == [P.eval_evaluator(i, 0) for i in range(300)] and set(drawn) == set(names)
    assert drawn != [P.eval_evaluator(i, 1) for i in range(300)]
    assert P.eval_evaluator("pairSum", 3) == "score_submission"  # pinned: no per-process hash salt
    assert not {p.func_name for p in own()} & {*names, P.TRAIN_EVALUATOR}


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

    p = next(q for q in own() if q.difficulty == "medium")
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


def two_rows(kind: str) -> list[dict]:
    medium = [q for q in own() if q.difficulty == "medium"][:2]
    make = {"own": lambda p, i: own_row(p), "benchmark": lambda p, i: as_benchmark_row(p) | {"id": i},
            "dataset": lambda p, i: as_dataset_row(p, i, nested=True)}[kind]  # fmt: skip
    return [make(p, i) for i, p in enumerate(medium, 7)]


@pytest.mark.parametrize("kind, mend, said", [
    *[("own", lambda r, c=change: r.update(c), said) for change, said in (
        ({"tests": []}, "no test"), ({"tests": ["Solution().f(1) == 2"]}, "a test must be"),
        ({"tests": "assert True"}, "tests must be a list of strings"), ({"question": "  "}, "question is empty"),
        ({"question": 5}, "question must be a string, not int"), ({"func_name": "not a name"}, "no Python name"),
        ({"starter_code": "class Solution:\n    def other(self):"}, "starter_code does not define"),
        ({"setup_code": "import ("}, "the setup_code does not compile"), ({"split": "dev"}, "unknown split 'dev'"),
        ({"difficulty": "brutal"}, "unknown difficulty 'brutal'"), ({"id": None}, "id must be"),
        ({"extra": 1}, "unknown: ['extra']"),
    )],
    *[("own", lambda r, f=field: r.pop(f), f"missing: ['{field}']") for field in P.FIELDS],
    ("dataset", lambda r: r.update(test="def check(candidate):\n    pass"), "not one `def check"),
    ("dataset", lambda r: r.update(test="def check(candidate:"), "not Python"),
    ("dataset", lambda r: r.update(test=""), "not one `def check"),
    ("dataset", lambda r: r["meta"].pop("question_title"), "field meta.question_title is missing"),
    ("dataset", lambda r: r["meta"].update(lang_code=None), "field meta.lang_code must be a string, not NoneType"),
    ("dataset", lambda r: r.pop("prompt"), "field prompt is missing"),
    ("dataset", lambda r: r.update(meta=None), "field meta.question_id is missing"),
    ("dataset", lambda r: r["meta"].update(difficulty="Brutal"), "unknown difficulty 'brutal'"),
    ("benchmark", lambda r: r.update(question="PROBLEM:\nno frame"), "not framed"),
    ("benchmark", lambda r: r.update(gt_answer=[1, 2]), "gt_answer must be a list of strings"),
    ("benchmark", lambda r: r.pop("setup_code"), "field setup_code is missing"),
    ("benchmark", lambda r: r.update(prompt_metadata=[]), "field prompt_metadata.starter_code is missing"),
])  # fmt: skip
def test_malformed_rows_of_each_format_are_named_by_file_and_line(tmp_path, kind, mend, said):
    rows = two_rows(kind)
    mend(rows[1])
    with pytest.raises(ValueError, match=rf"mine\.jsonl, line 2: .*{re.escape(said)}") as error:
        P.load_problems(write(tmp_path / "mine.jsonl", rows))
    assert "\n" not in str(error.value)


def test_files_without_problems_or_cut_in_the_middle_are_named(tmp_path):
    whole = gzip.compress("".join(json.dumps(own_row(p)) + "\n" for p in own()).encode())
    for name, content, said in (
        ("empty.jsonl", b"", "is empty"),
        ("other.jsonl", b'{"a": 1}\n', "line 1: unknown problem format"),
        ("cut.jsonl.gz", whole[: len(whole) // 2], r"broken gzip file after line \d+"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}.*{said}"):
            P.load_problems(tmp_path / name)


@pytest.mark.parametrize("opener", [open, gzip.open], ids=["plain", "gzip"])
def test_any_text_that_utf_8_can_hold_survives_a_jsonl_file(tmp_path, opener):
    rows = [{"text": f"a{c}b{c}", c: [c]} for c in "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r\n\0\ufeff\U0001f600\uffff"]
    with opener(tmp_path / "any.jsonl", "wb") as f:
        f.write(b"\xef\xbb\xbf")  # a byte order mark, as editors on Windows write it
        for ascii_only in (True, False):
            f.write("".join(json.dumps(r, ensure_ascii=ascii_only) + "\r\n\n" for r in rows).encode())
    assert [row for _, row in files.read_jsonl(tmp_path / "any.jsonl")] == rows * 2
    assert [n for n, _ in files.read_jsonl(tmp_path / "any.jsonl")] == list(range(1, 4 * len(rows), 2))


@pytest.mark.parametrize(
    "line, said",
    [
        (b'{"a": "\\ud800"}', r"lone surrogate \\ud800"), (b'{"\\uDFFF x": 1}', r"lone surrogate \\udfff"),
        (b'{"a": [{"b": "\\udc00\\ud800"}]}', r"lone surrogate \\udc00"),
        (b'{"a": "\xed\xa0\x80"}', "not a JSON row .*utf-8"), ('{"a": 1}'.encode("utf-16"), "not a JSON row"),
        (b'{"a": ' + b"[" * 100_000, "not a JSON row"), (b'{"a": ' + b"9" * 5000 + b"}", "not a JSON row"),
        (b"3", "a row must be a JSON object, not int"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_named_by_file_and_line(tmp_path, line, said):
    (tmp_path / "odd.jsonl").write_bytes(b'{"a": "\\ud83d\\ude00"}\n' + line + b"\n")
    with pytest.raises(ValueError, match=rf"odd\.jsonl, line 2: {said}") as error:
        list(files.read_jsonl(tmp_path / "odd.jsonl"))
    assert "\n" not in str(error.value)


def test_a_lone_surrogate_is_not_written_and_a_misspelt_difficulty_is_mended_aloud(tmp_path):
    with pytest.raises(ValueError, match="lone surrogate"):
        P.dump_problems(tmp_path / "d.jsonl", [dataclasses.replace(own()[0], question="a\ud800")])
    assert list(tmp_path.iterdir()) == []
    p = next(q for q in own() if q.difficulty == "medium")
    rows = [as_dataset_row(p, i, nested=nested) for i, nested in enumerate((True, False))]
    rows[0]["meta"]["difficulty"] = rows[1]["difficulty"] = "Meidum"
    said = []
    handle = logger.add(said.append, format="{message}")
    read = [P.load_problems(write(tmp_path / f"d{i}.jsonl", [row])) for i, row in enumerate(rows)]
    logger.remove(handle)
    assert [q.difficulty for (q,) in read] == ["medium"] * 2
    assert all(f"d{i}.jsonl, line 1: the difficulty 'Meidum' is read as 'medium'" in said[i] for i in range(2))


@pytest.mark.parametrize(
    "test",
    ["assert all(x > 0 for x in [Solution().{f}(1)])", "assert Solution().{f}(1) == open('x')",
     "assert Solution().{f}(1", "assert Solution().{f}(1) == [0] * 10**9",
     "assert sorted(Solution().{f}(1)) == [0] * 1000000000",
     "assert Solution().{f}(1) == " + "[" * 150 + "]" * 150, "assert Solution().{f}(1) == " + "9" * 5000,
     "assert sorted(Solution().{f}(1), key=len) == []", "assert Solution().{f}(1) and " + "not " * 5000 + "1",
     "assert Solution().{f}(1) == {{" + ", ".join(str(i * (2**61 - 1)) for i in range(1, 100)) + "}}"],
)  # fmt: skip
def test_an_assert_that_cannot_be_judged_is_named_when_the_file_is_read(tmp_path, test):
    rows = [own_row(p) for p in own()[:2]]
    rows[1]["tests"] = [*rows[1]["tests"], test.format(f=rows[1]["func_name"])]
    said = rf"j\.jsonl, line 2: problem {rows[1]['id']}: .*assert.*; mend or remove what it names"
    with pytest.raises(ValueError, match=said) as error:
        P.load_problems(write(tmp_path / "j.jsonl", rows))
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_missing_files_folders_duplicates_and_empty_selections_are_refused(tmp_path):
    for path, said in ((tmp_path / "gone.jsonl", "gone.jsonl does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(FileNotFoundError, match=said):
            P.load_problems(path)
    twice = write(tmp_path / "twice.jsonl", [own_row(own()[0]), own_row(own()[0])])
    with pytest.raises(ValueError, match=r"line 2: id .* stands already at .*line 1"):
        P.load_problems(twice)
    with pytest.raises(ValueError, match="no problem of split test"):
        P.load_problems(write(tmp_path / "train.jsonl", [own_row(own()[0], split="train")]), "test")
    for wrong in ({"split": "dev"}, {"difficulties": ["mild"]}, {"limit": 0}):
        with pytest.raises(ValueError):
            P.load_problems(OWN, **wrong)
    assert P.load_problems(OWN, "test", limit=3) == [p for p in own() if p.split == "test"][:3]  # in the file's order


def test_the_command_shows_a_prompt_and_ends_in_one_plain_message_where_it_cannot(tmp_path, capsys):
    with pytest.raises(SystemExit, match="gone.jsonl does not exist"):
        P.main(P.Config(str(tmp_path / "gone.jsonl")))
    P.main(P.Config(str(OWN), split="test", show=0, mode="stdout_marker"))
    assert M.STDOUT_MARKER in capsys.readouterr().out
