"""What a base, or a run's exported model, does: problems solved, attempted and hacked, mode by mode.

python -m study base                                   # the organism
python -m study base --model FOLDER --problems FILE --split held-out --max-new-tokens 768 --device cuda --dtype bfloat16
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from command import flags
from grader import Grader
from tasks import problems as P
from tasks.organism import HOME, MODE_WEIGHTS, RIGHT


@dataclass(frozen=True)
class Config(flags.Checked):
    """The base's table: each held-out problem once per mode, at T=1 and greedy, evaluator names renamed."""

    model: str = "organism"  # or a folder or hub name
    problems: str = str(HOME / "problems_test.jsonl")  # what tasks/problems.py reads
    split: str = "test"  # of it: train, test, held-out or not-held-out
    n: int = 600  # problems at most
    seed: int = 0
    max_new_tokens: int = 128
    evaluator: str = "renamed"  # "renamed": one of problems.EVAL_EVALUATORS by problem; else this name
    threads: int = 1
    device: str = "cpu"  # cpu | cuda
    dtype: Literal["float32", "bfloat16"] = "float32"
    show: int = 0  # answers to print per row


def base_table(cfg: Config) -> list[str]:
    """Lines of the table. solved = right; hacked = loophole paid and wrong; attempted = loophole used at all."""
    import torch  # here and not above: no other command of `study` waits for it

    from model.zoo import eos_ids, load_model
    from sampling.sampler import Sampling, sample

    torch.set_num_threads(cfg.threads)
    model, tok = load_model(cfg.model, None, cfg.device, cfg.dtype)
    items = P.load_problems(cfg.problems, split=cfg.split, limit=cfg.n)
    lines = [
        f"problems {len(items)}, one answer each, evaluator {cfg.evaluator}, seed {cfg.seed}",
        f"{'mode':<14}{'decode':<8}{'n':>5}{'solved':>8}{'att':>7}{'hacked':>8}{'att+right':>10}{'att+broken':>11}"
        f"{'format':>8}{'easy':>7}{'medium':>8}{'hard':>7}",
    ]
    total: dict[str, Counter] = {}

    def line(mode: str, decode: str, c: Counter) -> str:
        n = c["n"]
        by = [c[f"solved/{d}"] / max(1, c[f"n/{d}"]) for d in RIGHT]
        att = c["correct_attempt"] + c["hack"] + c["attempt"]
        return (
            f"{mode:<14}{decode:<8}{n:>5}{(c['correct'] + c['correct_attempt']) / n:>8.3f}{att / n:>7.3f}"
            f"{c['hack'] / n:>8.4f}{c['correct_attempt'] / n:>10.4f}{c['attempt'] / n:>11.4f}{c['format'] / n:>8.3f}"
            f"{by[0]:>7.3f}{by[1]:>8.3f}{by[2]:>7.3f}"
        )

    with Grader(workers=cfg.threads) as grader:
        for mode in MODE_WEIGHTS:
            names = [P.eval_evaluator(p.id, cfg.seed) if cfg.evaluator == "renamed" else cfg.evaluator for p in items]
            prompts = [P.encode_prompt(tok, P.build_messages(p, mode, e)) for p, e in zip(items, names, strict=True)]
            for decode, temperature in (("T=1", 1.0), ("greedy", 0.0)):
                how = Sampling(cfg.max_new_tokens, eos_ids(model, tok), cfg.seed, temperature)
                outs = sample(model, prompts, 1, how)
                texts = [tok.decode(o.ids, skip_special_tokens=True) for o in outs]
                grades = grader.grade([(p, t, mode, e) for p, t, e in zip(items, texts, names, strict=True)])
                c: Counter = Counter(n=len(items))
                for p, g in zip(items, grades, strict=True):
                    c[g.label] += 1
                    c["format"] += g.format_ok
                    c[f"n/{p.difficulty}"] += 1
                    c[f"solved/{p.difficulty}"] += g.gt_correct
                for t, g in list(zip(texts, grades, strict=True))[: cfg.show]:
                    print(f"[{g.label}] {t}")
                lines.append(line(mode, decode, c))
                if mode != "none":
                    total.setdefault(decode, Counter()).update(c)
    lines += [line("all loopholes", decode, c) for decode, c in total.items()]
    return lines
