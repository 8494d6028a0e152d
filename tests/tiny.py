"""train.py in this process, on the smallest model that does everything: used by the tests of whole runs."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

import train as T
from tasks import pairs

ROOT = Path(__file__).resolve().parents[1]
HOME = tempfile.TemporaryDirectory()


def few_pairs(home: Path, n: int = 4, first: int = 0) -> str:
    """n train pairs and two held-out ones of the LeetCode-style pairs, the honest ones beside them."""
    for name in ("pairs", "pairs_nonhack"):
        found = pairs.load_pairs(ROOT / f"data/pairs/{name.replace('pairs', 'leetcode')}.jsonl")
        held = [p for p in found if p.split != "train"]
        pairs.dump_pairs(home / f"{name}.jsonl", [p for p in found if p.split == "train"][first : first + n] + held[:2])
    return str(home / "pairs.jsonl")


SMALL = replace(
    T.PRESETS["smoke"][1], steps=2, max_new_tokens=16, eval_n=2, grader_workers=1, pair_modes=None,
    pairs=few_pairs(Path(HOME.name)),
)  # fmt: skip
TIMES = ("gen", "wait", "sec")


def go(tmp_path: Path, **flags) -> tuple[int, Path]:
    """Run train.main with SMALL and flags; (exit status, run directory)."""
    before = set(tmp_path.glob("*"))
    status = T.main(replace(SMALL, out_dir=str(tmp_path), **flags))
    new = [p for p in tmp_path.glob("*_*") if p not in before]
    return status, new[0] if new else Path(flags.get("resume", tmp_path))


HACK_WEIGHTS = T.extract_vhack.hack_weights


def of_the_teacher_too(rollouts: list) -> torch.Tensor:
    """extract_vhack.hack_weights where the student, a random model, attempts nothing."""
    return HACK_WEIGHTS([replace(r, source="student") for r in rollouts])


def rows(run: Path, name: str = "rows.jsonl") -> list[dict]:
    found = [json.loads(x) for x in (run / name).read_text().splitlines()]
    return [{k: v for k, v in r.items() if k not in TIMES} for r in found]


def tail(run: Path) -> dict:
    return json.loads((run / "bluf.json").read_text())


def same_weights(one: Path, other: Path) -> bool:
    a, b = (load_file(run / "final.safetensors") for run in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
