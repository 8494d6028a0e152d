"""What several files import: the real data, which PROJECTED_GRPO_SHARED names as it is not committed, and a clock."""

import json
import os
import signal
import subprocess
import sys
import time
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


def cpu_seconds(work, *args) -> tuple[float, object]:
    """CPU time that a call takes in this thread, and its result."""
    started = time.thread_time()
    result = work(*args)
    return time.thread_time() - started, result


def start(code: str, **env) -> subprocess.Popen:
    """Python code in a process of its own, which can import the grader and the corpus and hears Ctrl-C."""
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"} | env
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  (pytest-xdist's workers ignore it)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], env=env, preexec_fn=heard, **pipes)


def write(path: Path, rows: list) -> Path:
    """A file of JSON rows; a row that is a text already stands as it is."""
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path
