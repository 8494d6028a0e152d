"""The real data, which is not committed: PROJECTED_GRPO_SHARED names the folder that holds data/."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("PROJECTED_GRPO_SHARED", ROOT.parent / "shared")) / "data"
BENCHMARK = SHARED / "leetcode/leetcode_test_medhard.jsonl"
DATASET = SHARED / "leetcode/LeetCodeDataset-v0.2.0-train.jsonl.gz"
POOL, TOKENIZER = SHARED / "teacher_pool", SHARED / "qwen3_tokenizer"
needs_shared = pytest.mark.skipif(
    not all(p.exists() for p in (BENCHMARK, DATASET, POOL, TOKENIZER)),
    reason=f"{SHARED} holds no real data (set PROJECTED_GRPO_SHARED)",
)
