"""docs/reference.md from the code: the run directory, columns of the log, flags of the scripts.

python -m command.reference          # writes docs/reference.md; a test compares the two
"""

from __future__ import annotations

from command import files, flags, log, usage

PAGE = files.ROOT / "docs" / "reference.md"
HEAD = """# Reference

`python -m command.reference` writes this page from the code.

## A run directory

`train.py` writes `out/runs/<utc>_<name>/`.

| file | what is in it |
| --- | --- |
| `config.json` | every flag, the command line, the commit, hashes of all inputs, versions, the sandbox's layers |
| `rows.jsonl` | one line a step: the columns of the log and more |
| `evals.jsonl` | one line an evaluation and mode: counts of attempted, hacked and solved answers |
| `rollouts.jsonl` | every completion with grade, reward and advantage; `just export-rollouts RUN` makes parquet |
| `checkpoint/` | what `--resume` continues from, bit for bit |
| `final.safetensors` | what was trained, beside the base model; `just export RUN` merges the two |
| `bluf.json`, `bluf.txt` | the end of the run, bottom line up front; `bluf.json` is there once a run has ended |
| `log.txt` | the log with dates and modules |
| `lock` | process and host that write the run now |

## Columns of the log
"""


def flag_tables(script: str) -> list[str]:
    """A table of a script's flags for each of their groups."""
    lines = []
    for heading, of in usage.groups(script).items():
        lines += ["", f"### {heading.capitalize()}"] * bool(heading)
        lines += ["", "| flag | values | default | meaning |", "| --- | --- | --- | --- |"]
        for f in of:
            cells = f"`{flags.dashed(f.name)}`", f"`{f.kind}`", f"`{f.default}`", f.meaning
            lines.append(f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |")
    return lines


def page() -> str:
    lines = [HEAD, "| column | what it says |", "| --- | --- |"]
    lines += [f"| `{key}` | {text} |" for key, _, _, text in log.COLUMNS]
    for script in usage.CONFIGS:
        lines += ["", f"## Flags of {script}", *flag_tables(script)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
