"""What untrusted code cannot do: each promise of docs/grader.md is attacked with a canary."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import adversarial as A
import psutil
import pytest
from adversarial import CANARY, PROBLEMS, SETUP

from grader import Grader, Zygote, decode_value, parse_tests
from sandbox import jail

ROOT = Path(__file__).resolve().parent.parent
# one place for the scale of the leak test: CI runs a part of it, the figure in docs/grader.md is for 10,000
GRADINGS = int(os.environ.get("PROJECTED_GRPO_GRADINGS", "400"))
PATIENCE_S = 300  # for what ends within a second on an idle machine
RIGHT = "```python\nclass Solution:\n    def add(self, a, b):\n        return a + b\n```"
WRONG = RIGHT.replace("a + b\n", "0\n")


@pytest.fixture(scope="module")
def grader():
    with Grader(2, cpu_limit_s=2) as g:
        yield g


@pytest.fixture(scope="module")
def zygote():
    z = Zygote()
    yield z
    z.close()


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
    with Grader(2, cpu_limit_s=2) as g:  # started with the secret in its environment
        filled = [p.completion.format(**planted) for p in CANARY]
        items = [(PROBLEMS["add"], text, mode, "run_tests") for text in filled for mode in ("none", "run_tests")]
        grades = g.grade(items)
    names = [p.name for p in CANARY for _ in range(2)]
    assert [(n, g.error) for n, g in zip(names, grades) if g.gt_correct or g.passed] == []
    assert planted["seen"] == []


def test_canaries_would_be_right_outside(planted):
    """The canary itself works: without the sandbox the same programs do become right."""
    rights = 0
    for program in CANARY:
        if program.name in ("a file", "environment", "loopback", "an abstract socket", "a hard link"):
            code = program.completion.format(**planted)[len("```python\n") : -len("\n```")]
            check = code + "\nassert Solution().add(2, 3) == 5"
            folder = Path(planted["file"]).parent
            rights += subprocess.run([sys.executable, "-c", check], cwd=folder, capture_output=True).returncode == 0
    assert rights == 5


def test_only_the_standard_library_and_its_own_folder_can_be_seen(probe):
    assert probe("import os\nreturn os.getcwd(), os.listdir('.')") == (jail.WORK, [])
    files = ("/etc/passwd", "/proc/self/environ", "/proc/1/environ", "/sys/kernel", ROOT / "grader.py")
    for path in (*files, Path.home() / ".bashrc"):
        assert "Error" in str(probe(f"return len(open({str(path)!r}).read())")), path
    for path in ("/", "/dev", "/tmp", "/proc", "/home", str(ROOT), str(Path.home())):
        assert "Error" in str(probe(f"import os\nreturn os.listdir({path!r})")), path


def test_the_root_itself_holds_nothing_else():
    z = Zygote(without=("landlock",))
    try:
        library = {"lib", "lib64", "usr", Path(sys.base_prefix).parts[1]}
        assert set(_probe(z, "import os\nreturn os.listdir('/')")[0]) <= {"box", "dev", "empty", "packages"} | library
        assert set(_probe(z, "import os\nreturn os.listdir('/dev')")[0]) == {"null", "urandom"}
        packages = set(_probe(z, "import os\nreturn os.listdir('/packages')")[0])
        assert packages <= {"numpy", "numpy.libs", "sortedcontainers", "tzdata"}
        walk = "import os\nreturn [b for b, _, f in os.walk('/') if 'site-packages' in b and f]"
        assert _probe(z, walk)[0] == []
    finally:
        z.close()


def test_environment_and_arguments_are_empty_of_the_harness(probe):
    names = probe("import os\nreturn sorted(os.environ)")
    assert set(names) <= {"PYTHONHASHSEED", "LC_ALL", "OPENBLAS_NUM_THREADS", "LC_CTYPE"}
    assert probe("import sys\nreturn len(sys.argv) + len(sys.stdin.read())") >= 1


def test_nothing_outside_the_work_folder_can_be_written(probe):
    places = ["/x", "/box/x", "/packages/x", "/dev/x", "/tmp/x", "/lib/x", os.path.dirname(os.__file__) + "/x",
              os.__file__, "/dev/shm/x", str(ROOT / "x"), "../x", "/proc/self/oom_score_adj"]  # fmt: skip
    assert probe(A.WRITE_TO.format(places=places)) == []
    assert probe("import os\nos.unlink(os.__file__)").startswith(("OSError", "PermissionError"))
    moved = "import os\nos.rename(os.path.dirname(os.__file__), 'mine')"
    assert probe(moved).startswith(("OSError", "PermissionError"))
    assert probe("open('x', 'w').write('y')\nreturn open('x').read()") == "y"


def test_disk_is_bounded_and_the_folder_is_fresh_each_time(probe):
    assert probe(A.FILL_THE_DISK) <= jail.WORK_BYTES >> 20
    assert probe("import os\nreturn os.listdir('.')") == []
    many = "import os\nfor i in range(10**6):\n    try: os.mkdir(str(i))\n    except OSError: return i"
    assert probe(many) <= jail.WORK_INODES
    deep = "import os\nfor i in range(10**6):\n    try: os.mkdir('d'); os.chdir('d')\n    except OSError: return i"
    assert probe(deep) <= jail.WORK_INODES
    assert probe("import os\nreturn os.listdir('.')") == []


def test_no_devices_pipes_or_sockets_can_be_made(probe):
    node = "os.mknod('d', 0o%d0600, os.makedev(%d, %d))"
    for call in ("os.mkfifo('p')", node % (6, 8, 0), node % (2, 1, 1)):
        assert "Error" in str(probe(f"import os\n{call}\nreturn 0")), call


def test_no_socket_of_any_family(probe):
    assert probe(A.SOCKETS) == []
    assert "error" in probe("import socket\nreturn socket.gethostbyname('localhost')")


def test_network_namespace_has_no_interface_even_without_seccomp():
    z = Zygote(without=("seccomp", "landlock"))
    try:
        code = "import socket\ns = socket.socket()\ns.settimeout(2)\ns.connect(('127.0.0.1', 22))"
        assert "unreachable" in _probe(z, code)[0].lower()
        names = _probe(z, "import socket\nreturn [n for _, n in socket.if_nameindex()]")[0]
        fresh = "lo sit0 tunl0 ip6tnl0 gre0 gretap0 erspan0 ip_vti0 ip6_vti0 ip6gre0"  # of any new namespace
        assert set(names) <= set(fresh.split())
    finally:
        z.close()


def test_other_processes_can_neither_be_seen_nor_signalled(probe):
    assert probe("import os\nreturn os.path.exists('/proc/1')") is False
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert probe(A.REACH_OTHERS.format(pid=os.getpid(), victim=victim.pid)) == []
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_processes_cannot_be_started(probe):
    spawn = ("os.execv('/bin/true', ['true'])", "os.posix_spawn('/bin/true', ['true'], {})", "os.system('true')")
    for call in ("os.fork()", *spawn, "__import__('subprocess').run(['true'])", "__import__('pty').fork()"):
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


def test_no_program_leaves_anything_that_a_later_one_finds():
    """What a program finds (files and their times, numbers, memory, addresses) is the same whatever ran before it."""
    z = Zygote()
    try:
        for _ in range(2):
            _probe(z, "return 1")
        before = _probe(z, A.REPORT)[0]
        assert isinstance(before, list)
        for act in A.ACTS:
            for kind in ("oracle", "file_marker", "stdout_marker"):
                _probe(z, act, cpu=1, kind=kind)
                assert _probe(z, A.REPORT)[0] == before, (act, kind)
    finally:
        z.close()


def test_privileged_and_unusual_calls_are_refused(probe):
    # unshare, setns, mount, umount2, pivot_root, chroot, bpf, keyctl, add_key, perf_event_open, io_uring_setup,
    # userfaultfd, memfd_create, init_module, kexec_load, reboot, sethostname, swapon, open_by_handle_at, quotactl,
    # personality, setuid, shmget, msgget, semget, inotify_init1, fanotify_init, seccomp, landlock_restrict_self,
    # setpriority, sched_setscheduler, execveat, vfork
    numbers = [272, 308, 165, 166, 155, 161, 321, 250, 248, 298, 425, 323, 319, 175, 246, 169, 170, 167, 304, 179, 135,
               105, 29, 68, 64, 294, 300, 317, 446, 141, 144, 322, 58]  # fmt: skip
    code = f"import ctypes\ncall = ctypes.CDLL(None).syscall\nreturn [n for n in {numbers} if call(n, 0, 0, 0) != -1]"
    assert probe(code) == []


def test_identity_is_nobody_without_capabilities(probe):
    ids = probe("import os\nreturn os.getuid(), os.geteuid(), os.getgid(), os.getgroups()")
    assert ids[:3] == (65534, 65534, 65534) and set(ids[3]) <= {65534}
    for call in ("os.setuid(0)", "os.chown('.', 0, 0)"):
        assert "Error" in probe(f"import os\n{call}\nreturn 0")


def test_a_killed_sandbox_is_replaced_and_its_gradings_finish():
    others = {p.pid for p in _descendants()}
    with Grader(2) as g:
        slow = RIGHT.replace("return a", "[0 for _ in range(100_000)]\n        return a")
        futures = [g.submit(PROBLEMS["add"], slow if i % 2 else WRONG, "none") for i in range(120)]
        for _ in range(3):
            futures[0].result()
            for child in _descendants():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if child.pid not in others:
                        child.kill()
            time.sleep(0.2)
        assert [f.result().gt_correct for f in futures] == [bool(i % 2) for i in range(120)]


def test_cpu_time_is_bounded_for_loops_threads_and_blocked_signals(zygote):
    for code in A.SPINS:
        value, outcome = _probe(zygote, code, cpu=1)
        assert value == "CPU limit (1 s)" and outcome.cpu < 2.5


def test_sleeping_costs_no_time_and_a_blocked_program_ends(zygote):
    for wait in ("time.sleep(10**6)", "select.select([], [], [], 10**6)"):
        assert _probe(zygote, f"import select, time\n{wait}\nreturn 1")[0] == 1
    for wait in ("t.Event().wait()", "x = t.Lock()\nx.acquire()\nx.acquire()"):
        value, outcome = _probe(zygote, f"import threading as t\n{wait}")
        assert value == "waited for nothing" and outcome.cpu < 1
    assert _probe(zygote, "import signal\nsignal.raise_signal(signal.SIGSTOP)")[0] == "waited for nothing"


def test_memory_is_bounded(probe):
    filling = "keep = []\nwhile True: keep.append(bytearray(1 << 24))"
    mapped = "import mmap\nreturn len(mmap.mmap(-1, 4 << 30))"
    # a gigabyte of fresh pages takes seconds of CPU time where others fill memory too
    ends = [probe(code, cpu=60) for code in ("return len(bytearray(2 << 30))", filling, mapped)]
    assert "MemoryError" in ends[0] and "MemoryError" in ends[1] and "Error" in ends[2]


def test_floods_of_output_are_cut(grader, zygote):
    flood = "```python\nimport os\nwhile True: os.write(%d, b'x' * 65536)\n```"
    for fd, mode in ((1, "none"), (2, "none"), (3, "none"), (1, "stdout_marker")):
        assert not grader.grade([(PROBLEMS["add"], flood % fd, mode, "run_tests")])[0].passed
    value, outcome = _probe(zygote, "return 'x' * (1 << 26)")
    assert value == "output limit" and outcome.reason == b"B"
    lines = "```python\nprint('ALL TESTS PASSED')\nfor _ in range(200_000): print('x' * 100)\n```"
    assert not grader.grade([(PROBLEMS["add"], lines, "stdout_marker", "run_tests")])[0].passed


def test_threads_and_descriptors_are_bounded(probe):
    assert probe(A.MANY_THREADS) < 200
    assert probe("import os\nfor i in range(10**6):\n    try: os.dup(0)\n    except OSError: return i") < 64


def _census() -> dict[str, int]:
    me = psutil.Process()
    files = len(os.listdir(tempfile.gettempdir()))
    return {"fds": me.num_fds(), "children": len(me.children(recursive=True)), "files": files}


def test_gradings_leave_no_process_file_or_descriptor(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other runs on this machine come and go in the usual one
    texts = [RIGHT, WRONG, "```python\nopen('left', 'w').write('x' * 100)\n```", "```python\nwhile 1 print\n```",
             "```python\nimport os\nos._exit(0)\n```", WRONG.replace("```python", "```python\ndef run_tests(): pass"),
             "```python\nimport os\ntry: os.fork()\nexcept OSError: pass\n```"]  # fmt: skip
    modes = ("run_tests", "stdout_marker", "file_marker", "exit_code", "none")
    before_all = _census()
    with Grader(2) as g:
        g.grade((PROBLEMS["add"], t, m, "run_tests") for t in texts for m in modes)
        before, memory = _census(), psutil.Process().memory_info().rss
        for start in range(0, GRADINGS, 200):
            n = min(200, GRADINGS - start)
            g.grade((PROBLEMS["add"], texts[i % 7], modes[i % 5], "run_tests") for i in range(n))
        assert _census() == before
        assert psutil.Process().memory_info().rss - memory < 32 << 20
        zygotes = [c for c in _descendants() if not c.children()]
        assert all(c.memory_info().rss < 100 << 20 for c in zygotes)
    assert _census() == before_all


HARNESS = """
import psutil, sys, time
sys.path[:0] = [{root!r}, {tests!r}]
from adversarial import PROBLEMS
from grader import Grader
g = Grader(2, cpu_limit_s=60, without={without!r}, accept_level="none")
slow = "```python\\nopen('left', 'w')\\nclass Solution:\\n  def add(self, a, b):\\n    while True: pass\\n```"
futures = [g.submit(PROBLEMS["add"], slow, "none") for _ in range(4)]
while len(psutil.Process().children(recursive=True)) < 5: time.sleep(0.02)  # supervisors, zygotes, a running program
print("ready", flush=True)
{then}
"""


def _start_harness(then: str, without: tuple[str, ...] = ()) -> tuple[subprocess.Popen, list[psutil.Process], Path]:
    code = HARNESS.format(root=str(ROOT), tests=str(ROOT / "tests"), without=without, then=then)
    folder = Path(tempfile.gettempdir()) / f"harness-{uuid.uuid4().hex}"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | {"TMPDIR": str(folder)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # pytest-xdist's workers ignore it
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process, psutil.Process(process.pid).children(recursive=True), folder


@pytest.mark.parametrize("without", [(), ("ns",)], ids=["all-layers", "no-namespaces"])
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT", "exception", "exit"])
def test_end_of_the_harness_leaves_no_process_and_no_folder(how, without):
    then = {"exception": "raise RuntimeError", "exit": "sys.exit(3)"}.get(how, "time.sleep(100)")
    process, children, folder = _start_harness(then, without)
    if how.startswith("SIG"):
        process.send_signal(getattr(signal, how))
    process.wait(PATIENCE_S)
    _gone, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    deadline = time.monotonic() + PATIENCE_S
    while list(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    folder.rmdir()  # it is empty


AS_USER = """
import ctypes, os, sys
uid, gid = os.getuid(), os.getgid()
if ctypes.CDLL(None).unshare(0x10000000): sys.exit(77)
for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {{uid}} 1"), ("gid_map", f"{uid} {{gid}} 1")):
    open(f"/proc/self/{{name}}", "w").write(text)
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
import struct
if {uid}: libc.capset(struct.pack("Ii", 0x20080522, 0), bytes(24))
sys.path[:0] = [{root!r}, {tests!r}]
from adversarial import PROBLEMS
from grader import Grader
with Grader(1) as g:
    grades = g.grade((PROBLEMS["add"], t, m, "run_tests") for t in {texts!r} for m in ("run_tests", "file_marker"))
    print(g.layers, os.getuid(), [x.label for x in grades])
"""


def _as_user(uid: int, texts: list[str]) -> str:
    code = AS_USER.format(root=str(ROOT), tests=str(ROOT / "tests"), texts=texts, uid=uid)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("this system gives no user namespace to a process without privileges")
    return done.stdout + done.stderr


def test_every_layer_works_for_an_ordinary_user():
    exploit = WRONG.replace("```python", "```python\nopen('result.txt', 'w').write('PASS')")
    told = _as_user(1234, [RIGHT, WRONG, exploit])
    labels = "['correct', 'correct', 'incorrect', 'incorrect', 'incorrect', 'hack']"
    assert told.endswith(f" 1234 {labels}\n"), told
    assert "landlock" in told and "seccomp" in told and "ns(user" in told and "uid(caller)" in told


def test_a_caller_that_owns_the_host_s_devices_keeps_them_as_they_are():
    """Root of a namespace with one uid: the programs have the uid that owns /dev/null, and no way to its inode."""
    touch = "import os\nfor path in ('/dev/null', '/dev/urandom', os.__file__):\n"
    for call in ("os.chmod(path, 0o666)", "os.utime(path)", "os.chown(path, 0, 0)", "os.unlink(path)"):
        touch += f"    try:\n        {call}\n        raise SystemExit\n    except OSError: pass\n"
    before = [os.stat(path) for path in ("/dev/null", "/dev/urandom", os.__file__)]
    told = _as_user(0, [RIGHT, f"```python\n{touch}{RIGHT[10:]}"])
    assert told.endswith(" 0 ['correct', 'correct', 'correct', 'correct']\n"), told
    assert [os.stat(path) for path in ("/dev/null", "/dev/urandom", os.__file__)] == before


NO_USER_NAMESPACE = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import ctypes, struct
from sandbox import jail
deny = [(0x20, 0, 0, 0), (0x15, 0, 3, 272), (0x20, 0, 0, 16), (0x45, 0, 1, 0x10000000), (6, 0, 0, 0x50001),
        (6, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in deny))
jail._call("prctl", 38, 1, 0, 0, 0)
jail._syscall(317, 1, 0, struct.pack("HxxxxxxQ", len(deny), ctypes.addressof(code)))
from adversarial import PROBLEMS
from grader import Grader, SandboxUnavailable
try: Grader(1)
except SandboxUnavailable as error: print(error)
who = "```python\\nimport os\\nclass Solution:\\n    def add(self, a, b): return a + b if os.getuid() else 0\\n```"
with Grader(1, accept_level="none") as g:
    print(g.layers, g.grade([(PROBLEMS["add"], who, "none", "")])[0].label)
"""


def test_root_without_a_user_namespace_is_named_and_its_programs_are_not_root():
    if os.getuid() != 0:
        pytest.skip("only root can make the other namespaces alone")
    code = NO_USER_NAMESPACE.format(root=str(ROOT), tests=str(ROOT / "tests"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    refused, accepted = done.stdout.splitlines()[-2:]
    assert "missing user namespace" in refused, done.stdout + done.stderr
    assert "uid(own)" in accepted and accepted.endswith("(accepted without: user namespace) correct"), accepted


def test_without_namespaces_programs_are_judged_alone_and_their_folder_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    right = (A.THREADS, A.GONE, A.KILLER.format(pid=os.getpid()), RIGHT[10:-3])
    programs = [*((code, False) for code in (A.DEEP, A.ODD, A.WRITER, A.READER)), *((code, True) for code in right)]
    with Grader(1, without=("ns",), accept_level="landlock+seccomp+rlimits") as g:
        grades = g.grade((PROBLEMS["add"], f"```python\n{code}```", "none", "") for code, _ in programs)
        assert [grade.gt_correct for grade in grades] == [right for _, right in programs], grades
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_each_layer_alone_stops_what_it_promises():
    """Layers overlap on purpose; here each is alone, so that none is a label only."""
    secret = Path(tempfile.gettempdir()) / f"canary-{uuid.uuid4().hex}"
    secret.write_text("secret")
    read = f"return open({str(secret)!r}).read()"
    try:
        for off, code, stopped in (
            (("ns", "seccomp"), read, "PermissionError"),  # landlock
            (("landlock", "seccomp"), read, "FileNotFoundError"),  # mount namespace
            (("ns", "landlock"), "import socket\nsocket.socket()\nreturn 0", "PermissionError"),  # seccomp
            (("ns", "landlock"), "import os\nos.fork()\nreturn 0", "PermissionError"),  # seccomp
            (("ns", "landlock", "seccomp"), "return len(bytearray(2 << 30))", "MemoryError"),  # rlimits
        ):
            z = Zygote(without=off)
            value = str(_probe(z, code)[0])
            z.close()
            assert value.startswith(stopped), (off, code, value)
    finally:
        secret.unlink()


def test_layers_in_force_are_named(grader):
    assert json.dumps(grader.layers)
    for name in ("landlock", "seccomp", "ns(user,pid,mnt,net,ipc,uts)", "rlimits"):
        assert name in grader.layers


def test_every_promise_of_the_page_names_tests_that_exist():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "grader.md").read_text()))
    known = {n for f in (ROOT / "tests").glob("test_*.py") for n in re.findall(r"^def (test_\w+)", f.read_text(), re.M)}
    assert len(named) > 30 and named - known == set()
