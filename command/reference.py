"""docs/reference.md from the code: the run directory, columns of the log, flags of the scripts.

python -m command.reference          # writes docs/reference.md; a test compares the two
"""

from __future__ import annotations

import re

from command import files, log

PAGE = files.ROOT / "docs" / "reference.md"
SCRIPTS = {"train.py": "Config", "extract_vhack.py": "ExtractConfig", "probe_distill.py": "Config"}
FIELD = re.compile(r"    (\w+): (.+?) = (.+?)(?:  # (.*))?$")
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


def flag_rows(script: str, name: str) -> list[str]:
    """A table row for each field of a script's dataclass of flags, read off its source: importing it loads torch."""
    source = (files.ROOT / script).read_text(encoding="utf-8")
    words = dict(re.findall(r"^(\w+) = Literal\[(.+?)\]", source, re.M | re.S))
    body = source.partition(f"class {name}:")[2].partition("    def ")[0]
    found = (m.groups(default="") for line in body.splitlines() if (m := FIELD.match(line)))
    rows = []
    for flag, kind, default, text in found:
        kind = re.sub(r"Literal\[(.+)\]", r"\1", words.get(kind, kind)).replace('"', "").replace("\n", "")
        cells = f"`--{flag.replace('_', '-')}`", f"`{' '.join(kind.split())}`", f"`{default}`", text
        rows.append(f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |")
    return rows


def page() -> str:
    lines = [HEAD, "| column | what it says |", "| --- | --- |"]
    lines += [f"| `{key}` | {text} |" for key, _, _, text in log.COLUMNS]
    for script, name in SCRIPTS.items():
        lines += ["", f"## Flags of {script}", "", "| flag | values | default | meaning |", "| --- | --- | --- | --- |"]
        lines += flag_rows(script, name)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
