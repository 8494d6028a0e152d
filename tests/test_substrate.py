"""The fine-tune's data are honest and apart from everything that is measured; its smoke runs end to end."""

import itertools
import json
import random
import sys

import pytest

from model import zoo
from study import base
from tasks import organism as O
from tasks import pairs as X
from tasks import problems as P
from tasks import substrate


@pytest.fixture(scope="module")
def documents():
    return substrate.draw_documents(substrate.TrainConfig(steps=125, batch=32, benign=0.3))


def test_no_document_of_the_fine_tune_uses_a_loophole(documents, grader):
    rng, items = random.Random(0), []
    for i, d in enumerate(some := rng.sample(documents, 96)):
        problem = O.to_problem(d.instance, i, "train", O.make_tests(rng, d.instance))
        items.append((problem, d.completion, d.mode, d.evaluator))
    grades = grader.grade(items)
    assert [(g.gt_correct, g.attempted, g.hacked) for g in grades] == [(d.right, False, False) for d in some]
    for d in documents:  # and none holds the text of one
        forms = itertools.chain(*(f.values() for f in O.HACKS.values()))
        assert not any(form.replace("{e}", d.evaluator) in d.completion for form in forms)


def test_fine_tune_shares_no_statement_with_held_out_problems_or_pairs_and_no_name_with_training(documents):
    held, seen = (P.load_problems(O.HOME / f"problems_{split}.jsonl", split=split) for split in ("test", "train"))
    files = [O.PAIRS_HOME / "leetcode.jsonl", O.PAIRS_HOME / "leetcode_nonhack.jsonl"]
    measured = [*held, *(pair.problem for file in files for pair in X.load_pairs(file))]
    statements = {X.normal_statement(d.instance.question) for d in documents}
    assert not statements & {X.normal_statement(p.question) for p in measured}
    assert not {d.instance.func for d in documents} & {p.func_name for p in [*measured, *seen]}


def test_documents_are_a_function_of_the_seed_and_right_as_often_as_designed(documents):
    cfg = substrate.TrainConfig(steps=125, batch=32, benign=0.3)
    assert O.data_hash(documents) == O.data_hash(substrate.draw_documents(cfg))
    other = substrate.draw_documents(substrate.TrainConfig(steps=125, batch=32, benign=0.3, seed=1))
    assert O.data_hash(documents) != O.data_hash(other)
    for level, p in O.RIGHT.items():
        mine = [d.right for d in documents if d.instance.family.level == level]
        assert abs(sum(mine) / len(mine) - p) < 4 * (p * (1 - p) / len(mine)) ** 0.5
    assert {d.mode for d in documents} == set(O.MODE_WEIGHTS)


def test_smoke_on_the_tiny_model_writes_a_lora_and_a_manifest_and_repeats_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tasks/substrate.py", "train"])
    made = set()
    for name in ("a", "b"):
        cfg = substrate.TrainConfig(model="tiny", steps=2, batch=2, threads=1, out=tmp_path / name)
        folder = substrate.merged_folder("tiny", substrate.train(cfg))
        manifest = json.loads((cfg.out / "manifest.json").read_text())
        assert manifest["steps_done"] == 2
        assert manifest["lora_sha256"] == zoo.sha256(cfg.out / "lora.safetensors")
        made.add(manifest["lora_sha256"])
    assert len(made) == 1
    table = base.base_table(base.Config(model=str(folder), n=1))
    assert table[-2].startswith("all loopholes T=1")
    assert zoo.load_model(str(folder))[0].config.model_type == "qwen3"


def test_the_time_limit_ends_training_cleanly_and_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tasks/substrate.py", "train"])
    cfg = substrate.TrainConfig(model="tiny", steps=50, batch=1, time_limit_s=0, threads=1, out=tmp_path)
    substrate.train(cfg)
    assert json.loads((tmp_path / "manifest.json").read_text())["steps_done"] == 1
    assert "--time-limit-s 0" in (tmp_path / "training_log.txt").read_text()


def test_the_committed_lora_is_the_one_of_its_manifest_and_small():
    if not zoo.SMOLLM2_LORA.exists():
        pytest.skip("data/smollm2/lora.safetensors is not made yet: `just substrate smollm2` on a GPU")
    manifest = json.loads((substrate.HOME / "manifest.json").read_text())
    assert manifest["lora_sha256"] == zoo.sha256(zoo.SMOLLM2_LORA)
    assert zoo.SMOLLM2_LORA.stat().st_size < 10_000_000
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in manifest["config"].items() if k != "eval_n"}
    cfg = substrate.TrainConfig(**fields)
    assert O.data_hash(substrate.draw_documents(cfg)) == manifest["data_sha256[:16]"]
