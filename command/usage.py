"""`train.py --help`: the presets, then the flags by group, read off source and presets.toml, so that no torch loads."""

from __future__ import annotations

import re
import sys
import textwrap
from typing import Any, NamedTuple

from command import files, flags

FIELD = re.compile(r"    (\w+): (.+?) = (.+?)(?:  # (.*))?$")
NAMED = ("tasks/modes.py", "model/svd_basis.py")  # where words stand that several scripts share
WIDTH = 110


class Flag(NamedTuple):
    name: str
    kind: str  # its type, or its choices with commas between them
    default: str  # as the source has it
    meaning: str


def groups(script: str, config: str = "Config") -> dict[str, list[Flag]]:
    """Flags of a script's dataclass by the comment line above them; those before the first such line under ""."""
    source, *shared = [(files.ROOT / p).read_text(encoding="utf-8") for p in (script, *NAMED)]
    words = dict(re.findall(r"^(\w+) = Literal\[(.+?)\]", "\n".join([*shared, source]), re.M | re.S))
    found: dict[str, list[Flag]] = {"": []}
    for line in source.partition(f"class {config}:")[2].partition("    def ")[0].splitlines():
        if heading := re.fullmatch(r"    # (.+)", line):
            found[heading[1]] = []
        if m := FIELD.match(line):
            name, kind, default, meaning = m.groups(default="")
            base, *rest = kind.split(" | ")
            kind = " | ".join([words.get(base.removeprefix("P."), base), *rest])
            kind = re.sub(r"Literal\[(.+)\]", r"\1", kind).replace('"', "")
            found[[*found][-1]].append(Flag(name, " ".join(kind.split()), default, meaning))
    return {heading: of for heading, of in found.items() if of}


def shown(value: Any) -> str:
    """A value as a command line spells it."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def entry(name: str, text: str) -> list[str]:
    """A name and what it means, in two columns; a no-break space of the text stays within its line."""
    indent = {"initial_indent": f"  {name:<20}", "subsequent_indent": " " * 22}
    return [x.replace("\xa0", " ") for x in textwrap.wrap(text, WIDTH, break_on_hyphens=False, **indent)]


def page(preset: str | None = None) -> str:
    """What `--help` prints; preset: the one whose values stand as defaults."""
    presets = flags.preset_values()
    lines = ["usage: python train.py PRESET [--flag value ...]", "", "presets (presets.toml)"]
    lines += [line for name, (about, _) in presets.items() for line in entry(name, about)]
    changed = presets[preset][1] if preset else {}
    for heading, of in groups("train.py").items():
        lines += ["", heading or "method"]
        for f in of:
            default = f.default.strip('"') if f.default[0] != "(" else " ".join(re.findall(r'"(.+?)"', f.default))
            default = f"{preset}: {shown(changed[f.name])}" if f.name in changed else default
            kind = f.kind.replace("tuple[str, ...]", "str ...").replace(" | ", "\xa0|\xa0")
            lines += entry(flags.dashed(f.name), f"{f.meaning} [{kind};\xa0{default}]")
    end = "In brackets: type or choices; default." + f" `{preset}:` marks what the preset sets." * bool(preset)
    return "\n".join([*lines, "", end])


def answer(name: str) -> None:
    """Print the page and exit where this is the script itself (its __name__) and its command line asks for help."""
    argv = sys.argv[1:]
    preset = argv[0] if argv and argv[0] in flags.preset_values() else None
    rest = argv[1:] if preset else argv
    if name == "__main__" and rest[:1] in (["--help"], ["-h"]):
        print(page(preset))
        sys.exit()
