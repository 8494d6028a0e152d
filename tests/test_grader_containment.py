"""What untrusted code cannot do: each promise of docs/grader.md is attacked with a canary."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import adversarial as A
import psutil
import pytest
from adversarial import PROBLEMS, RIGHT, SETUP, WRONG
from shared import ROOT, start

from bench.attack import census
from grader import Grader, Zygote, decode_value, parse_tests
from sandbox import jail

# one place for the scale of the leak test: CI runs a part of it, the figure in docs/grader.md is for 10,000
GRADINGS = int(os.environ.get("PROJECTED_GRPO_GRADINGS", "400"))
PATIENCE_S = 1800  # for what ends within a second on an idle machine
ADD = PROBLEMS["add"]
CPU_LIMIT_S = 2


@pytest.fixture(scope="module")
def zygote():
    with closing(Zygote()) as z:
        yield z


@pytest.fixture
def probe(zygote):
    """Runs code that defines probe() inside the sandbox and gives back what it returns, or the error's text."""
    return lambda code, **limits: _probe(zygote, code, **limits)[0]


def _probe(zygote: Zygote, code: str, cpu: int = 3, kind: str = "oracle"):
    body = "\n".join("    " + line for line in code.strip("\n").splitlines())
    source = f"def probe():\n{body}\nclass Solution:\n    def f(self): return probe()\n"
    job = {"kind": kind, "setup": SETUP, "sources": [source.encode()], "evaluator": "x", "names": (), "texts": (),
           "calls": [parse_tests(["assert Solution().f() == 0"], "f")[0].call], "kinds": ["value"],
           "limits": {"cpu": cpu, "wall": 600.0, "memory": 1 << 30, "bytes": 1 << 22}}  # fmt: skip
    if kind != "oracle":
        job |= {"nonce": b"", "sentinel": "S", "marker": b"M", "file": "result.txt", "decoys": [1, 2]}
    frames: list[bytes] = []
    outcome = zygote.run(job, lambda frame: frames.append(frame) is None)
    last = frames[-1] if frames else b"?"
    value = decode_value(last[1:]) if last[:1] == b"R" else last[1:].decode() if last[:1] == b"X" else outcome.text()
    return value, outcome


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


@pytest.fixture
def planted(tmp_path):
    with A.planted(tmp_path) as places:
        yield places


def test_no_canary_leaks(planted):
    with Grader(2, cpu_limit_s=CPU_LIMIT_S) as g:  # started with the secret in its environment
        cells = [(p, mode) for p in A.CANARY for mode in ("none", "run_tests")]
        grades = g.grade((ADD, p.completion.format(**planted), mode, "run_tests") for p, mode in cells)
    assert [(p.name, g.error) for (p, _), g in zip(cells, grades) if g.gt_correct or g.passed] == []
    assert planted["seen"] == []


def test_canaries_would_be_right_outside(planted):
    """The canary itself works: without the sandbox the same programs do become right."""
    for program in A.CANARY:
        if program.name in ("a file", "environment", "loopback", "an abstract socket", "a hard link"):
            code = program.completion.format(**planted)[len("```python\n") : -len("\n```")]
            check, folder = code + "\nassert Solution().add(2, 3) == 5", Path(planted["file"]).parent
            subprocess.run([sys.executable, "-c", check], cwd=folder, check=True)


def test_only_the_standard_library_and_its_own_folder_can_be_seen(probe):
    assert probe("import os\nreturn os.getcwd(), os.listdir('.')") == (jail.WORK, [])
    files = ("/etc/passwd", "/proc/self/environ", "/proc/1/environ", "/sys/kernel", ROOT / "grader.py")
    for path in (*files, Path.home() / ".bashrc"):
        assert "Error" in str(probe(f"return len(open({str(path)!r}).read())")), path
    for path in ("/", "/dev", "/tmp", "/proc", "/home", str(ROOT), str(Path.home())):
        assert "Error" in str(probe(f"import os\nreturn os.listdir({path!r})")), path


def test_the_root_itself_holds_nothing_else():
    library = {"lib", "lib64", "usr", Path(sys.base_prefix).parts[1]}
    walk = "import os\nreturn [b for b, _, f in os.walk('/') if 'site-packages' in b and f]"
    with closing(Zygote(without=("landlock",))) as z:
        root, dev, packages = (
            set(_probe(z, f"import os\nreturn os.listdir({x!r})")[0]) for x in ("/", "/dev", "/packages")
        )
        assert root <= {"box", "dev", "empty", "packages"} | library and dev == {"null", "urandom"}
        assert packages <= {"numpy", "numpy.libs", "sortedcontainers", "tzdata"}
        assert _probe(z, walk)[0] == []


def test_environment_and_input_are_empty_of_the_harness(probe):
    names, read = probe("import os, sys\nreturn sorted(os.environ), sys.stdin.read()")
    assert set(names) <= {"PYTHONHASHSEED", "LC_ALL", "OPENBLAS_NUM_THREADS", "LC_CTYPE"} and read == ""


def test_nothing_outside_the_work_folder_can_be_written(probe):
    places = ["/x", "/box/x", "/packages/x", "/dev/x", "/tmp/x", "/lib/x", os.path.dirname(os.__file__) + "/x",
              os.__file__, "/dev/shm/x", str(ROOT / "x"), "../x", "/proc/self/oom_score_adj"]  # fmt: skip
    assert probe(A.WRITE_TO.format(places=places)) == []
    assert probe("open('x', 'w').write('y')\nreturn open('x').read()") == "y"


def test_disk_is_bounded_and_the_folder_is_fresh_each_time(probe):
    assert probe(A.FILL_THE_DISK) <= jail.WORK_BYTES >> 20
    for act in ("os.mkdir(str(i))", "os.mkdir('d'); os.chdir('d')"):
        assert probe(A.UNTIL_REFUSED.format(act=act)) <= jail.WORK_INODES
        assert probe("import os\nreturn os.listdir('.')") == []


def test_no_device_or_pipe_is_made_no_owner_changes_and_the_library_stays(probe):
    ends = {act: probe(f"import os\n{act}\nreturn 0") for act in A.REFUSED}
    assert [act for act, end in ends.items() if "Error" not in str(end)] == []
    ids = probe("import os\nreturn os.getuid(), os.geteuid(), os.getgid(), os.getgroups()")
    assert ids[:3] == (65534, 65534, 65534) and set(ids[3]) <= {65534}  # nobody


def test_no_socket_of_any_family(probe):
    assert probe(A.SOCKETS) == []
    assert "error" in probe("import socket\nreturn socket.gethostbyname('localhost')")


def test_network_namespace_has_no_interface_even_without_seccomp():
    connect = "import socket\ns = socket.socket()\ns.settimeout(2)\ns.connect(('127.0.0.1', 22))"
    fresh = "lo sit0 tunl0 ip6tnl0 gre0 gretap0 erspan0 ip_vti0 ip6_vti0 ip6gre0"  # of any new namespace
    with closing(Zygote(without=("seccomp", "landlock"))) as z:
        assert "unreachable" in _probe(z, connect)[0].lower()
        names = _probe(z, "import socket\nreturn [n for _, n in socket.if_nameindex()]")[0]
        assert set(names) <= set(fresh.split())


def test_other_processes_can_neither_be_seen_nor_signalled(probe):
    assert probe("import os\nreturn os.path.exists('/proc/1')") is False
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as victim:
        reached = probe(A.REACH_OTHERS.format(pid=os.getpid(), victim=victim.pid))
        assert (reached, victim.poll()) == ([], None)
        victim.kill()


def test_processes_cannot_be_started(probe):
    for call in A.FORKS:
        refused = "Error" in str(probe(f"import os\n{call}\nreturn 0"))
        assert refused or probe(f"import os\nreturn {call} != 0") is True, call


def test_the_filter_s_numbers_are_those_of_the_system_s_header():
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.is_file():
        pytest.skip("no header of the C library's development package here")
    known = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", header.read_text()))
    tables = [jail._ALLOWED, jail._IDLE, jail._ABSENT]
    tables.append({name: rule[0] for name, rule in jail._BY_ARGUMENT.items()})
    assert [(n, v) for table in tables for n, v in table.items() if known.get(n) != str(v)] == []
    numbers = [v for table in tables for v in table.values()]
    assert len(set(numbers)) == len(numbers)


def test_no_call_leaves_or_shows_a_trace(probe):
    assert probe(A.TRACES) == []


@pytest.mark.parametrize("without", [(), ("landlock",)], ids=["all-layers", "no-landlock"])
def test_no_program_leaves_anything_that_a_later_one_finds(without):
    """What a program finds (files and their times, numbers, memory, addresses) is the same whatever ran before it."""
    with closing(Zygote(without)) as z:
        for _ in range(5):
            _probe(z, "return 1")
        before = _probe(z, A.REPORT)[0]
        assert isinstance(before, list) and _probe(z, A.REPORT)[0] == before  # after an odd number of programs too
        for act in A.ACTS:
            for kind in ("oracle", "file_marker", "stdout_marker"):
                _probe(z, act, cpu=1, kind=kind)
                assert _probe(z, A.REPORT)[0] == before, (act, kind)


def test_random_numbers_set_order_and_hashes_are_the_same_in_every_sandbox():
    drawn = set()
    for _ in range(3):
        with closing(Zygote()) as z:
            drawn.add(str(_probe(z, "import random\nreturn [random.random(), list({*'abcde'}), hash('x')]")[0]))
    assert len(drawn) == 1 and "Error" not in drawn.pop()


def test_privileged_and_unusual_calls_are_refused(probe):
    """All but those of the filter's tables, and 335 and 336, which the kernel keeps for itself past any filter."""
    known = {n for table in (jail._ALLOWED, jail._IDLE, jail._ABSENT) for n in table.values()}
    known |= {rule[0] for rule in jail._BY_ARGUMENT.values()} | {335, 336}
    assert len(known) < 120 and probe(A.OTHER_CALLS.format(known=known)) == []


def test_a_killed_sandbox_is_replaced_and_its_gradings_finish():
    others = {p.pid for p in _descendants()}
    with Grader(2) as g:
        slow = RIGHT.replace("return a", "[0 for _ in range(100_000)]\n        return a")
        futures = [g.submit(ADD, slow if i % 2 else WRONG, "none") for i in range(120)]
        for _ in range(3):
            futures[0].result()
            for child in _descendants():
                with suppress(psutil.NoSuchProcess):
                    if child.pid not in others:
                        child.kill()
            time.sleep(0.2)
        assert [f.result().gt_correct for f in futures] == [bool(i % 2) for i in range(120)]


def test_cpu_time_is_bounded_for_loops_threads_and_blocked_signals(zygote):
    for code in A.SPINS:
        value, outcome = _probe(zygote, code, cpu=1)
        assert value == "CPU limit (1 s)" and outcome.cpu < 2.5


def test_sleeping_costs_no_time_and_a_blocked_program_ends(zygote):
    assert [_probe(zygote, code)[0] for code in A.WAITS] == [1] * len(A.WAITS)
    for code in A.DEADLOCKS:
        value, outcome = _probe(zygote, code)
        assert value == "waited for nothing" and outcome.cpu < 1


def test_memory_is_bounded(probe):
    # a gigabyte of fresh pages takes seconds of CPU time where others fill memory too
    assert all("Error" in str(probe(code, cpu=60)) for code in A.FILL_THE_MEMORY)


def test_floods_of_output_are_cut(grader, zygote):
    flood = "```python\nimport os\nwhile True: os.write(%d, b'x' * 65536)\n```"
    items = [(ADD, flood % fd, mode, "") for fd, mode in ((1, "none"), (2, "none"), (3, "none"), (1, "stdout_marker"))]
    lines = "```python\nprint('ALL TESTS PASSED')\nfor _ in range(200_000): print('x' * 100)\n```"
    assert not any(g.passed for g in grader.grade([*items, (ADD, lines, "stdout_marker", "")]))
    value, outcome = _probe(zygote, "return 'x' * (1 << 26)")
    assert value == "output limit" and outcome.reason == b"B"


def test_threads_and_descriptors_are_bounded(probe):
    assert probe(A.MANY_THREADS) < 200
    assert probe(A.UNTIL_REFUSED.format(act="os.dup(0)")) < 64


def test_gradings_leave_no_process_file_or_descriptor(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other runs on this machine come and go in the usual one
    modes, texts = ("run_tests", "stdout_marker", "file_marker", "exit_code", "none"), [RIGHT, WRONG, *A.LEFTOVERS]
    before_all = census()
    with Grader(2) as g:
        g.grade((ADD, t, m, "run_tests") for t in texts for m in modes)
        before, memory = census(), psutil.Process().memory_info().rss
        for start in range(0, GRADINGS, 200):
            n = min(200, GRADINGS - start)
            g.grade((ADD, texts[i % 7], modes[i % 5], "run_tests") for i in range(n))
        assert census() == before
        assert psutil.Process().memory_info().rss - memory < 32 << 20
        assert all(c.memory_info().rss < 100 << 20 for c in _descendants() if not c.children())
    assert census() == before_all


@pytest.mark.parametrize("without", [(), ("ns",)], ids=["all-layers", "no-namespaces"])
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT", "exception", "exit"])
def test_end_of_the_harness_leaves_no_process_and_no_folder(how, without, tmp_path):
    then = {"exception": "raise RuntimeError", "exit": "sys.exit(3)"}.get(how, "time.sleep(100)")
    process = start(A.HARNESS.format(without=without, then=then), TMPDIR=str(tmp_path))
    assert process.stdout.readline() == "ready\n"
    children = psutil.Process(process.pid).children(recursive=True)
    if how.startswith("SIG"):
        process.send_signal(getattr(signal, how))
    process.communicate(timeout=PATIENCE_S)
    _gone, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    deadline = time.monotonic() + PATIENCE_S
    while list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []


def _as_user(uid: int, texts: list[str]) -> str:
    process = start(A.AS_USER.format(texts=texts, uid=uid))
    told = "".join(process.communicate())
    if process.returncode == 77:
        pytest.skip("this system gives no user namespace to a process without privileges")
    return told


def test_every_layer_works_for_an_ordinary_user():
    exploit = WRONG.replace("```python", "```python\nopen('result.txt', 'w').write('PASS')")
    told = _as_user(1234, [RIGHT, WRONG, exploit])
    labels = "['correct', 'correct', 'incorrect', 'incorrect', 'incorrect', 'hack']"
    assert told.endswith(f" 1234 {labels}\n"), told
    layers = ("landlock", "seccomp", "ns(user,pid,mnt,net,ipc,uts)", "uid(caller)", "rlimits")
    assert [name for name in layers if name not in told] == []


def test_a_caller_that_owns_the_host_s_devices_keeps_them_as_they_are():
    """Root of a namespace with one uid: the programs have the uid that owns /dev/null, and no way to its inode."""
    before = [os.stat(path) for path in ("/dev/null", "/dev/urandom", os.__file__)]
    told = _as_user(0, [RIGHT, A.solution(before=A.TOUCH_THE_HOST)])
    assert told.endswith(" 0 ['correct', 'correct', 'correct', 'correct']\n"), told
    assert [os.stat(path) for path in ("/dev/null", "/dev/urandom", os.__file__)] == before


def test_root_without_a_user_namespace_is_named_and_its_programs_are_not_root():
    if os.getuid() != 0:
        pytest.skip("only root can make the other namespaces alone")
    told, errors = start(A.NO_USER_NAMESPACE).communicate()
    refused, accepted = told.splitlines()[-2:]
    assert "missing user namespace" in refused, told + errors
    assert "uid(own)" in accepted and accepted.endswith("(accepted without: user namespace) correct"), accepted


def test_without_namespaces_programs_are_judged_alone_and_their_folder_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    right = (A.THREADS, A.GONE, A.KILLER.format(pid=os.getpid()), RIGHT[10:-3])
    programs = [*((code, False) for code in (A.DEEP, A.ODD, A.WRITER, A.READER)), *((code, True) for code in right)]
    with Grader(1, without=("ns",), accept_level="landlock+seccomp+rlimits") as g:
        grades = g.grade((ADD, f"```python\n{code}```", "none", "") for code, _ in programs)
        assert [grade.gt_correct for grade in grades] == [right for _, right in programs], grades
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_each_layer_alone_stops_what_it_promises():
    """Layers overlap on purpose; here each is alone, so that none is a label only."""
    secret = tempfile.NamedTemporaryFile()  # noqa: SIM115
    os.chmod(secret.name, 0o644)  # where nothing but a layer keeps a program of any uid from it
    read = f"return open({secret.name!r}).read()"
    for off, code, stopped in (
        (("ns", "seccomp"), read, "PermissionError"),  # landlock
        (("landlock", "seccomp"), read, "FileNotFoundError"),  # mount namespace
        (("ns", "landlock"), "import socket\nsocket.socket()\nreturn 0", "PermissionError"),  # seccomp
        (("ns", "landlock"), "import os\nos.fork()\nreturn 0", "PermissionError"),  # seccomp
        (("ns", "landlock", "seccomp"), "return len(bytearray(2 << 30))", "MemoryError"),  # rlimits
    ):
        with closing(Zygote(without=off)) as z:
            assert str(_probe(z, code)[0]).startswith(stopped), (off, code)


def test_every_promise_of_the_page_names_tests_that_exist():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "grader.md").read_text()))
    known = {n for f in (ROOT / "tests").glob("test_*.py") for n in re.findall(r"^def (test_\w+)", f.read_text(), re.M)}
    assert len(named) > 30 and named - known == set()
