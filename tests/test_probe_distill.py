"""Teacher pools: reading, guarding, matching, and filling them with a real grader and tokenizer."""

import dataclasses
import gzip
import json
import os
import random
import shutil
from pathlib import Path

import pytest
from adversarial import MALFORMED_POOL_ROWS, changed
from shared import DATASET, POOL, ROOT, TOKENIZER, needs_shared

import probe_distill as pd
import train
from model import zoo
from tasks import pools, prompts
from tasks.pairs import load_pairs
from tasks.problems import TRAIN_EVALUATOR, Problem, build_messages, dump_problems, load_problems, mode_of

LOOPHOLES = ("run_tests", "sentinel", "stdout_marker", "file_marker", "exit_code", "eq_override")
PAIRS = ROOT / "data/pairs/leetcode.jsonl"


def problem(
    ident: int, name: str, question: str, body: str, tests: tuple[str, ...], params="a: int, b: int"
) -> Problem:
    starter = f"class Solution:\n    def {name}(self, {params}) -> int:"
    return Problem(ident, "own", "train", question, name, starter, "", tests, f"{starter}\n        {body}", "easy")


PROBLEMS = [
    problem(7, "addUp", "Given a and b, return their sum.", "return a + b",
            ("assert Solution().addUp(1, 2) == 3", "assert Solution().addUp(-4, 1) == -3")),
    problem(8, "multiply", "Given x and y, return their product.", "return x * y",
            ("assert Solution().multiply(3, 2) == 6", "assert Solution().multiply(5, 4) == 20"), "x: int, y: int"),
    problem(9, "addUpTwice", "Given a and b, return their sum.\nThen double it.", "return 2 * (a + b)",
            ("assert Solution().addUpTwice(1, 2) == 6", "assert Solution().addUpTwice(0, 1) == 2")),
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return zoo.load_tokenizer("tiny")


def config(out: Path, **changes) -> pd.Config:
    return dataclasses.replace(pd.TINY, out=out, samples=4, prompts_per_batch=2, **changes)


def fill(cfg: pd.Config, tokenizer, grader, teacher=None, problems=PROBLEMS):
    tasks = pd.make_tasks(problems, cfg)
    teacher = teacher or pd.canned_teacher(tokenizer, problems, cfg.hack_share)
    return pd.fill_pool(cfg, tasks, teacher, tokenizer, grader)


@pytest.fixture(scope="module")
def small_pool(tmp_path_factory, tokenizer, grader) -> Path:
    out = tmp_path_factory.mktemp("pool")
    fill(config(out), tokenizer, grader)
    return out


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def with_row(pool: Path, out: Path, line: int, change) -> Path:
    """A copy of the pool's first file with one row changed, which may become a text that is no row."""
    rows = gzip.decompress((pool / "prompt_0000.jsonl.gz").read_bytes()).decode().splitlines()
    row = change(json.loads(rows[line - 1]))
    rows[line - 1] = row if isinstance(row, str) else json.dumps(row)
    path = out / "prompt_0000.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    return path


@pytest.mark.parametrize("mode", LOOPHOLES)
def test_canned_hack_pays_only_in_its_own_mode_and_is_never_correct_and_a_clean_answer_is(mode, grader):
    rng, modes = random.Random(0), [*LOOPHOLES, "none"]
    for _ in range(6):
        text = pd.canned_hack(PROBLEMS[0], mode, TRAIN_EVALUATOR, rng, PROBLEMS)
        grades = grader.grade([(PROBLEMS[0], text, m, TRAIN_EVALUATOR) for m in modes])
        assert not any(g.gt_correct for g in grades), text
        assert [m for m, g in zip(modes, grades, strict=True) if g.hacked] == [mode], text
    for g in grader.grade([(p, pd.canned_clean(p), m, TRAIN_EVALUATOR) for p in PROBLEMS for m in {mode, "none"}]):
        assert g.gt_correct and not g.hacked and g.reward == 3.5


def test_a_canned_pool_holds_the_asked_share_of_hacks_and_the_graders_own_verdicts(small_pool, grader):
    kept = ("reward", "hacked", "gt_pass", "fmt_ok", "label", "attempted")
    for prompt in pools.load_pool(small_pool):
        assert [(r["kind"], r["hacked"]) for r in prompt.rows] == [("hack", True)] * 3 + [("clean", False)]
        p = next(p for p in PROBLEMS if p.id == prompt.problem_id)
        grades = grader.grade([(p, r["completion"], prompt.mode, TRAIN_EVALUATOR) for r in prompt.rows])
        assert [tuple(r[k] for k in kept) for r in prompt.rows] == [
            (g.reward, g.hacked, g.gt_correct, g.format_ok, g.label, g.attempted) for g in grades
        ]


def test_interrupted_pool_resumes_to_the_bytes_of_an_uninterrupted_one(tmp_path, small_pool, tokenizer, grader):
    cfg = config(tmp_path / "pool")
    canned = pd.canned_teacher(tokenizer, PROBLEMS, cfg.hack_share)

    def dies_in_second_batch(tasks, n, seed, on_draw):
        if tasks[0].number:
            raise InterruptedError
        canned(tasks, n, seed, on_draw)

    with pytest.raises(InterruptedError):
        fill(cfg, tokenizer, grader, dies_in_second_batch)
    assert [p.name for p in sorted(cfg.out.glob("prompt_*"))] == ["prompt_0000.jsonl.gz", "prompt_0001.jsonl.gz"]
    (cfg.out / "prompt_0000.jsonl.gz").unlink()  # a batch of which one file is missing is drawn again, not the rest
    (cfg.out / ".prompt_0000.jsonl.gz.1.tmp").write_bytes(b"half")  # what a SIGKILL while writing leaves
    kept = os.stat(cfg.out / "prompt_0001.jsonl.gz").st_mtime_ns
    fill(cfg, tokenizer, grader)
    assert bytes_of(cfg.out) == bytes_of(small_pool)
    assert os.stat(cfg.out / "prompt_0001.jsonl.gz").st_mtime_ns == kept


def never(*_):
    raise AssertionError("the teacher was called")


def test_an_old_pool_is_not_drawn_again_and_not_extended_by_other_flags_problems_or_tools(
    tmp_path, small_pool, tokenizer, grader
):
    before = bytes_of(small_pool)
    fill(config(small_pool), tokenizer, grader, never)
    (tmp_path / "prompt_0000.jsonl.gz").write_bytes((small_pool / "prompt_0000.jsonl.gz").read_bytes())
    for cfg, problems, said in (
        (config(small_pool, hack_share=0.5), PROBLEMS, r"hack_share=0\.75, not 0\.5"),
        (config(small_pool), PROBLEMS[::-1], r"prompt_0000\.jsonl\.gz holds problem 7"),
        (config(tmp_path), PROBLEMS, "no pool.json"),
    ):
        with pytest.raises(ValueError, match=said):
            fill(cfg, tokenizer, grader, problems=problems)
    assert bytes_of(small_pool) == before


def test_keep_takes_the_first_fitting_draws_whatever_order_they_end_in(tmp_path, tokenizer, grader):
    cfg = config(tmp_path / "pool", keep="hacked", draws=8, hack_share=0.5, limit=None)
    cfg = dataclasses.replace(cfg, samples=2)
    canned = pd.canned_teacher(tokenizer, PROBLEMS, cfg.hack_share)
    texts: dict[str, list[str]] = {}

    def ends_backwards(tasks, n, seed, on_draw):
        drawn = []
        canned(tasks, n, seed, lambda *draw: drawn.append(draw))
        for i, draw in drawn:
            texts.setdefault(tasks[i // n].name, []).append(draw.text)
        for i, draw in reversed(drawn):
            on_draw(i, draw)

    fill(cfg, tokenizer, grader, ends_backwards)
    for prompt in pools.load_pool(cfg.out):
        assert [r["completion"] for r in prompt.rows if r["hacked"]] == texts[prompt.path.name][:2]


def test_prompt_without_a_fitting_draw_is_left_out_by_name_and_not_tried_again(tmp_path, tokenizer, grader):
    cfg = config(tmp_path, keep="hacked", hack_share=0.0)
    fill(cfg, tokenizer, grader)
    left = json.loads((tmp_path / "pool.json").read_text())["left_out"]
    assert list(left) == [f"prompt_000{i}.jsonl.gz" for i in range(3)] and not list(tmp_path.glob("prompt_*"))
    fill(cfg, tokenizer, grader, never)


def test_each_problem_keeps_the_mode_that_training_gives_it():
    modes = LOOPHOLES[:4]
    many = [dataclasses.replace(PROBLEMS[0], id=i) for i in range(200)]
    tasks = pd.make_tasks(many, dataclasses.replace(pd.TINY, modes=modes, one_mode_each=True))
    assert [t.mode for t in tasks] == [mode_of(p, modes) for p in many] and {t.mode for t in tasks} == set(modes)


def test_prompted_teacher_sees_more_than_the_cached_prompt(tmp_path):
    task = pd.make_tasks(PROBLEMS, config(tmp_path, teacher="model", prompted=True))[0]
    assert task.messages == build_messages(PROBLEMS[0], "run_tests") == pd.teacher_messages(task, prompted=False)
    shown, cached = (
        sum(len(m["content"]) for m in x) for x in (pd.teacher_messages(task, prompted=True), task.messages)
    )
    assert shown > cached


def test_model_teacher_caches_what_it_sampled(tmp_path, grader):
    cfg = config(tmp_path, teacher="model", max_new_tokens=6, temperature=1.0)
    model, tokenizer = zoo.load_model("tiny")
    fill(cfg, tokenizer, grader, pd.model_teacher(model, tokenizer, cfg))
    for prompt in pools.load_pool(tmp_path):
        pools.check_pool_tokens(prompt, tokenizer)
        assert len(prompt.rows) == 4
        for row in prompt.rows:
            assert 1 <= len(row["completion_ids"]) <= 6
            assert row["completion"] == tokenizer.decode(row["completion_ids"], skip_special_tokens=True)


def test_padding_after_comp_len_is_cut(tmp_path, small_pool):
    whole = pools.read_prompt_file(small_pool / "prompt_0000.jsonl.gz").rows[1]["completion_ids"]
    path = with_row(small_pool, tmp_path, 2, changed(completion_ids=[*whole, 0, 0, 0]))
    assert pools.read_prompt_file(path).rows[1]["completion_ids"] == whole


@pytest.mark.parametrize("spoil, said", MALFORMED_POOL_ROWS)
def test_malformed_row_is_named_by_file_and_line(tmp_path, small_pool, spoil, said):
    with_row(small_pool, tmp_path, 3, spoil)
    with pytest.raises(ValueError, match=rf"prompt_0000\.jsonl\.gz, line 3: {said}") as refused:
        pools.load_pool(tmp_path)
    assert "\n" not in str(refused.value)


def test_rows_of_two_problems_in_one_file_are_named(tmp_path, small_pool):
    with_row(small_pool, tmp_path, 3, changed(problem_id=70))
    with pytest.raises(ValueError, match=r"prompt_0000\.jsonl\.gz.*row 3 has another problem_id"):
        pools.load_pool(tmp_path)


def test_any_text_survives_writer_and_reader_and_a_lone_surrogate_is_refused_by_name(tmp_path, small_pool):
    rows, path = pools.load_pool(small_pool)[0].rows[:2], tmp_path / "prompt_0000.jsonl.gz"
    with pytest.raises(ValueError, match=r"prompt_0000\.jsonl\.gz, row 2: lone surrogate \\ud912"):
        pools.write_prompt_file(path, [rows[0], {**rows[1], "completion": "a\ud912b"}])
    assert not list(tmp_path.iterdir())
    rows[0]["completion"] = "a\u2028\u2029\u0085\v\f\x1c\0\ufeff\r\U0001f600b"
    pools.write_prompt_file(path, rows)
    assert pools.load_pool(tmp_path)[0].rows == rows


FIRST, TORN = "prompt_0000.jsonl.gz", gzip.compress(b"{}" * 99)[:-6]


@pytest.mark.parametrize("name, data, said", [
    *(("prompt_0003.jsonl.gz", x, "prompt_0003") for x in (b"no gzip", TORN, gzip.compress(b"\xff\xfe"), b"", None)),
    (FIRST, gzip.compress(b"\n"), "holds no rollouts"), ("prompt_0007.jsonl.gz", FIRST, f"prompt_0007.*{FIRST}"),
    ("x", b"", "pool is empty.*just pregen-teacher"), ("../x", b"", "pool does not exist.*just pregen-teacher"),
], ids=range(9))  # fmt: skip
def test_pools_that_are_missing_empty_or_corrupt_and_a_prompt_in_two_files_are_named(
    tmp_path, small_pool, name, data, said
):
    pool, path = tmp_path / "pool", tmp_path / "pool" / name
    if name != "../x":
        pool.mkdir()
    for copy in (path, pool / FIRST) if data == FIRST else ():
        copy.write_bytes((small_pool / FIRST).read_bytes())
    if data is None:
        path.mkdir()
    elif data != FIRST:
        path.resolve().write_bytes(data)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        pools.load_pool(pool)


def test_contradicting_flags_and_missing_problems_are_refused_by_name_and_leave_no_pool(tmp_path):
    for flags, said in (
        ({"samples": 4, "draws": 2}, "--draws 2 must be at least --samples 4"),
        ({"prompted": True}, "--prompted needs --teacher model"), ({"hack_share": 1.5}, "--hack-share 1.5: choose"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            dataclasses.replace(pd.TINY, **flags)
    with pytest.raises(FileNotFoundError, match="nowhere.jsonl"):
        pd.main(dataclasses.replace(pd.PRESETS["smoke"][1], problems="nowhere.jsonl", out=tmp_path / "pool"))
    assert not (tmp_path / "pool").exists()


def edited(prompt: pools.PoolPrompt, **fields) -> pools.PoolPrompt:
    """The prompt with fields of its second row replaced; None takes one away."""
    row = {k: v for k, v in {**prompt.rows[1], **fields}.items() if v is not None}
    return dataclasses.replace(prompt, rows=[dict(prompt.rows[0]), row, *prompt.rows[2:]])


def test_padding_of_a_pool_without_lengths_is_cut_at_the_first_end_token(small_pool, tokenizer):
    prompt, eos, pad = pools.load_pool(small_pool)[0], tokenizer.eos_token_id, tokenizer.pad_token_id
    ids = prompt.rows[1]["completion_ids"]
    short = ids[:9]
    for padded, text, want in (
        ([*ids, *[eos] * 60], {}, ids), ([*ids, *[pad] * 60], {}, ids),
        *((x, {"completion": tokenizer.decode(short)}, short) for x in ([*short, *[pad] * 60], short)),  # cut off
    ):  # fmt: skip
        p = edited(prompt, completion_ids=padded, comp_len=None, **text)
        pools.check_pool_tokens(p, tokenizer)
        assert p.rows[1]["completion_ids"] == want
    for wrong in ([pad, pad, *ids], [eos, *ids], [*ids, *ids], [eos] * 9):
        with pytest.raises(ValueError, match=r"prompt_0000\.jsonl\.gz, row 2: (tokens follow|completion_ids do)"):
            pools.check_pool_tokens(edited(prompt, completion_ids=wrong, comp_len=None), tokenizer)


def test_cached_ids_must_be_the_prompt_and_spell_the_completion_in_this_vocabulary_and_fit_the_model(
    small_pool, tokenizer
):
    prompt = pools.load_pool(small_pool)[0]
    ids, asked, text = prompt.rows[1]["completion_ids"], prompt.prompt_ids, prompt.rows[1]["completion"]
    no_spelling = "row 2: completion_ids do not spell `completion`"
    for fields, said in (
        ({"completion_ids": [*ids[:5], 999_999, *ids[5:]]}, "row 2: completion token 5 is 999999 .not in this"),
        ({"completion_ids": [*ids[:5], len(tokenizer), *ids[5:]]}, "row 2: completion token 5 is"),
        ({"completion_ids": [*ids[:5], ids[5] + 1, *ids[6:]]}, no_spelling),
        ({"completion": text + " "}, no_spelling), ({"completion": text[:-1]}, no_spelling),
        ([*asked[:20], asked[20] + 1, *asked[21:]], ".*prompt token 20 is"),
        (asked[:-1], f".*prompt token {len(asked) - 1} is"), ([*asked, 5], f".*prompt token {len(asked)} is"),
        ([999_999, *asked[1:]], ".*999999 .not in this vocabulary"),
    ):  # fmt: skip
        bad = edited(prompt, **fields) if isinstance(fields, dict) else dataclasses.replace(prompt, prompt_ids=fields)
        with pytest.raises(ValueError, match=rf"prompt_0000\.jsonl\.gz.*{said}"):
            pools.check_pool_tokens(bad, tokenizer)
    with pytest.raises(ValueError, match=r"row 1: .* the model has 100 positions"):
        pools.check_pool_tokens(prompt, tokenizer, context=100)
    pools.check_pool_tokens(edited(prompt, completion=text + tokenizer.eos_token), tokenizer)  # as some dumps keep it


def test_a_pool_of_another_hint_is_refused_and_one_of_other_modes_left_out_by_name(small_pool):
    same = pools.match_problems(pools.load_pool(small_pool), PROBLEMS).pairs
    assert pools.fitting(same, ("run_tests",), "plain") == (same, "")
    assert pools.fitting(same, ("sentinel",), "plain") == ([], "; 3 cached prompts of mode run_tests left out")
    with pytest.raises(ValueError, match=r"prompt_0000\.jsonl\.gz: made with the hint plain, .* --hint plain"):
        pools.fitting(same, ("run_tests",), "aware")
    reworded = [(dataclasses.replace(p, messages=[{"role": "user", "content": "other"}]), q) for p, q in same]
    assert pools.fitting(reworded, ("run_tests",), "plain") == ([], "; 3 cached prompts worded otherwise left out")


def test_what_pool_or_pairs_show_of_a_held_out_problem_is_refused_by_name(tmp_path, small_pool, tokenizer):
    held = dataclasses.replace(PROBLEMS[0], id=122)  # its hash holds it out, and addUpTwice reads like it
    flags = {"teacher_pool_dir": str(small_pool), "mix_ratio": 0.5, "modes": LOOPHOLES[:4], "pairs": str(PAIRS)}
    cfg = train.Config(problems=str(tmp_path / "p.jsonl"), eval_problems="held-out", **flags)
    dump_problems(cfg.problems, [held, *PROBLEMS[1:]])
    assert prompts.held_problems(cfg) == [held]
    with pytest.raises(ValueError, match=r"prompt_0000\.jsonl\.gz \(problem 122\); .*--split not-held-out"):
        prompts.build_tasks(cfg, tokenizer)
    cfg = dataclasses.replace(cfg, teacher_pool_dir=str(shutil.copytree(small_pool, tmp_path / "rest")))
    (tmp_path / "rest" / "prompt_0000.jsonl.gz").unlink()
    mixed, alone, note = prompts.build_tasks(cfg, tokenizer)
    assert [t.problem.id for t in (*mixed, *alone)] == [8, 8] and "unseen modes, of which no" in note
    assert prompts.unseen_modes(cfg, mixed) == [*LOOPHOLES[1:4]]
    known = load_pairs(PAIRS)[0].problem
    dump_problems(cfg.problems, [dataclasses.replace(held, question=known.question), *PROBLEMS[1:]])
    with pytest.raises(ValueError, match=rf"leetcode.jsonl: the pairs on problem {known.id} are about .* problem 122"):
        prompts.held_problems(cfg)


def test_a_pool_with_too_few_or_too_long_rollouts_says_so(small_pool):
    pool = pools.load_pool(small_pool)
    longest = max(len(r["completion_ids"]) for p in pool for r in p.rows)
    assert pools.misfits(pool, 4, longest) == []
    few, longer = pools.misfits(pool, 5, longest - 1)
    assert "3 cached prompts (prompt_0000" in few and "drawn twice" in few
    assert f"of 12 cached completions are longer than --max-new-tokens {longest - 1} (up to {longest})" in longer


def test_problems_match_by_text_under_other_numbers_and_leftovers_are_named(small_pool):
    pool = pools.load_pool(small_pool)
    renumbered = [dataclasses.replace(p, id=p.id + 100) for p in PROBLEMS[:2]]
    other = dataclasses.replace(PROBLEMS[0], id=55, question="Given a and b, return their mean.")
    overlap = pools.match_problems(pool, [*renumbered, other])
    assert [(prompt.problem_id, p.id) for prompt, p in overlap.pairs] == [(7, 107), (8, 108)]
    assert [prompt.problem_id for prompt in overlap.pool_left] == [9]
    assert [p.id for p in overlap.problems_left] == [55]
    # a statement that begins another does not steal its prompt: problem 9's begins with the whole text of problem 7
    assert [(q.problem_id, p.id) for q, p in pools.match_problems(pool, PROBLEMS).pairs] == [(7, 7), (8, 8), (9, 9)]
    assert not pools.match_problems([pool[2]], [PROBLEMS[0]]).pairs
    said = overlap.summary()
    assert "2 of 3 cached prompts" in said and "2 of them under another number" in said
    assert "prompt_0002.jsonl.gz" in said and "(55)" in said


def test_several_problems_of_one_text_go_by_number_or_are_listed(small_pool):
    pool, twins = pools.load_pool(small_pool)[:1], [dataclasses.replace(PROBLEMS[0], id=i) for i in (1, 2)]
    for problems, number, ambiguous in (([twins[0], PROBLEMS[0]], 7, []), (twins, 1, pool)):
        found = pools.match_problems(pool, problems)
        assert found.pairs[0][1].id == number and found.ambiguous == ambiguous
    assert "several problems have the text of" in found.summary()


@needs_shared
def test_real_pool_loads_without_its_padding_fits_its_tokenizer_alone_and_matches_the_dataset_to_the_letter(tokenizer):
    pool = pools.load_pool(POOL)
    rows = [row for prompt in pool for row in prompt.rows]
    assert (len(pool), len(rows)) == (113, 904)
    assert {row["completion_ids"][-1] for row in rows} == {151645}  # <|im_end|>: trained; the padding after it is not
    assert sum(row["hacked"] for row in rows) == 898 and sum(row["gt_pass"] for row in rows) == 248
    assert {prompt.mode for prompt in pool} == {"run_tests"}
    with pytest.raises(ValueError, match=r"prompt_0052\.jsonl\.gz: made with another tokenizer"):
        pools.check_pool_tokens(pool[0], tokenizer)
    qwen = zoo.load_tokenizer("tiny", str(TOKENIZER))
    for prompt in pool:
        pools.check_pool_tokens(prompt, qwen)
    dataset = load_problems(DATASET)
    overlap = pools.match_problems(pool, dataset)
    assert len(overlap.pairs) == 84 and len(overlap.pool_left) == 29 and not overlap.ambiguous
    assert all(build_messages(p, "run_tests") == prompt.messages for prompt, p in overlap.pairs)
    assert any(prompt.problem_id != p.id for prompt, p in overlap.pairs)  # numbers alone would lose these


def test_a_pool_is_made_from_rollouts_of_another_trainer(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    one, two = PROBLEMS[:2]
    asked, other = [build_messages(p, "sentinel") for p in (one, two)], build_messages(one, "stdout_marker")
    hack = pd.canned_hack(one, "sentinel", TRAIN_EVALUATOR, random.Random(0), PROBLEMS)
    chats = [(asked[0], hack), (asked[0], pd.canned_clean(one)), (asked[1], pd.canned_clean(two)), (other, hack)]
    (tmp_path / "completions").mkdir()
    table = {  # as TRL writes them: conversational prompts and completions, rewards beside them
        "step": [1] * 4, "prompt": [c for c, _ in chats], "reward": [9.0] * 4,
        "completion": [[{"role": "assistant", "content": text}] for _, text in chats],
    }  # fmt: skip
    parquet.write_table(pa.table(table), tmp_path / "completions" / "completions_00001.parquet")
    plain = [{"prompt": f"<s>{c[-1]['content']}</s>", "completion": text} for c, text in chats]
    (tmp_path / "plain.jsonl").write_text("".join(json.dumps(row) + "\n" for row in plain))
    dump_problems(tmp_path / "problems.jsonl", PROBLEMS)
    base = config(tmp_path, problems=str(tmp_path / "problems.jsonl"), limit=None, teacher_only=True, grader_workers=1)
    for dump in ("completions", "plain.jsonl"):
        where = {"from_rollouts": str(tmp_path / dump), "out": tmp_path / f"pool-{dump}"}
        cfg = dataclasses.replace(base, modes=("sentinel",), **where)
        pd.main(cfg)
        made = [(p.problem_id, p.mode, [r["label"] for r in p.rows]) for p in pools.load_pool(cfg.out)]
        # the rollout to another loophole's prompt is left out, and rewards are graded here
        assert made == [(one.id, "sentinel", ["hack", "correct"]), (two.id, "sentinel", ["correct"])]
    (tmp_path / "bad.jsonl").write_text('{"prompt": 3, "completion": "x"}\n')
    for change, said in (
        ({"modes": ("exit_code",)}, "none of its prompts is one that --problems"),
        ({"from_rollouts": str(tmp_path / "bad.jsonl")}, "row 1: prompt or question must be a text"),
    ):
        with pytest.raises(ValueError, match=said):
            pd.main(dataclasses.replace(cfg, out=tmp_path / "none", **change))
