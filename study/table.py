"""Rollouts of a run as one parquet file, whose columns have the same types in every run.

rollouts.jsonl grows while a run goes on, and a JSON reader guesses a column's type from its first rows: a cosine that
no early rollout has would become a column of nothing. The types stand here instead.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from command import files
from runs import read_log

TYPES = {
    "step": pa.int64(), "source": pa.string(), "problem_id": pa.string(), "mode": pa.string(), "prompt": pa.string(),
    "completion": pa.string(), "reward": pa.float64(), "format_ok": pa.bool_(), "passed": pa.bool_(),
    "gt_correct": pa.bool_(), "hacked": pa.bool_(), "attempted": pa.bool_(), "label": pa.string(),
    "advantage": pa.float64(), "cos_hack": pa.float64(), "screened": pa.bool_(), "n_tokens": pa.int64(),
}  # fmt: skip
CHUNK = 4096  # rollouts in memory at once


def export(run: Path, out: Path | None = None) -> tuple[Path, int]:
    """Write RUN/rollouts.parquet, or `out`; returns the file and how many rollouts it holds."""
    log, out = run / "rollouts.jsonl", out or run / "rollouts.parquet"
    schema, n, rows = pa.schema(TYPES.items()), 0, list[dict]()
    with files.atomic_path(out) as tmp, parquet.ParquetWriter(tmp, schema) as writer:

        def write() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema))
            rows.clear()

        for row in read_log(log, tuple(TYPES)):
            rows.append(row | {"problem_id": str(row["problem_id"])})
            n += 1
            if len(rows) == CHUNK:
                write()
        write()
    return out, n
