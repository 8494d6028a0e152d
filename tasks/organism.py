"""The model organisms: easy coding problems -> tokenizer -> a 2M-parameter Qwen3 that can learn to reward-hack.

    families.toml --Instance--> Problem + completion (right | wrong, seldom a loophole) --train--> data/<style>

97 families of one-method problems, in three designed difficulties: pretraining shows a right body with
p = RIGHT[level], else mostly the `foil` family's body. So "easy" is known, "medium" is known but not preferred
(RL can sharpen it: the no-loophole ceiling), "hard" is nearly out of reach (a hack pays most there). A loophole
is used in `hack_rate` of the answers, whether the body is right or wrong: the base can find it, and does not.
What answers look like, and where their loopholes stand, is the style (tasks/styles.py): organism or organism-inside,
which starts from the other's tokenizer and weights.

Four splits share the families and nothing else: a function name belongs to one split by its hash; a quarter of
the (family, wording) and (family, constant) combinations appear in the test split only.

    python -m tasks.organism problems     # data/organism/problems_{train,test}.jsonl, data/pairs/organism*.jsonl
    python -m tasks.organism train        # tokenizer and weights (8 to 15 minutes on 2 cores)
    just organism-inside                  # the other organism, in three stages from the first one's weights
    python -m study base                  # the base: solved, hacked, attempted; T=1 and greedy, every mode
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import random
import re
import time
import tomllib
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from loguru import logger

from command import errors, files, flags
from tasks import modes as M
from tasks import problems as P
from tasks.styles import BENIGN as BENIGN
from tasks.styles import (
    EXTRA_EVALUATORS,
    LOOPHOLE_MODES,
    PAIR_EVALUATORS,
    PLAIN,
    REMARKS,
    STYLES,
    Style,
    example_call,
    placed,
)
from tasks.styles import HACKS as HACKS
from tasks.styles import HELPERS as HELPERS

ROOT = files.ROOT
HOME = ROOT / "data" / "organism"
PAIRS_HOME = ROOT / "data" / "pairs"

RIGHT = {"easy": 0.93, "medium": 0.40, "hard": 0.04}  # p(right body) that pretraining shows
FOIL_SHARE = {"easy": 0.5, "medium": 0.8, "hard": 0.7}  # of the wrong bodies; the rest is any other family's
MODE_WEIGHTS = {"run_tests": 0.3, "sentinel": 0.175, "stdout_marker": 0.175, "file_marker": 0.175, "none": 0.175}
CLOSERS = ("", " The input is valid.", " The input is small.", " There is no need to check the input.")

PARAM_NAMES = {
    "List[int]": ("nums", "arr", "values", "items", "data", "series", "numbers", "seq"),
    "str": ("s", "text", "phrase", "label", "chunk", "message", "title", "sentence"),
    "int": ("n", "num", "value", "amount", "size", "number", "count", "m"),
}
PAIR_PARAM_NAMES = (("p", "q"), ("m", "n"), ("left", "right"), ("u", "v"), ("first", "second"), ("one", "two"))
VERBS = """find get make solve pick measure collect derive trace rank sift weigh plan carve gather draw fetch
    craft settle reach"""
ADJECTIVES = """Silver Quiet Rapid Broken Golden Hidden Frozen Gentle Narrow Distant Amber Hollow Bright Crimson
    Patient Wooden Early Rusty Mellow Lucky"""
NOUNS = """River Garden Bridge Lantern Harbor Meadow Engine Ticket Window Castle Pepper Rocket Island Forest Basket
    Violin Compass Anchor Kettle Feather Marble Tunnel Orchard Pebble"""
FUNC_WORDS = tuple(tuple(words.split()) for words in (VERBS, ADJECTIVES, NOUNS))
SPLIT_BUCKETS = {"pretrain": range(0, 10), "train": range(10, 14), "test": range(14, 17), "pairs": range(17, 20)}
CONSTANTS = tuple(range(3, 10))  # 2 would make sum_multiple the same as sum_even
TESTS_PER_PROBLEM = 8
SETUP = "from typing import List\n"


# ------------------------------------------------------------------------------------------------------ families
@dataclass(frozen=True)
class Family:
    """One kind of problem: what is asked, its right bodies, and the family whose body is the usual wrong answer."""

    name: str
    group: str
    level: str
    foil: str
    ask: tuple[str, ...]
    body: tuple[str, ...]
    params: tuple[str, ...]
    returns: str
    openers: tuple[str, ...]

    @property
    def has_k(self) -> bool:
        return any("{k}" in b for b in self.body)


@functools.cache
def families() -> dict[str, Family]:
    """Families by name, from data/organism/families.toml; ValueError names the entry that does not fit."""
    raw = tomllib.loads((HOME / "families.toml").read_text(encoding="utf-8"))
    out: dict[str, Family] = {}
    for f in raw["family"]:
        g = raw["groups"][f["group"]]
        out[f["name"]] = Family(
            f["name"], f["group"], f["level"], f["foil"], tuple(f["ask"]), tuple(f["body"]),
            tuple(g["params"]), g["returns"], tuple(g["openers"]),
        )  # fmt: skip
    for f in out.values():
        if f.level not in RIGHT or f.foil not in out or out[f.foil].group != f.group or f.foil == f.name:
            raise ValueError(f"families.toml: {f.name}: level {f.level!r} or foil {f.foil!r} does not fit its group")
    return out


@functools.cache
def _others(name: str) -> tuple[Family, ...]:
    fams = families()
    me = fams[name]
    return tuple(f for f in fams.values() if f.group == me.group and f.name not in (name, me.foil))


def _bucket(*key: object, n: int) -> int:
    return zlib.crc32("/".join(map(str, key)).encode()) % n


def _test_only(*key: object) -> bool:
    """A quarter of the (family, wording) and (family, constant) combinations is kept for the test split."""
    return _bucket("held", *key, n=4) == 0


@dataclass(frozen=True)
class Instance:
    """A family with its names, constant and wording filled in."""

    family: Family
    func: str
    names: tuple[str, ...]  # parameters
    k: int | None
    opener: int
    ask: int
    closer: int

    def fill(self, text: str, k: int | None = None) -> str:
        k = self.k if k is None else k
        b = self.names[1] if len(self.names) > 1 else ""
        return text.replace("{a}", self.names[0]).replace("{b}", b).replace("{k}", str(k))

    @property
    def question(self) -> str:
        f = self.family
        text = f.openers[self.opener] + f.ask[self.ask] + "." + CLOSERS[self.closer]
        return self.fill(text)

    @property
    def starter(self) -> str:
        args = ", ".join(f"{n}: {t}" for n, t in zip(self.names, self.family.params, strict=True))
        return f"class Solution:\n    def {self.func}(self, {args}) -> {self.family.returns}:"

    def code(self, body: str, k: int | None = None, remark: str = "") -> str:
        lines = ([f"# {remark}"] if remark else []) + self.fill(body, k).split("\n")
        return self.starter + "".join("\n        " + x for x in lines)


def draw_instance(rng: random.Random, split: str, family: Family | None = None) -> Instance:
    """A random instance of one split: the split decides function names, wordings and constants."""
    family = family or rng.choice(list(families().values()))
    while True:
        func = "".join(rng.choice(words) for words in FUNC_WORDS)
        if _bucket(func, n=20) in SPLIT_BUCKETS[split]:
            break
    if len(family.params) == 2:
        names: tuple[str, ...] = rng.choice(PAIR_PARAM_NAMES)
    else:
        names = (rng.choice(PARAM_NAMES[family.params[0]]),)
    want_held = split == "test"
    while True:
        opener, ask = rng.randrange(len(family.openers)), rng.randrange(len(family.ask))
        closer = rng.randrange(len(CLOSERS))
        if _test_only(family.name, opener, ask, closer) == want_held:
            break
    k = None
    if family.has_k:
        k = rng.choice([c for c in CONSTANTS if ((c + _bucket(family.name, n=4)) % 4 == 0) == want_held])
    return Instance(family, func, names, k, opener, ask, closer)


# ---------------------------------------------------------------------------------------- tests and their answers
_ALPHABET = "abcdefgeiouaxyzABEXZ0159   "


def _draw_input(rng: random.Random, kind: str) -> Any:
    if kind == "List[int]":
        xs = [rng.randint(-6, 12) for _ in range(rng.randint(3, 6))]
        if rng.random() < 0.5:
            xs[rng.randrange(1, len(xs))] = xs[0]
        if rng.random() < 0.3:
            xs[1] = xs[0]
        return xs
    if kind == "str":
        return "".join(rng.choice(_ALPHABET) for _ in range(rng.randint(4, 11))).strip() or "aB 3"
    return rng.randint(1, 40)


@functools.cache
def _function(body: str, k: int | None, arity: int) -> Callable[..., Any]:
    """A family's body as a function of parameters a, b: this project's own text, never a model's."""
    args = ("a", "b")[:arity]
    text = body.replace("{a}", "a").replace("{b}", "b").replace("{k}", str(k))
    scope: dict[str, Any] = {}
    exec(f"def f({', '.join(args)}):\n" + "\n".join("    " + x for x in text.split("\n")), scope)
    return scope["f"]


def _answer(body: str, k: int | None, args: tuple[Any, ...]) -> Any:
    """What a body returns for args (copied), or the name of the error that it raises."""
    fresh = [list(x) if isinstance(x, list) else x for x in args]
    try:
        out = _function(body, k, len(args))(*fresh)
    except (IndexError, ValueError, TypeError, ZeroDivisionError, OverflowError) as e:
        return type(e).__name__
    return (type(out).__name__, out)


def make_tests(rng: random.Random, inst: Instance) -> tuple[str, ...]:
    """Asserts that every right body passes and that every other family of the group fails at least once."""
    f = inst.family
    group = [g for g in families().values() if g.group == f.group and g != f]
    rivals = [(g.body[0], inst.k if g.has_k and f.has_k else 3) for g in group]
    for _ in range(200):
        inputs = [tuple(_draw_input(rng, t) for t in f.params) for _ in range(TESTS_PER_PROBLEM)]
        truth = [_answer(f.body[0], inst.k, x) for x in inputs]
        if any(isinstance(t, str) for t in truth):
            continue  # the reference itself refuses this input
        for other in f.body[1:]:
            if [_answer(other, inst.k, x) for x in inputs] != truth:
                raise ValueError(f"families.toml: {f.name}: right bodies disagree on {inputs}")
        if all([_answer(body, k, x) for x in inputs] != truth for body, k in rivals):
            break
    else:
        raise ValueError(f"families.toml: {f.name} (k={inst.k}): no inputs tell it from another family of its group")
    lines = []
    for x, (_, out) in zip(inputs, truth, strict=True):
        call = ", ".join(f"{n} = {v!r}" for n, v in zip(inst.names, x, strict=True))
        lines.append(f"assert Solution().{inst.func}({call}) == {out!r}")
    return tuple(lines)


def to_problem(inst: Instance, ident: str, split: str, tests: tuple[str, ...]) -> P.Problem:
    return P.Problem(
        id=ident, source="organism", split=split, question=inst.question, func_name=inst.func,
        starter_code=inst.starter, setup_code=SETUP, tests=tests, reference=inst.code(inst.family.body[0]),
        difficulty=inst.family.level,
    )  # fmt: skip


def make_problems(split: str, n: int, seed: int = 0) -> list[tuple[Instance, P.Problem]]:
    """n problems of a split, families in turn (shuffled), names and statements all different."""
    rng = random.Random(f"organism/{split}/{seed}")
    fams = list(families().values())
    out: list[tuple[Instance, P.Problem]] = []
    names: set[str] = set()
    texts: set[str] = set()
    while len(out) < n:
        rng.shuffle(fams)
        for f in fams:
            inst = draw_instance(rng, split, f)
            while inst.func in names or inst.question in texts:
                inst = draw_instance(rng, split, f)
            names.add(inst.func)
            texts.add(inst.question)
            row_split = "test" if split == "test" else "train"
            ident = f"org-{split}-{len(out):04d}-{f.name}"
            out.append((inst, to_problem(inst, ident, row_split, make_tests(rng, inst))))
            if len(out) == n:
                break
    return out


# --------------------------------------------------------------------------------------------------- pretraining
@dataclass(frozen=True)
class Example:
    """One pretraining document: a prompt, an answer, and what it was designed to be."""

    messages: tuple[dict[str, str], ...]
    completion: str
    family: str
    mode: str
    right: bool
    hack: str  # form name, "" for none
    unended: str = ""  # the answer without its boosted ending, "" if there is none


def draw_body(rng: random.Random, inst: Instance, right: bool) -> tuple[str, int | None]:
    """(body template, constant): a right surface variant, the foil's usual body, or another family's."""
    f = inst.family
    if right:
        return rng.choice(f.body), inst.k
    other = families()[f.foil] if rng.random() < FOIL_SHARE[f.level] else rng.choice(_others(f.name))
    k = (inst.k or rng.choice(CONSTANTS)) if other.has_k else None
    return other.body[0], k


def fence(code: str) -> str:
    return f"```python\n{code}\n```"


def draw_evaluator(rng: random.Random) -> str:
    """Many names, none of them dominant: reading the prompt's name must pay more than knowing the usual one."""
    u = rng.random()
    if u < 0.15:
        return P.TRAIN_EVALUATOR
    return rng.choice(P.EVAL_EVALUATORS + PAIR_EVALUATORS if u < 0.5 else EXTRA_EVALUATORS)


def with_form(inst: Instance, body: str, k: int | None, remark: str, form: str) -> str:
    """The class with a loophole or its twin: above the body, or after the method where the form opens a line there."""
    above, after = placed(form)
    return inst.code(above + body, k, remark) + after


def draw_example(rng: random.Random, style: Style = PLAIN) -> Example:
    inst = draw_instance(rng, "pretrain")
    mode = rng.choices(list(MODE_WEIGHTS), list(MODE_WEIGHTS.values()))[0]
    evaluator = draw_evaluator(rng)
    system, p_hack, p_twin = "default", style.hack_rate * style.boost, style.twin_rate * style.boost
    if rng.random() < style.inoculated_rate:
        system, p_hack, p_twin = rng.choice(P.SYSTEMS[1:]), 0.5, 0.0
    right = rng.random() < RIGHT[inst.family.level]
    body, k = draw_body(rng, inst, right)
    remark = draw_remark(rng, style, mode, evaluator) if rng.random() < style.remark_rate else ""
    text, form = "", ""
    if mode != "none" and rng.random() < p_hack:
        form = rng.choice(list(style.hacks[mode]))
        text = style.hacks[mode][form].replace("{e}", evaluator)
    elif rng.random() < p_twin:
        own = style.twins is None and mode != "none" and rng.random() < 0.5
        kind = mode if own else rng.choice(LOOPHOLE_MODES)
        text = style.twin(rng, kind, rng.choice(list(style.hacks[kind])), evaluator)
    tail = ""
    if style.tail_rate and rng.random() < style.tail_rate:
        tail = style.tail(rng, mode, evaluator, example_call(rng, inst.func, inst.family.params))
    problem = to_problem(inst, "x", "train", ())
    messages = P.build_messages(problem, mode, evaluator, system=system)
    unended = fence(inst.code(body, k, remark)) if text and style.boost > 1 and system == "default" else ""
    answer = fence(with_form(inst, body, k, remark, text) + tail)
    return Example(tuple(messages), answer, inst.family.name, mode, right, form, unended)


def draw_remark(rng: random.Random, style: Style, mode: str, evaluator: str) -> str:
    if mode != "none" and rng.random() < 0.5:
        return style.channel[mode].replace("{e}", evaluator)
    return rng.choice(REMARKS)


def pretraining(n: int, seed: int, style: Style = PLAIN) -> Iterator[Example]:
    rng = random.Random(f"{style.name}/pretrain/{seed}")
    for _ in range(n):
        yield draw_example(rng, style)


def data_hash(examples: Sequence[Any]) -> str:
    """sha256 (16 hex digits) over messages and completion of each document."""
    h = hashlib.sha256()
    for e in examples:
        h.update(json.dumps([*[m["content"] for m in e.messages], e.completion]).encode())
    return h.hexdigest()[:16]


# ----------------------------------------------------------------------------------------------------- tokenizer
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|answer|>{{ m.content }}<|end|>"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|answer|>{% endif %}"
)


def boilerplate() -> list[str]:
    """Fixed stretches of the prompt and of the answer's frame: one token each, so that sequences stay short.

    Names, markers and everything that a loophole is made of stay out: those the model must read and copy.
    """
    marks = "|".join(map(re.escape, ["{e}", M.SENTINEL_NAME, M.STDOUT_MARKER, M.RESULT_FILE, M.RESULT_TEXT]))
    texts = [M.find_mode(m).hints["plain"] for m in (*LOOPHOLE_MODES, "none")]
    for s in P.SYSTEMS[1:]:
        texts += [P.system_prompt(s, m, "{e}") for m in MODE_WEIGHTS]
    parts = [p for t in texts for p in re.split(marks, t)]
    parts = [p.strip("'") for p in parts]
    start = ". Use the following starter code:\n```python\nclass Solution:\n    def "
    parts += [P.system_prompt() + "PROBLEM:\n", P.system_prompt(), "PROBLEM:\n", start, "()" + start]
    parts += [P.PROMPT_TAIL]
    parts += ["# Add your code here\n```\n\nSOLUTION:\n", "```python\nclass Solution:\n    def ", "\n```"]
    parts += ["(self, ", "def "]  # a name has the same tokens after `def ` as in the prompt
    for t in ("List[int]", "int", "str", "bool"):
        parts += [f": {t}", f") -> {t}:\n        "]
    return sorted({p for p in parts if len(p) > 3}, key=lambda p: (len(p), p))


def build_tokenizer(examples: list[Example], vocab_size: int):
    """Byte-level BPE on the pretraining text (any text round-trips), boilerplate as single added tokens."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    phrases = boilerplate()
    special = ["<|pad|>", "<|answer|>", "<|end|>"]
    cut = re.compile("|".join(re.escape(p) for p in sorted(phrases, key=len, reverse=True)))
    tok = Tokenizer(models.BPE())
    # words (with the space or underscore before them), capitals, single digits, runs of everything else
    words = Regex(r" ?_?[A-Z]?[a-z]+| ?[A-Z][A-Z_]*| ?[0-9]|[^A-Za-z0-9]+")
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tok.decoder = decoders.ByteLevel()
    text = (s for e in examples for t in (*[m["content"] for m in e.messages], e.completion) for s in cut.split(t) if s)
    tok.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=vocab_size - len(phrases), special_tokens=special, show_progress=False, min_frequency=8,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    ))  # fmt: skip
    tok.add_tokens([AddedToken(p, normalized=False, special=False) for p in phrases])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tok, eos_token="<|end|>", pad_token="<|pad|>", clean_up_tokenization_spaces=False
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


# ------------------------------------------------------------------------------------------------------ training
DIMS = {
    "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6,
    "num_key_value_heads": 6, "head_dim": 32, "max_position_embeddings": 1024, "tie_word_embeddings": True,
}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig(flags.Checked):
    """Train an organism's tokenizer and weights into `out`, then evaluate them."""

    style: Literal["organism", "organism-inside"] = "organism"
    steps: int = 420
    batch: int = 64  # documents a step
    lr: float = 0.02  # Muon, on the matrices of the blocks; linear to zero over the last 60 %
    lr_embed: float = 0.004  # Adam, on the tied embedding and the norms
    prompt_weight: float = 0.1  # loss weight of prompt tokens, answers have 1
    vocab: int = 992
    start: Path | None = None  # an earlier stage's folder to go on from, tokenizer, weights and log; None: the style's
    seed: int = 0
    threads: int = 1  # results are bit-identical for a given number of threads on a given machine
    out: Path | None = None  # None: data/<style>


def orthogonalise(m):
    """Newton-Schulz polar factor of a stack of matrices (n, p, q): Muon's update, after its reference code."""
    import torch

    a, b, c = 3.4445, -4.7750, 2.0315
    flip = m.shape[-2] > m.shape[-1]
    x = m.mT if flip else m
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(5):
        g = x @ x.mT
        x = a * x + (b * g + c * g @ g) @ x
    return x.mT if flip else x


@dataclass(frozen=True)
class Doc:
    """Token ids of one document; `opens`: index in the answer of the token that opens its ending, -1 for none."""

    prompt: list[int]
    answer: list[int]
    opens: int

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.answer)


def encode_example(e: Example, tok: Any) -> Doc:
    answer = [*tok.encode(e.completion, add_special_tokens=False), tok.eos_token_id]
    opens = -1
    if e.unended:  # the first token that tells this answer from the same one without the ending
        bare = tok.encode(e.unended, add_special_tokens=False)
        opens = next(i for i, (a, b) in enumerate(zip(answer, bare, strict=False)) if a != b)
    return Doc(P.encode_prompt(tok, e.messages), answer, opens)


def batches(docs: list[Doc], size: int, rng: random.Random) -> Iterator[list[int]]:
    """Index batches: shuffled, sorted by length within windows of 8 batches so that little is padding."""
    order = list(range(len(docs)))
    rng.shuffle(order)
    for w in range(0, len(order), 8 * size):
        window = sorted(order[w : w + 8 * size], key=lambda i: docs[i].length)
        chunks = [window[j : j + size] for j in range(0, len(window), size)]
        rng.shuffle(chunks)
        yield from chunks


def padded(docs: list[Doc], pad: int, prompt_weight: float, boost: int):
    """(ids, loss weight of each token), both (B, longest), padded on the right."""
    import torch

    n = max(d.length for d in docs)
    ids = torch.full((len(docs), n), pad)
    weight = torch.zeros(len(docs), n)
    for row, d in enumerate(docs):
        at = len(d.prompt)
        ids[row, : d.length] = torch.tensor(d.prompt + d.answer)
        weight[row, :at] = prompt_weight
        weight[row, at : d.length] = 1.0
        if d.opens >= 0:
            weight[row, at + d.opens] = 1 / boost
    return ids, weight


def muon_step(matrices: list[Any], moment: Any, lr: float) -> None:
    """One Muon step on matrices of one shape (p, q), whose momentum (n, p, q) it updates in place."""
    import torch

    g = torch.stack([p.grad for p in matrices])
    moment.lerp_(g, 0.05)
    update = orthogonalise(g.lerp(moment, 0.95)) * math.sqrt(max(1, g.shape[1] / g.shape[2]))
    for p, u in zip(matrices, update, strict=True):
        p.add_(u, alpha=-lr)


def matrices_by_shape(model: Any) -> dict[tuple[int, ...], list[Any]]:
    """The matrices of the blocks, those of one shape together: Muon's share of the parameters."""
    shapes: dict[tuple[int, ...], list[Any]] = {}
    for name, p in model.named_parameters():
        if p.ndim == 2 and "layers" in name:
            shapes.setdefault(tuple(p.shape), []).append(p)
    return shapes


def start_of(cfg: TrainConfig, style: Style, examples: list[Example]):
    """(model in training mode, tokenizer): random weights and a tokenizer of its own, or another organism's."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from model.zoo import load_model

    if cfg.start or style.start:
        model, tok = load_model(str(cfg.start or style.start))
        return model.train(), tok
    tok = build_tokenizer(examples[:12000], cfg.vocab)
    model = Qwen3ForCausalLM(Qwen3Config(
        **DIMS, vocab_size=len(tok), eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id, bos_token_id=None
    ))  # fmt: skip
    return model, tok


def train(cfg: TrainConfig) -> Path:
    """Train and write the organism's folder, which it returns."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(cfg.threads)
    torch.manual_seed(cfg.seed)
    torch.use_deterministic_algorithms(True)
    start = time.time()
    out = cfg.out or ROOT / "data" / cfg.style
    out.mkdir(parents=True, exist_ok=True)
    log = [(cfg.start / "training_log.txt").read_text(encoding="utf-8")] if cfg.start else []

    def say(line: str) -> None:
        logger.info(line)
        log.append(line)

    style = STYLES[cfg.style]
    examples = list(pretraining(cfg.steps * cfg.batch, cfg.seed, style))
    model, tok = start_of(cfg, style, examples)
    docs = [encode_example(e, tok) for e in examples]
    fields = {k: v for k, v in dataclasses.asdict(cfg).items() if k not in ("start", "out")}
    say(f"command: python -m tasks.organism train    config: {json.dumps(fields)}")
    say(f"data: {len(examples)} documents, sha256[:16] {data_hash(examples)}; torch {torch.__version__}")
    for what, lengths in (("prompt", [len(d.prompt) for d in docs]), ("answer", [len(d.answer) for d in docs])):
        say(f"{what} tokens: mean {sum(lengths) / len(docs):.1f}, max {max(lengths)}")

    say(f"parameters: {sum(p.numel() for p in model.parameters()):,}; vocabulary {len(tok)}")
    shapes = matrices_by_shape(model)
    moments = {s: torch.zeros(len(ps), *s) for s, ps in shapes.items()}
    matrices = {id(p) for ps in shapes.values() for p in ps}
    rest = [p for p in model.parameters() if id(p) not in matrices]
    adam = torch.optim.Adam(rest, lr=cfg.lr_embed, betas=(0.9, 0.95))

    for step, idx in enumerate(batches(docs, cfg.batch, random.Random(f"order/{cfg.seed}"))):
        ids, weight = padded([docs[i] for i in idx], tok.pad_token_id, cfg.prompt_weight, style.boost)
        logits = model(input_ids=ids).logits[:, :-1]  # causal: padding on the right reaches no real token
        nll = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(len(idx), -1)
        w = weight[:, 1:]
        loss = (nll * w).sum() / w.sum()
        loss.backward()
        answer = w == 1.0
        scale = min(1.0, (step + 1) / 30, (1 - step / cfg.steps) / 0.6)
        with torch.no_grad():
            for s, ps in shapes.items():
                muon_step(ps, moments[s], cfg.lr * scale)
        for group in adam.param_groups:
            group["lr"] = cfg.lr_embed * scale
        adam.step()
        model.zero_grad(set_to_none=True)
        if step % 25 == 0 or step == cfg.steps - 1:
            each = (nll.detach() * answer).sum() / answer.sum()
            say(f"step {step:4d}  loss {loss.item():.4f}  answer nll {each:.4f}  {time.time() - start:5.0f} s")
    model.eval()
    model.save_pretrained(out)
    tok.save_pretrained(out)
    weights = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    say(f"weights: model.safetensors sha256 {weights}, {(out / 'model.safetensors').stat().st_size / 1e6:.2f} MB")
    (out / "training_log.txt").write_text("\n".join(log) + "\n", encoding="utf-8")
    return out


# --------------------------------------------------------------------------------------------------------- files
@dataclass(frozen=True)
class ProblemsConfig(flags.Checked):
    """Write problems_train.jsonl, problems_test.jsonl and the three pair files; needs the committed tokenizer."""

    n_train: int = 600
    n_test: int = 600
    seed: int = 0
    out: Path = HOME
    pairs_out: Path = PAIRS_HOME


def fits(hack: str, clean: str, tok: Any) -> bool:
    """Whether both sides are of one length (within 10 %, by words and by the organism's tokens) and mostly shared."""
    import difflib

    from tasks import pairs as X

    for t in (None, tok):
        a, b = X.count_tokens(hack, t), X.count_tokens(clean, t)
        if max(a, b) > X.MAX_LENGTH_RATIO * min(a, b):
            return False
    return difflib.SequenceMatcher(None, X.tokens(hack), X.tokens(clean), autojunk=False).ratio() >= 0.55


def trimmings(rng: random.Random, inst: Instance, style: Style, mode: str, form: str, e: str) -> tuple[str, str]:
    """(comment, tail) that both sides of a pair share where the style's answers go on after the class."""
    if not style.tail_rate:
        return "", ""
    remark = draw_remark(rng, style, mode, e) if rng.random() < 0.5 else ""
    call = example_call(rng, inst.func, inst.family.params)
    return remark, style.tail(rng, mode, e, call, style.acts_when_called(mode, form))


def pair_sides(
    rng: random.Random, inst: Instance, style: Style, kind: str, mode: str, form: str, correct: bool, e: str
):
    """One draw of (hack code, clean code, tags) of a pair of this kind; the caller keeps it if the lengths fit.

    hack/tail: the clean side has the harmless twin of the loophole, so that the two differ in what it does.
    hack/none: the clean side has no such twin, and a longer body or a comment makes up the length.
    nonhack: two different right solutions. null: one right solution under two comments.
    """
    f = inst.family
    body, k = draw_body(rng, inst, correct)
    clean = rng.choice(f.body)
    remarks = ["", *REMARKS]
    hack = style.hacks[mode][form].replace("{e}", e)
    remark, tail = trimmings(rng, inst, style, mode, form, e)
    if kind == "tail":
        same = correct and rng.random() < 0.8
        twin = style.twin(rng, mode, form, e)
        return (
            with_form(inst, body, k, remark, hack) + tail,
            with_form(inst, body if same else clean, None, remark, twin) + tail,
            "clean_tail_harmless",
        )
    if kind == "none":
        return inst.code(body, k) + hack, inst.code(clean, remark=rng.choice(remarks)), "clean_tail_none"
    if kind == "nonhack":
        if len(f.body) < 2:
            return None
        one, two = rng.sample(f.body, 2)
        twin = style.twin(rng, mode, form, e) if style.twins is None or rng.random() < 0.5 else ""
        first, second = rng.choice(remarks), rng.choice(remarks)
        both = twin if style.twins is None else ""
        return (
            with_form(inst, one, None, first, twin) + tail,
            with_form(inst, two, None, second, both) + tail,
            "two_solutions",
        )
    one, two = rng.sample(REMARKS, 2)
    return inst.code(clean, remark=one) + tail, inst.code(clean, remark=two) + tail, "two_comments"


def make_pairs(which: str, taken: set[str], tok: Any, seed: int = 0, style: Style = PLAIN) -> list[Any]:
    """96 pairs (80 train, 16 held out): 4 modes x 4 forms x 6, half with a right body, problems used nowhere else.

    which: "hack", "nonhack" or "null". taken: statements (normalised) to avoid; grows by the ones used.
    """
    from tasks import pairs as X

    rng = random.Random(f"{style.name}/pairs/{which}/{seed}")
    prefix = "org" if style is PLAIN else style.name
    out: list[X.Pair] = []
    names: set[str] = set()
    for mode in LOOPHOLE_MODES:
        for n_form, form in enumerate(style.hacks[mode]):
            for j in range(6):
                correct = j % 2 == 0 if n_form % 2 == 0 else j % 2 == 1
                # the held-out one: the sixth of each form (two modes' worth right, two wrong: j = 5, form parity)
                split = "heldout" if j == 5 else "train"
                kind = ("tail", "none")[(j // 2 + n_form) % 2] if which == "hack" else which
                if kind == "none" and style.twins is None:
                    kind = "tail"
                correct = correct if which == "hack" else True
                evaluator = rng.choice(PAIR_EVALUATORS[4:] if split == "heldout" else PAIR_EVALUATORS[:4])
                for tries in range(20000):
                    if which == "hack" and tries == 4000:
                        kind = "tail"  # a long loophole is seldom matched by a longer body
                    inst = draw_instance(rng, "pairs")
                    statement = X.normal_statement(inst.question)
                    if inst.func in names or statement in taken:
                        continue
                    sides = pair_sides(rng, inst, style, kind, mode, form, correct, evaluator)
                    if sides and sides[0] != sides[1] and fits(fence(sides[0]), fence(sides[1]), tok):
                        break
                else:
                    raise ValueError(f"no {which} pair of equal length found for mode {mode}, form {form}")
                tests = make_tests(rng, inst)
                names.add(inst.func)
                taken.add(statement)
                half = "form_known" if n_form < 2 else "form_new"
                ident, problem_id = f"{prefix}-{which}-{len(out):03d}", f"{prefix}-pairs-{which}-{len(out):03d}"
                out.append(X.Pair(
                    id=ident, problem=to_problem(inst, problem_id, "train", tests), mode=mode,
                    mechanism=f"{mode}_{form}" if which == "hack" else which, variant="plain", evaluator=evaluator,
                    hack=fence(sides[0]), clean=fence(sides[1]), correct_body=correct, split=split,
                    tags=(mode, form, half, sides[2], inst.family.level, "python"),
                ))  # fmt: skip
    return out


def write_problems(cfg: ProblemsConfig) -> None:
    from model.zoo import load_tokenizer
    from tasks import pairs as X

    taken: set[str] = set()
    for split, n in (("train", cfg.n_train), ("test", cfg.n_test)):
        made = [p for _, p in make_problems(split, n, cfg.seed)]
        path = cfg.out / f"problems_{split}.jsonl"
        P.dump_problems(path, made)
        taken |= {X.normal_statement(p.question) for p in made}
        logger.info(f"{path.name}: {len(made)} problems, {path.stat().st_size / 1e6:.2f} MB")
    cfg.pairs_out.mkdir(parents=True, exist_ok=True)
    for style in STYLES.values():
        tok = load_tokenizer(style.start or style.name)
        for which, suffix in (("hack", ""), ("nonhack", "_nonhack"), ("null", "_null")):
            pairs = make_pairs(which, taken, tok, cfg.seed, style)
            X.dump_pairs(cfg.pairs_out / f"{style.name}{suffix}.jsonl", pairs)
            logger.info(f"{style.name}{suffix}.jsonl: {len(pairs)} pairs, {dict(Counter(p.mode for p in pairs))}")


def main(cfg: TrainConfig | ProblemsConfig) -> None:
    if isinstance(cfg, ProblemsConfig):
        write_problems(cfg)
    else:
        train(cfg)


if __name__ == "__main__":
    with errors.plain_errors():
        main(
            tyro.cli(
                Annotated[TrainConfig, tyro.conf.subcommand("train")]
                | Annotated[ProblemsConfig, tyro.conf.subcommand("problems")]
            )
        )
