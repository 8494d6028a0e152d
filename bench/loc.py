"""Budgets of the code beside today's figures; exit code 1 beyond one of them (`just loc`)."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUDGETS = {  # what is counted -> (most, why)
    "lines of train.py": (850, "read in one sitting"),
    "lines of the longest function": (60, "seen on one screen; Triton kernels are exempt"),
    "arguments of the widest function": (8, "held in the head; Triton kernels are exempt"),
    "flags of train.py": (46, "each has a user"),
    "Python files at the root": (5, "the names that a user types"),
    "lines of tests": (6500, "the attack corpus is not counted"),
    "import circles": (0, "a file is understood from those below it"),
}
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: str, tree: ast.Module) -> list[tuple[int, int, str]]:
    """(lines, arguments, name) of every function and method but Triton kernels."""
    found = [f for f in ast.walk(tree) if isinstance(f, FUNCTIONS)]
    found = [f for f in found if not any("triton.jit" in ast.unparse(d) for d in f.decorator_list)]
    names = [[n for n in ast.iter_child_nodes(f.args) if isinstance(n, ast.arg)] for f in found]
    return [(f.end_lineno - f.lineno + 1, len(n), f"{path}: {f.name}") for f, n in zip(found, names, strict=True)]


def circles(trees: dict[str, ast.Module]) -> list[str]:
    """Groups of modules that each import one another by some way; an import inside a function counts too."""
    reach: dict[str, set[str]] = {}
    for name, tree in trees.items():
        found = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        bases = [getattr(n, "module", None) for n in found]
        reach[name] = {f"{b}.{a.name}" if b else a.name for b, n in zip(bases, found, strict=True) for a in n.names}
        reach[name] = (reach[name] | set(bases)) & trees.keys() - {name}
    for via in trees:
        for name in trees:
            reach[name] |= reach[via] if via in reach[name] else set()
    return sorted({" <-> ".join(sorted(m for m in reach[n] if n in reach[m])) for n in trees if n in reach[n]})


def measure() -> dict[str, tuple[int, list[str]]]:
    """What BUDGETS counts -> (figure, places beyond the budget) of the files that git tracks."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    texts = {p: (ROOT / p).read_text(encoding="utf-8") for p in listed.split() if (ROOT / p).exists()}
    trees = {p: ast.parse(text) for p, text in texts.items()}
    lines = {p: len(text.splitlines()) for p, text in texts.items()}
    config = next(n for n in trees["train.py"].body if isinstance(n, ast.ClassDef) and n.name == "Config")
    tests = [p for p in texts if p.startswith("tests/") and p != "tests/adversarial.py"]
    found = [f for p, tree in trees.items() for f in functions(p, tree)]
    long = [f"{name} ({n} lines)" for n, _, name in found if n > BUDGETS["lines of the longest function"][0]]
    wide = [f"{name} ({n})" for _, n, name in found if n > BUDGETS["arguments of the widest function"][0]]
    round_trips = circles({p[:-3].replace("/", ".").removesuffix(".__init__"): t for p, t in trees.items()})
    return {
        "lines of train.py": (lines["train.py"], []),
        "lines of the longest function": (max(n for n, _, _ in found), long),
        "arguments of the widest function": (max(n for _, n, _ in found), wide),
        "flags of train.py": (sum(isinstance(n, ast.AnnAssign) for n in config.body), []),
        "Python files at the root": (sum("/" not in p for p in texts), []),
        "lines of tests": (sum(lines[p] for p in tests), []),
        "import circles": (len(round_trips), round_trips),
    }


def main() -> int:
    figures = measure()
    print(f"{'':<34}{'today':>7}{'budget':>8}")
    for what, (most, why) in BUDGETS.items():
        today, places = figures[what]
        print(f"{what:<34}{today:>7}{most:>8}  {'over' if today > most else 'ok':<5} {why}")
        print("".join(f"    {place}\n" for place in places), end="")
    return int(any(figures[what][0] > most for what, (most, _) in BUDGETS.items()))


if __name__ == "__main__":
    sys.exit(main())
