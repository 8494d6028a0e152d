"""`just attack` finds what it looks for, and the page of the library shows what its example prints."""

import re
import tempfile
from dataclasses import replace

import adversarial as A
import pytest
from shared import ROOT

from bench import attack
from grader import Grader

PAGE = (ROOT / "docs" / "grader-library.md").read_text()


class Fooled(Grader):
    """Believes a program of each kind, and forgets a file and its descriptor."""

    def grade(self, items):
        tempfile.mkstemp()
        return [replace(g, gt_correct=not g.gt_correct, passed=not g.passed) for g in super().grade(items)]


@pytest.mark.parametrize("kind, counts", [(Grader, ["7", "0", "0", "0"]), (Fooled, ["7", "6", "2", "6"])])
def test_attack_counts_what_is_fooled_refused_and_left(kind, counts, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(attack, "SETTLE_S", 0.5)
    modes = ("none", "run_tests", "sentinel", "file_marker", "exit_code")
    rows = [
        attack.Kind("wrong", [(A.DIRECT[0], "none")]),
        attack.Kind("exploit", [(A.LOOPHOLES["sentinel"][0], mode) for mode in modes]),
        attack.Kind("honest", [(A.HONEST[0], "none")], right=True),
    ]
    told = []
    with kind(1) as grader:
        bad = attack.attack(grader, iter(rows), [], told.append)
    assert told[-1].split() == ["all", *counts] and bad == sum(map(int, counts[1:]))


def test_the_corpus_has_a_row_for_each_family_and_each_program_is_tried(tmp_path):
    with A.planted(tmp_path) as places:
        cells = [cell for kind in attack.kinds(places) for cell in kind.cells]
    exploits = [p.name for programs in A.LOOPHOLES.values() for p in programs]
    assert {p.name for p, _ in cells} == {p.name for p in [*A.DIRECT, *A.CANARY, *A.HONEST]} | set(exploits)
    assert all("{file" not in p.completion for p, _ in cells)


def test_the_page_s_example_prints_what_it_says(capsys):
    code, printed = re.search(r"```python\n(.*?)^```\n.*?^```\n(.*?)^```", PAGE, re.S | re.M).groups()
    exec(compile(code, "grader-library.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[1:] == printed.splitlines()
