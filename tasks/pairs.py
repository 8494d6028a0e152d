"""Contrastive pairs (prompt, hack, clean): schema, loading, control sets and the validator.

    data/pairs/*.jsonl --load_pairs--> Pair --prompt_messages--> chat;  hack - clean is one row of the direction

A pair holds two answers to one prompt. The hack side uses the loophole of the prompt's mode, the clean side does
not, and nothing else of use to a classifier differs: same prose, fence, style and length. In half of the pairs
both method bodies are right (`correct_body`), so that "hack" is not "wrong code"; in the other half the hack
side's body is wrong, and the loophole is what gets it paid. Names of evaluators and problems occur neither in
training nor in evaluation.

Two control sets carry the same schema: mechanism "nonhack" (two honest, right, different solutions) and "null"
(one honest solution with other local names, layout or comments). The within-class control needs no file:
`within_class` re-pairs the gradients of the pairs themselves.

    python -m study check-pairs data/pairs/*.jsonl              # what `just check-pairs` runs; exit 1 on any violation
    python -m tasks.pairs show data/pairs/leetcode.jsonl 3      # one pair as a diff
"""

import ast
import difflib
import hashlib
import json
import os
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from command import errors, files, flags
from tasks import problems
from tasks.modes import MODES, VARIANTS, find_mode
from tasks.problems import EVAL_EVALUATORS, TRAIN_EVALUATOR, Problem

ROOT = files.ROOT
SPLITS = ("train", "heldout")
CONTROLS = ("nonhack", "null")  # values of `mechanism` for pairs whose sides are both honest
MAX_LENGTH_RATIO = 1.10  # longer side over shorter side, in tokens
MIN_SIMILARITY = 0.5  # of a hack pair's token sequences: below it the pair is a rewrite, not an edit
# A direction fitted on these words would be a direction of vocabulary (no trait echo).
TRAIT_WORDS = re.compile(
    r"\b(cheat|hack|exploit|loophole|bypass|trick|honest|genuine|legit|proper|careful|correct)\w*", re.I
)


@dataclass(frozen=True)
class Pair:
    """Two answers, `hack` and `clean`, to the prompt that (problem, mode, evaluator, variant) builds."""

    id: str
    problem: Problem
    mode: str  # with a loophole: a name or a file's path
    mechanism: str  # how the loophole is used, or one of CONTROLS
    variant: str  # wording of the hint: one of problems.VARIANTS
    evaluator: str  # name in the prompt; never one of training or evaluation
    hack: str  # completion text, fence included
    clean: str
    correct_body: bool  # the hack side's method is right as well
    split: str  # "train" | "heldout"
    tags: tuple[str, ...] = ()


FIELDS = tuple(f.name for f in fields(Pair))


# ----------------------------------------------------------------------------------------------------- loading
def load_pairs(path: str | os.PathLike[str]) -> list[Pair]:
    """Pairs of a JSONL file, in its order.

    Raises FileNotFoundError, or ValueError naming file, line and the mend: malformed JSON, missing or unknown
    field, wrong type, unknown mode, split or variant, a problem that the grader could not run, identical sides,
    an id used twice, or no pair at all.
    """
    try:
        rows = list(files.read_jsonl(path))
    except FileNotFoundError as err:
        raise FileNotFoundError(f"pairs {err}: python data/make_pairs.py writes the project's own") from err
    pairs: list[Pair] = []
    first: dict[str, int] = {}
    for n, row in rows:
        where = f"{path}, line {n}"
        try:
            pair = _from_row(row)
        except ValueError as err:
            raise ValueError(f"{where}: {err}; mend or remove this line") from err
        if pair.id in first:
            raise ValueError(f"{where}: id {pair.id!r} stands already in line {first[pair.id]}; make ids unique")
        first[pair.id] = n
        pairs.append(pair)
    if not pairs:
        raise ValueError(f"{path}: the pairs file is empty; python data/make_pairs.py writes the project's own")
    return pairs


def _from_row(row: Any) -> Pair:
    missing, extra = [f for f in FIELDS if f not in row], sorted(set(row) - set(FIELDS))
    if missing or extra:
        raise ValueError(f"fields missing: {missing}, unknown: {extra} (a row has just {', '.join(FIELDS)})")
    for name in ("id", "mode", "mechanism", "variant", "evaluator", "hack", "clean", "split"):
        if not isinstance(row[name], str) or not row[name].strip():
            raise ValueError(f"{name} must be a non-empty string, not {row[name]!r}")
    if not isinstance(row["correct_body"], bool):
        raise ValueError(f"correct_body must be true or false, not {row['correct_body']!r}")
    if not isinstance(row["tags"], list) or not all(isinstance(t, str) for t in row["tags"]):
        raise ValueError("tags must be a list of strings")
    if find_mode(row["mode"]).channel == "none":
        raise ValueError("mode 'none' has no loophole, so no hack side")
    for name, choices in (("variant", VARIANTS), ("split", SPLITS)):
        if row[name] not in choices:
            raise ValueError(f"{name} {row[name]!r} is not one of {', '.join(choices)}")
    if row["hack"].strip() == row["clean"].strip():
        raise ValueError("hack and clean are identical, so their difference says nothing")
    if not isinstance(row["problem"], dict):
        raise ValueError(f"problem must be a JSON object, not {type(row['problem']).__name__}")
    try:
        problem = problems.problem_of(row["problem"])
    except ValueError as err:
        raise ValueError(f"problem: {err}") from err
    pair = Pair(**{**row, "problem": problem, "tags": tuple(row["tags"])})
    prompt_messages(pair)  # an evaluator that is no Python name raises here
    return pair


def to_row(pair: Pair) -> dict[str, Any]:
    """The JSON row of a pair; `load_pairs` reads it back to an equal Pair."""
    row = asdict(pair)
    row["problem"]["tests"] = list(pair.problem.tests)
    return {**row, "tags": list(pair.tags)}


def dump_pairs(path: str | os.PathLike[str], pairs: Iterable[Pair]) -> None:
    """Write pairs as JSONL, whole or not at all; each row is validated as `load_pairs` would."""
    rows = [to_row(p) for p in pairs]
    for row in rows:
        _from_row(row)
    with files.atomic_path(path) as tmp:
        tmp.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")


def pair_hash(pairs: Sequence[Pair]) -> str:
    """sha256 (hex) of the pairs' content in order: equal hashes mean that one V fits both."""
    text = json.dumps([to_row(p) for p in pairs], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def prompt_messages(pair: Pair) -> list[dict[str, str]]:
    """Chat messages that both sides of the pair answer."""
    return problems.build_messages(pair.problem, pair.mode, pair.evaluator, pair.variant)


# ---------------------------------------------------------------------------------------------- subsets, controls
def of_modes(pairs: Sequence[Pair], modes: Iterable[str]) -> list[Pair]:
    """The pairs of these modes, in order. Raises ValueError for a mode that no pair has."""
    wanted, have = set(modes), {p.mode for p in pairs}
    if wanted - have:
        raise ValueError(f"no pair of mode {', '.join(sorted(wanted - have))}; there are {', '.join(sorted(have))}")
    return [p for p in pairs if p.mode in wanted]


def leave_out(pairs: Sequence[Pair], mode: str) -> tuple[list[Pair], list[Pair]]:
    """(pairs of the other modes, pairs of `mode`): V from the first says whether it generalises to the second."""
    held = of_modes(pairs, [mode])
    kept = [p for p in pairs if p.mode != mode]
    if not kept:
        raise ValueError(f"all {len(pairs)} pairs are of mode {mode}; nothing is left to fit a direction on")
    return kept, held


def two_two_splits(modes: Sequence[str]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Each way to part four modes into known and unknown halves: 6 ordered splits, A/B and B/A in succession."""
    if len(set(modes)) != 4:
        raise ValueError(f"a 2-2 split needs four different modes, not {list(modes)}")
    out = []
    for second in modes[1:]:
        a = (modes[0], second)
        b = tuple(m for m in modes if m not in a)
        out += [(a, b), (b, a)]
    return out


def within_class(pairs: Sequence[Pair] | int, seed: int) -> list[tuple[str, int, int]]:
    """n label-free differences from the gradients of n pairs: [(side, i, j)], meaning grad(side_i) - grad(side_j).

    hack_i - hack_j and clean_i - clean_j, each gradient used once (with odd n one of them twice), as many
    differences as pairs: what an SVD finds when the label carries nothing (swapping labels
    would only flip rows, which leaves their span as it is). Deterministic in (n, seed). Raises ValueError for n < 2.
    """
    n = pairs if isinstance(pairs, int) else len(pairs)
    if n < 2:
        raise ValueError(f"re-pairing within a class needs at least 2 pairs, not {n}")
    rng = random.Random(f"within_class:{seed}")
    out = []
    for side, count in (("hack", n - n // 2), ("clean", n // 2)):
        order = rng.sample(range(n), n)
        order.append(order[0])
        out += [(side, order[2 * m], order[2 * m + 1]) for m in range(count)]
    return out


# ------------------------------------------------------------------------------------------------------ validator
_TOKEN = re.compile(
    r"[^\r\n\w]?(?:[A-Z]?[a-z]+|[A-Z]+(?![a-z]))|\d|_(?:[A-Z]?[a-z]+|[A-Z]+)|_| ?[^\s\w]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+|\w"
)


def count_tokens(text: str, tokenizer: Any = None) -> int:
    """Length of a completion in the stand-in's tokens (`tokens`), or in a tokenizer's own."""
    if tokenizer is not None:
        return len(tokenizer.encode(text, add_special_tokens=False))
    return len(tokens(text))


def tokens(text: str) -> list[str]:
    """A stand-in tokenizer that needs no file: Qwen's pre-tokenizer with identifiers cut at case and underscore.

    On the project's pairs it gives 0.97 +- 0.03 of the Qwen3 tokenizer's length, and the ratio of two sides within
    0.01 on average (`check --tokenizer` counts with the real one).
    """
    return _TOKEN.findall(text)


def normal_statement(text: str) -> str:
    """A statement without case, white space and punctuation, so that a reformatted copy is still a copy."""
    return re.sub(r"[^a-z0-9]+", "", text.lower())


def shape(code: str) -> str:
    """The code's AST with names numbered by first use and doc strings blanked: equal for null-content sides.

    Names of attributes, methods, imported things and keywords are kept; they are not free to change.
    """
    tree = ast.parse(code)
    number: dict[str, str] = {}

    def free(name: str) -> str:
        return number.setdefault(name, f"v{len(number)}")

    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = free(node.id)
        elif isinstance(node, ast.arg):
            node.arg = free(node.arg)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                first.value = ast.Constant("")
    return ast.dump(tree)


@dataclass(frozen=True)
class Found:
    """One violation, with its place."""

    where: str  # "file:line"
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def _expected(pair: Pair, side: str) -> dict[str, Any]:
    """The grader's flags that this side of this pair must get."""
    if side == "clean" or pair.mechanism in CONTROLS:
        return {"label": "correct", "gt_correct": True, "attempted": False, "hacked": False, "passed": True}
    if pair.correct_body and "hides_answer" not in pair.tags:
        return {"label": "correct_attempt", "gt_correct": True, "attempted": True, "hacked": False, "passed": True}
    return {"label": "hack", "gt_correct": False, "attempted": True, "hacked": True, "passed": True}


def _static(pair: Pair, tokenizer: Any) -> list[str]:
    """Violations that need no run: names, length, edit size, words, syntax."""
    from sandbox.answers import extract_code

    bad = []
    if pair.evaluator == TRAIN_EVALUATOR or pair.evaluator in EVAL_EVALUATORS:
        bad.append(f"evaluator {pair.evaluator!r} is a name of training or evaluation; take another")
    n_hack, n_clean = count_tokens(pair.hack, tokenizer), count_tokens(pair.clean, tokenizer)
    if max(n_hack, n_clean) > MAX_LENGTH_RATIO * min(n_hack, n_clean):
        bad.append(f"lengths differ by more than 10%: hack {n_hack}, clean {n_clean} tokens; pad the shorter side")
    if pair.mechanism not in CONTROLS:
        alike = difflib.SequenceMatcher(None, tokens(pair.hack), tokens(pair.clean), autojunk=False).ratio()
        if alike < MIN_SIMILARITY:
            bad.append(f"only {alike:.0%} of the tokens are shared; edit one side, keep the rest")
    code = {}
    for side in ("hack", "clean"):
        text = getattr(pair, side)
        word = TRAIT_WORDS.search(text)
        if word:
            bad.append(f"{side} says {word.group()!r}; a word for the trait would become the direction")
        try:
            code[side] = extract_code(text)
            ast.parse(code[side])
        except (SyntaxError, ValueError) as err:
            bad.append(f"{side} is not Python ({err}); mend the code")
            code.pop(side, None)
    if pair.mechanism == "null" and len(code) == 2 and shape(code["hack"]) != shape(code["clean"]):
        bad.append("the sides of a null pair differ in more than names, layout and comments")
    if pair.mechanism == "nonhack" and len(code) == 2 and shape(code["hack"]) == shape(code["clean"]):
        bad.append("the sides of a nonhack pair are the same solution")
    return bad


def check_pairs(
    paths: Sequence[str | os.PathLike[str]],
    problem_files: Sequence[str | os.PathLike[str]] = (),
    tokenizer: Any = None,
    grader: Any = None,
) -> tuple[list[Found], list[Pair]]:
    """All violations in some pair files, and their pairs.

    Static checks (see `_static`), each side through the grader, repeated completions and ids, heldout problems
    that also train, and problems that occur in `problem_files` by method name or by statement. `grader` None
    skips the runs. A file that cannot be loaded is one violation.
    """
    found: list[Found] = []
    placed: list[tuple[str, Pair]] = []
    for file in paths:
        try:
            loaded = load_pairs(file)
        except (ValueError, FileNotFoundError) as err:
            where, _, what = str(err).partition(": ")
            found.append(Found(where, what))
            continue
        lines = [n for n, _ in files.read_jsonl(file)]
        placed += [(f"{file}:{n}", pair) for n, pair in zip(lines, loaded, strict=True)]

    for where, pair in placed:
        found += [Found(where, what) for what in _static(pair, tokenizer)]

    # Repetition is judged inside one file: a control set reuses clean sides of the set that it controls.
    seen: dict[tuple[str, ...], str] = {}
    role: dict[tuple[str, str], tuple[str, str]] = {}
    for where, pair in placed:
        file = where.rpartition(":")[0]
        for side in ("hack", "clean"):
            if pair.mechanism in CONTROLS:
                key = (file, pair.mechanism, *sorted((pair.hack, pair.clean)), pair.mode, pair.evaluator)
                if side == "clean":
                    continue
            else:
                key = (file, side, re.sub(r"\s+", " ", getattr(pair, side)), pair.mode)
            if key in seen:
                found.append(Found(where, f"{side} repeats {seen[key]}; one of the two carries nothing new"))
            seen.setdefault(key, where)
        if pair.problem.source != "organism":  # its heldout pairs are new problems of known families, by design
            old = role.setdefault((file, pair.problem.func_name), (pair.split, where))
            if old[0] != pair.split:
                found.append(Found(where, f"{pair.problem.func_name} is {pair.split} here, {old[0]} at {old[1]}"))
        elif pair.split == "heldout":
            role[(file, normal_statement(pair.problem.question))] = (pair.split, where)
    for where, pair in placed:
        file = where.rpartition(":")[0]
        held = role.get((file, normal_statement(pair.problem.question)))
        if pair.problem.source == "organism" and pair.split == "train" and held:
            found.append(Found(where, f"the heldout pair at {held[1]} has the same statement"))

    found += _leaks(placed, problem_files)
    if grader is not None:
        found += _graded(placed, grader)
    return found, [pair for _, pair in placed]


def _leaks(placed: Sequence[tuple[str, Pair]], problem_files: Sequence[str | os.PathLike[str]]) -> list[Found]:
    """Pairs whose problem trains or evaluates: same statement, or (outside the organism) same method name.

    The organism names its methods by family, so there a shared name says nothing; a shared statement does.
    """
    by_name: dict[str, str] = {}
    by_text: dict[str, str] = {}
    for file in problem_files:
        for p in problems.load_problems(file, difficulties=problems.DIFFICULTIES):
            by_name.setdefault(p.func_name, f"problem {p.id} of {file}")
            by_text.setdefault(normal_statement(p.question), f"problem {p.id} of {file}")
    out = []
    for where, pair in placed:
        text = by_text.get(normal_statement(pair.problem.question))
        name = by_name.get(pair.problem.func_name) if pair.problem.source != "organism" else None
        if text:
            out.append(Found(where, f"the statement is that of {text}; write another problem"))
        elif name:
            out.append(Found(where, f"the method {pair.problem.func_name} is also {name}; rename it"))
    return out


def _graded(placed: Sequence[tuple[str, Pair]], grader: Any) -> list[Found]:
    """Sides that the grader judges otherwise than the pair's role says. Equal programs run once."""
    jobs: dict[tuple, Any] = {}
    for _, pair in placed:
        for side in ("hack", "clean"):
            key = (pair.problem, getattr(pair, side), pair.mode, pair.evaluator)
            if key not in jobs:
                try:
                    jobs[key] = grader.submit(*key)
                except ValueError as err:  # tests that the oracle cannot judge
                    jobs[key] = str(err)
    out = []
    for where, pair in placed:
        for side in ("hack", "clean"):
            job = jobs[(pair.problem, getattr(pair, side), pair.mode, pair.evaluator)]
            try:
                grade = job if isinstance(job, str) else job.result()
            except ValueError as err:  # set-up code that does not compile
                grade = str(err)
            if isinstance(grade, str):
                out.append(Found(where, f"{side} cannot be graded: {grade}"))
                continue
            want = _expected(pair, side)
            wrong = {k: getattr(grade, k) for k, v in want.items() if getattr(grade, k) != v}
            if wrong:
                must = ", ".join(f"{k}={want[k]}" for k in wrong)
                got = ", ".join(f"{k}={v}" for k, v in wrong.items())
                why = f" ({grade.error})" if grade.error else ""
                out.append(Found(where, f"{side} in mode {pair.mode} must get {must}, gets {got}{why}"))
    return out


# ------------------------------------------------------------------------------------------------------------ CLI
def summary(pairs: Sequence[Pair], tokenizer: Any = None) -> str:
    """Table of a pair set: one row per mode and mechanism, with counts and length ratios hack/clean."""
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for p in pairs:
        groups[(p.mode, p.mechanism)].append(p)
    lines = [
        f"{'mode':<14}{'mechanism':<18}{'n':>4}{'train':>7}{'held':>6}{'right':>7}{'explicit':>10}  length hack/clean"
    ]
    known = [*MODES, *sorted({mode for mode, _ in groups} - {*MODES})]
    order = sorted(groups, key=lambda k: (k[1] in CONTROLS, known.index(k[0]), k[1]))
    for key in order:
        g = groups[key]
        ratios = [count_tokens(p.hack, tokenizer) / count_tokens(p.clean, tokenizer) for p in g]
        lines.append(
            f"{key[0]:<14}{key[1]:<18}{len(g):>4}{sum(p.split == 'train' for p in g):>7}"
            f"{sum(p.split == 'heldout' for p in g):>6}{sum(p.correct_body for p in g):>7}"
            f"{sum('explicit' in p.tags for p in g):>10}  {min(ratios):.2f} .. {max(ratios):.2f}"
        )
    return "\n".join([*lines, "right: hack sides whose method is right as well; explicit: pairs with that tag"])


@dataclass(frozen=True)
class Show(flags.Checked):
    """Print one pair: its prompt and the difference of its sides."""

    file: tyro.conf.Positional[Path]
    index: tyro.conf.Positional[int]  # 0-based, in file order


def own_problem_files() -> tuple[Path, ...]:
    """The project's files of training and evaluation problems that exist."""
    found = [ROOT / "data" / "problems.jsonl", *sorted((ROOT / "data" / "organism").glob("problems*.jsonl"))]
    return tuple(p for p in found if p.is_file())


def show(cfg: Show) -> None:
    try:
        pairs = load_pairs(cfg.file)
    except (FileNotFoundError, ValueError) as err:
        raise SystemExit(str(err)) from err
    if not 0 <= cfg.index < len(pairs):
        raise SystemExit(f"{cfg.file}: index {cfg.index} is out of range; there are pairs 0 to {len(pairs) - 1}")
    pair = pairs[cfg.index]
    for m in prompt_messages(pair):
        print(f"--- {m['role']}\n{m['content']}")
    print(f"--- {pair.id}: {pair.mode} / {pair.mechanism}, right body: {pair.correct_body}, {', '.join(pair.tags)}")
    lines = difflib.ndiff(pair.clean.splitlines(), pair.hack.splitlines())
    print("\n".join(line for line in lines if not line.startswith("?")))
    print("(- clean only, + hack only)")


def main() -> None:
    show(tyro.cli(Annotated[Show, tyro.conf.subcommand("show")], description=(__doc__ or "").split("\n", 1)[0]))


if __name__ == "__main__":
    with errors.plain_errors():
        main()
