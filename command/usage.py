"""`--help` of the scripts: the presets, then the flags by group, read off source and presets.toml: no torch loads."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

from command import files, flags

FIELD = re.compile(r"    (\w+): (.+?) = (.+?)(?:  # (.*))?$")
NAMED = ("tasks/modes.py", "model/svd_basis.py")  # where words stand that several scripts share
CONFIGS = {"train.py": "Config", "extract_vhack.py": "ExtractConfig", "probe_distill.py": "Config"}
WIDTH = 110


class Flag(NamedTuple):
    name: str
    kind: str  # its type, or its choices with commas between them
    default: str  # as the source has it
    meaning: str


def groups(script: str) -> dict[str, list[Flag]]:
    """Flags of a script by the comment line above them; those before the first such line under ""."""
    source, *shared = [(files.ROOT / p).read_text(encoding="utf-8") for p in (script, *NAMED)]
    words = dict(re.findall(r"^(\w+) = Literal\[(.+?)\]", "\n".join([*shared, source]), re.M | re.S))
    found: dict[str, list[Flag]] = {"": []}
    for line in source.partition(f"class {CONFIGS[script]}:")[2].partition("    def ")[0].splitlines():
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


def presets_of(script: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """name -> (what it is, its flags): train.py's of presets.toml, another script's off its own source."""
    if script == "train.py":
        return flags.preset_values()
    named: dict[str, dict] = {}  # configs that presets begin with
    found: dict[str, tuple[str, dict]] = {}

    def value(node: ast.expr) -> Any:
        literal = node.args[0] if isinstance(node, ast.Call) else node  # Path("...")
        return ast.unparse(literal) if isinstance(literal, ast.Name) else ast.literal_eval(literal)

    def config(node: ast.expr) -> dict:
        if isinstance(node, ast.Name):
            return named[node.id]
        if isinstance(node, ast.Subscript):  # PRESETS["organism"][1]
            return found[node.value.slice.value][1]
        return (config(node.args[0]) if node.args else {}) | {k.arg: value(k.value) for k in node.keywords}

    for line in ast.parse((files.ROOT / script).read_text(encoding="utf-8")).body:
        if isinstance(line, ast.Assign):
            target, given = ast.unparse(line.targets[0]), line.value
            if target == "PRESETS":
                found |= {k.value: (v.elts[0].value, config(v.elts[1])) for k, v in zip(given.keys, given.values)}
            elif target.startswith("PRESETS["):
                found[line.targets[0].slice.value] = given.elts[0].value, config(given.elts[1])
            elif isinstance(given, ast.Call) and ast.unparse(given.func) == CONFIGS[script]:
                named[target] = config(given)
    return found


def page(script: str, preset: str | None = None) -> str:
    """What `--help` prints; preset: the one whose values stand as defaults."""
    presets = presets_of(script)
    lines = [f"usage: python {script} PRESET [--flag value ...]", ""]
    lines += ["presets (presets.toml)" if script == "train.py" else "presets"]
    lines += [line for name, (about, _) in presets.items() for line in entry(name, about)]
    changed = presets[preset][1] if preset else {}
    for heading, of in groups(script).items():
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
    if name != "__main__":
        return
    script, argv = Path(sys.argv[0]).name, sys.argv[1:]
    preset = argv[0] if argv and argv[0] in presets_of(script) else None
    if (argv[1:] if preset else argv)[:1] in (["--help"], ["-h"]):
        print(page(script, preset))
        sys.exit()


def commands(module: str) -> dict[str, dict[str, str]]:
    """{heading: {subcommand: what it does}} of a module: the comment above them, their names and docstrings."""
    found: dict[str, dict[str, str]] = {}
    text = (files.ROOT / module).read_text(encoding="utf-8")
    for heading, name, about in re.findall(
        r'^# -+ ([^\n]+)$|^@app\.command\(name="([^"]+)"\)\ndef .+?"""(.+?)(?:"""|\n\n)', text, re.M | re.S
    ):
        if heading:
            found[heading] = {}
        else:
            found[[*found][-1]][name] = about
    return found
