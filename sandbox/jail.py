"""Zygote that runs untrusted programs: exec'ed by grader.py, never imported state of the harness, forks once a program.

    harness (grader.py) --socket--> supervisor --fork--> zygote (pid 1 of its own namespaces) --fork--> program
                        --socket of this one program------------------------------------------------------^

The program's socket carries its set-up code, its completion and the *arguments* of the calls in, and plain data
(`encode_value`) out, straight to the harness, which compares. The zygote sees neither: its memory is the start of every
later program's, so nothing in it may depend on what a program did. What is known of a program is therefore either data
that the program claims (values) or a fact that the kernel reports (exit status, CPU time, a file, bytes on stdout).

Layers, each probed at start and named in the hello message:
    ns        user, pid, mount, net, ipc, uts namespaces; a read-only root with only the standard library in it
    landlock  files, TCP and signals, for each program
    seccomp   allow list of system calls, for each program (x86_64)
    rlimits   CPU, address space, file size, descriptors, processes, core
This file imports only the standard library, and little of it: what it imports is in the memory of each program.
"""

import collections
import contextlib
import ctypes
import errno
import json
import marshal
import math
import opcode
import os
import random
import resource
import signal
import socket
import stat
import struct
import sys
import time
import types

SHOWN_CALLS = 3  # calls whose answers are sent at once; a loophole pass sees no others
MAX_DEPTH = 100  # nesting of a returned value
MAX_NODES = 20_000  # nodes of a returned linked list or tree
WORK_BYTES, WORK_INODES = 16 << 20, 512  # the program's own folder (tmpfs)
OPEN_FILES, THREADS, STACK_BYTES = 64, 64, 100 << 20  # limits of a program
END_OF_PROGRAM = 93  # the driver's own exit status: 0 can only come from the program itself

# --------------------------------------------------------------------------- values as plain data
_ATOMS = frozenset((int, str, bool, float, type(None)))
_JSON = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class NotPlain(Exception):
    """The value (or something in it) is no plain data."""


def _ratio(number):
    """A Fraction or Decimal as its exact ratio, an infinite one as a float."""
    try:
        numerator, denominator = number.as_integer_ratio()
    except (OverflowError, ValueError):
        return float(number)
    return _Ratio((numerator, denominator))


class _Ratio(tuple):
    __slots__ = ()


# Types that Python's == holds equal to plain data, by module and name, so that none is imported here: how to get it.
_AS_PLAIN = {
    "collections": {"UserList": list, "UserDict": dict, "UserString": str, "ChainMap": dict},
    "collections.abc": {"KeysView": set, "ItemsView": set},
    "builtins": {"bytearray": bytes, "mappingproxy": dict, "dict_keys": set, "dict_items": set},
    "sortedcontainers.sortedlist": {"SortedList": list, "SortedKeyList": list},
    "sortedcontainers.sortedset": {"SortedSet": set},
    "sortedcontainers.sorteddict": {"SortedKeysView": set, "SortedItemsView": set},
    "fractions": {"Fraction": _ratio},
    "decimal": {"Decimal": _ratio},
}


def _as_plain(value):
    """The plain data that a value of one of those types (or of a subclass that keeps its equality) equals."""
    kind = type(value)
    for base in kind.__mro__:
        convert = _AS_PLAIN.get(base.__module__, {}).get(base.__name__)
        if convert is not None and kind.__eq__ is base.__eq__:
            return convert(value)
    return value


def _plain_base(value):
    """The plain type whose value this is: its own type, or the base of a subclass that keeps its equality."""
    kind = type(value)
    if kind is _Ratio:
        return _Ratio
    for base in (bool, int, float, str, list, tuple, dict, set, frozenset, bytes, complex):
        if kind is base:
            return base
        if issubclass(kind, base):
            same = kind.__eq__ is base.__eq__ and kind.__ne__ is base.__ne__
            # a Counter or OrderedDict overrides __eq__, but equals the dict of the same items
            if same or kind in (collections.Counter, collections.OrderedDict):
                return base
    raise NotPlain(kind.__name__)


def _tagged(value, depth):
    if value is None or type(value) is bool:
        return value
    if depth > MAX_DEPTH:
        raise NotPlain("too deep")
    if type(value).__module__ == "numpy":
        value = value.tolist()  # np.int64(3) == 3 in the benchmark's asserts too; an array becomes a NotPlain below
        if type(value) is list:
            raise NotPlain("array")
    if type(value) not in _PLAIN_TYPES:
        value = _as_plain(value)
    base = _plain_base(value)
    if base is int:
        value = int.__index__(value)
        return value if -(1 << 64) < value < (1 << 64) else {"i": hex(value)}
    if base is float:
        return float.__float__(value)
    if base is str:
        return str.__str__(value)
    if base is list:
        if not set(map(type, value)) - _SMALL_ATOMS:
            return list(value)
        return [_tagged(item, depth + 1) for item in list.__iter__(value)]
    if base is tuple:
        return {"t": [_tagged(item, depth + 1) for item in tuple.__iter__(value)]}
    if base is dict:
        items = list(dict.items(value))
        return {"d": [[_tagged(k, depth + 1), _tagged(v, depth + 1)] for k, v in items]}
    if base in (set, frozenset):
        return {"s": [_tagged(item, depth + 1) for item in base.__iter__(value)]}
    if base is bytes:
        return {"b": bytes.hex(value)}
    if base is _Ratio:
        return {"q": [hex(part) for part in value]}
    return {"c": [value.real, value.imag]}


_SMALL_ATOMS = frozenset((str, bool, float, type(None)))
_PLAIN_TYPES = frozenset((int, str, float, list, tuple, dict, set, bytes))


def encode_value(value, kind="value"):
    """One returned value -> bytes of typed JSON; NotPlain where it is no plain data.

    kind "value": None, bool, int, float, str and list are themselves, {"t": tuple} {"s": set} {"d": dict items}
    {"b": bytes} {"c": complex} {"i": long int} {"q": ratio}. kind "list": the values of a chain of .val/.next nodes;
    kind "tree": the preorder of .val/.left/.right nodes, [value] for a node and null for none. Raises NotPlain.
    """
    try:
        if kind == "list":
            value = {"L": _chain(value)}
        elif kind == "tree":
            value = {"T": _preorder(value)}
        elif type(value) is list and not set(map(type, value)) - _ATOMS and _all_short(value):
            pass  # the common case: already JSON
        else:
            value = _tagged(value, 0)
        return _JSON(value).encode("ascii")
    except (ValueError, RecursionError, OverflowError, AttributeError, TypeError) as error:
        raise NotPlain(type(error).__name__) from None


def _all_short(items):
    return all(type(item) is not int or -(1 << 64) < item < (1 << 64) for item in items)


def _chain(node):
    values = []
    while node is not None:
        if len(values) >= MAX_NODES:
            raise NotPlain("endless list")
        values.append(_tagged(node.val, 0))
        node = node.next
    return values


def _preorder(root):
    out, stack = [], [root]
    while stack:
        node = stack.pop()
        if len(out) >= MAX_NODES:
            raise NotPlain("endless tree")
        if node is None:
            out.append(None)
            continue
        out.append([_tagged(node.val, 0)])
        stack.append(node.right)
        stack.append(node.left)
    return out


# --------------------------------------------------------------------------- kernel interface
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_NOATIME, MS_REC, MS_PRIVATE, MS_RELATIME, MNT_DETACH = 1024, 16384, 1 << 18, 1 << 21, 2
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
NAMESPACES = {"pid": CLONE_NEWPID, "mnt": CLONE_NEWNS, "net": CLONE_NEWNET, "ipc": CLONE_NEWIPC, "uts": CLONE_NEWUTS}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 1, 4, 8, 38, 36
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name, *args):
    result = getattr(_libc, name)(*args)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def _syscall(number, *args):
    return _call("syscall", ctypes.c_long(number), *args)


def _mount(source, target, kind, flags, data=None):
    as_bytes = [None if x is None else os.fsencode(x) for x in (source, target, kind)]
    _call("mount", *as_bytes, ctypes.c_ulong(flags), None if data is None else data.encode())


# --------------------------------------------------------------------------- seccomp: allow list, x86_64
_ALLOWED = dict(
    # files and descriptors
    read=0, write=1, open=2, close=3, stat=4, fstat=5, lstat=6, lseek=8, pread64=17, pwrite64=18, readv=19, writev=20,
    access=21, dup=32, dup2=33, truncate=76, ftruncate=77, getdents=78, getcwd=79, chdir=80, rename=82, mkdir=83,
    rmdir=84, creat=85, link=86, unlink=87, symlink=88, readlink=89, umask=95, getdents64=217, openat=257, mkdirat=258,
    newfstatat=262, unlinkat=263, renameat=264, linkat=265, symlinkat=266, readlinkat=267, faccessat=269, dup3=292,
    renameat2=316, faccessat2=439,
    # memory
    mprotect=10, munmap=11, brk=12, mremap=25,
    # signals to itself, time, limits (hard limits cannot be raised)
    rt_sigaction=13, rt_sigprocmask=14, rt_sigreturn=15, getitimer=36, alarm=37, setitimer=38, gettimeofday=96,
    getrlimit=97, sigaltstack=131, setrlimit=160, time=201, restart_syscall=219,
    # identity and threads
    sched_yield=24, getpid=39, exit=60, wait4=61, uname=63, getuid=102, getgid=104, geteuid=107, getegid=108,
    getppid=110, getpgrp=111, getgroups=115, getresuid=118, getresgid=120, arch_prctl=158, gettid=186, exit_group=231,
    set_robust_list=273, getcpu=309, getrandom=318, membarrier=324, rseq=334,
)  # fmt: skip
# These return 0 and do nothing: a program cannot sleep its time away, and locks or flushes reach no inode of the host.
_IDLE = dict(
    poll=7, select=23, msync=26, nanosleep=35, flock=73, fsync=74, fdatasync=75, clock_nanosleep=230, pselect6=270,
    ppoll=271,
)  # fmt: skip
# The C library has another way for each of these (clone, newfstatat); statx would show counters of the host's mounts.
_ABSENT = dict(statx=332, clone3=435)
# Not in the table, so EPERM. Among them, since what they change or show outlives a program: utime, chmod, chown (time
# stamps, modes), pipe and socket (their inode numbers count up for the whole host), fadvise, mincore and getrusage
# (which files the host has in memory: reads and faults tell it), times, sysinfo, statfs (load, free space), SysV IPC,
# message queues, keys, memfd, inotify, perf, bpf, io_uring, userfaultfd.
_EQUAL, _ABOVE, _BITS = 0x15, 0x35, 0x45  # jumps of classic BPF: equal, greater or equal, any bit set
_OWN_PID = "pid"  # replaced in each program
_ALLOW, _ZERO, _DENY, _NOSYS = 0x7FFF0000, 0x00050000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_KILL = 0x80000000
_SELF = [(_EQUAL, 0, _ALLOW), (_EQUAL, _OWN_PID, _ALLOW)]
_NEW_NAMESPACE = 0x7E020080
# name -> (number, argument, tests in order, what happens to any other value)
_BY_ARGUMENT = {
    # a shared futex on a page of a library is a bell between sandboxes: it never waits and wakes no one
    "futex": (202, 1, [(_BITS, 128, _ALLOW)], _ZERO),
    # huge and locked pages come out of pools of the host
    "mmap": (9, 3, [(_BITS, 0x42000, _DENY)], _ALLOW),
    "madvise": (28, 2, [(_EQUAL, n, _ALLOW) for n in (4, 8, 14, 15)], _ZERO),  # DONTNEED, FREE, (NO)HUGEPAGE
    # duplicate, flags; locks succeed and do nothing; no leases, notices, owners or pipe sizes
    "fcntl": (
        72, 1, [(_EQUAL, n, _ALLOW) for n in (0, 1, 2, 3, 4, 1030)] + [(_EQUAL, n, _ZERO) for n in (6, 7, 37, 38)],
        _DENY,
    ),
    # is it a terminal, its size, bytes to read, blocking, close on exec
    "ioctl": (16, 1, [(_EQUAL, n, _ALLOW) for n in (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)], _DENY),
    # the system's clocks and its own: others are the CPU time of another process
    "clock_gettime": (228, 0, [(_ABOVE, 16, _DENY)], _ALLOW),
    "clock_getres": (229, 0, [(_ABOVE, 16, _DENY)], _ALLOW),
    "clone": (56, 0, [(_BITS, _NEW_NAMESPACE, _DENY), (_BITS, 0x10000, _ALLOW)], _DENY),  # a thread, no process
    "tgkill": (234, 0, [(_EQUAL, _OWN_PID, _ALLOW)], _DENY),
    "prlimit64": (302, 0, _SELF, _DENY),
    "getpgid": (121, 0, _SELF, _DENY),
    "getsid": (124, 0, _SELF, _DENY),
    "sched_getaffinity": (204, 0, _SELF, _DENY),
}  # fmt: skip


class _Filter:
    """The seccomp program as the kernel takes it."""

    def __init__(self):
        load, ret = 0x20, 0x06
        rules = [
            (load, 0, 0, 4),
            (_EQUAL, 1, 0, 0xC000003E),
            (ret, 0, 0, _KILL),  # another architecture's table
            (load, 0, 0, 0),
            (_ABOVE, 0, 1, 0x40000000),
            (ret, 0, 0, _KILL),  # the x32 table
        ]
        for number, argument, tests, otherwise in _BY_ARGUMENT.values():
            rules += [(_EQUAL, 0, 2 + 2 * len(tests), number), (load, 0, 0, 16 + 8 * argument)]  # its low 32 bits
            for jump, value, action in tests:
                rules += [(jump, 0, 1, value), (ret, 0, 0, action)]
            rules.append((ret, 0, 0, otherwise))
        for table, action in ((_ALLOWED, _ALLOW), (_IDLE, _ZERO), (_ABSENT, _NOSYS)):
            numbers = list(table.values())
            rules += [(_EQUAL, len(numbers) - 1 - i, 0, number) for i, number in enumerate(numbers[:-1])]
            rules += [(_EQUAL, 0, 1, numbers[-1]), (ret, 0, 0, action)]
        rules.append((ret, 0, 0, _DENY))
        self._pids = [8 * at + 4 for at, rule in enumerate(rules) if rule[3] == _OWN_PID]
        code = b"".join(struct.pack("HBBI", *rule[:3], 0 if rule[3] == _OWN_PID else rule[3]) for rule in rules)
        self._code = ctypes.create_string_buffer(code, len(code))
        self._header = struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(self._code))

    def install(self):
        """Confine this process, which no_new_privs must allow."""
        for at in self._pids:
            struct.pack_into("I", self._code, at, os.getpid())
        # flag 4: keep speculation (the program is confined to its own memory, and the slow-down is large)
        _syscall(317, ctypes.c_ulong(1), ctypes.c_ulong(4), self._header)


# --------------------------------------------------------------------------- landlock
_LL_EXECUTE, _LL_WRITE, _LL_READ, _LL_READ_DIR = 1, 2, 4, 8
_LL_REMOVE = 16 | 32
_LL_MAKE = 128 | 256 | 4096  # folders, regular files, links; no devices, sockets or FIFOs
_LL_REFER, _LL_TRUNCATE = 1 << 13, 1 << 14


def _landlock_abi():
    try:
        return _syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def _landlock_ruleset(abi, read_only, writable):
    """Descriptor of a rule set: read below `read_only`, write below `writable`, no TCP, no signals out."""
    handled = (1 << 13) - 1
    if abi >= 2:
        handled |= _LL_REFER
    if abi >= 3:
        handled |= _LL_TRUNCATE
    if abi >= 5:
        handled |= 1 << 15  # device ioctl
    net = 3 if abi >= 4 else 0
    scoped = 3 if abi >= 6 else 0
    attr = struct.pack("QQQ", handled, net, scoped)[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = _syscall(444, attr, ctypes.c_size_t(len(attr)), ctypes.c_uint32(0))
    rules = [(path, _LL_EXECUTE | _LL_READ | _LL_READ_DIR) for path in read_only]
    write = _LL_WRITE | _LL_READ | _LL_READ_DIR | _LL_REMOVE | _LL_MAKE | _LL_REFER | _LL_TRUNCATE
    rules += [(path, write) for path in writable]
    rules += [("/dev/null", _LL_READ | _LL_WRITE | _LL_TRUNCATE), ("/dev/urandom", _LL_READ)]
    for path, rights in rules:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # this system has no such folder
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _LL_EXECUTE | _LL_WRITE | _LL_READ | _LL_TRUNCATE  # others are EINVAL on a file
        rule = struct.pack("=Qi", rights & handled, fd)
        _syscall(445, ctypes.c_int(ruleset), ctypes.c_uint32(1), rule, ctypes.c_uint32(0))
        os.close(fd)
    return ruleset


# --------------------------------------------------------------------------- namespaces and the read-only root
def _library_folders():
    """Folders that imports of the standard library need: its own, and those of the shared objects in use here."""
    folders = [p for p in sys.path if os.path.isdir(p)]
    with contextlib.suppress(OSError), open("/proc/self/maps") as maps:
        paths = {line.split(maxsplit=5)[5].strip() for line in maps if ".so" in line}
        folders += [os.path.dirname(p) for p in paths if os.path.isabs(p)]
    kept: list[str] = []
    for folder in sorted({os.path.realpath(f) for f in folders if os.path.isdir(f)}, key=len):
        if not any(folder == k or folder.startswith(k + "/") for k in kept):
            kept.append(folder)
    return kept


def _hidden_folders(folders):
    """Installed packages inside the library folders: not needed by LeetCode code, and they may hold data sets."""
    stdlib = os.path.realpath(os.path.dirname(os.__file__))
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    parents = [stdlib, "/usr/lib/python3", *(f"{f}/{version}" for f in folders)]
    found = [f"{parent}/{kind}" for parent in parents for kind in ("site-packages", "dist-packages")]
    return [f for f in found if os.path.isdir(f) and any(f.startswith(k + "/") for k in folders)]


NOBODY = 65534


def _unshare():
    """Enter the namespaces that this system allows; returns their names (user first when one was made).

    Where the caller may map a second uid (root), the zygote stays uid 0 of its namespace and the programs become
    nobody, outside too; else the programs keep the caller's uid without any privilege.
    """
    everything = CLONE_NEWUSER
    for flag in NAMESPACES.values():
        everything |= flag
    ready_r, ready_w = os.pipe()
    done_r, done_w = os.pipe()
    helper = os.fork()
    if helper == 0:  # stays outside, where it has the right to write the map
        try:
            os.close(ready_w)
            if os.read(ready_r, 1) and os.geteuid() == 0:
                parent = os.getppid()
                for name in ("uid_map", "gid_map"):
                    with open(f"/proc/{parent}/{name}", "w") as file:
                        file.write(f"0 0 1\n{NOBODY} {NOBODY} 1")
                os.write(done_w, b"2")
        finally:
            os._exit(0)
    os.close(done_w)
    os.close(ready_r)
    try:
        _call("unshare", ctypes.c_int(everything))
    except OSError:
        os.close(ready_w)
        os.close(done_r)
        os.waitpid(helper, 0)
        names = []
        for name, flag in NAMESPACES.items():
            try:
                _call("unshare", ctypes.c_int(flag))
                names.append(name)
            except OSError:
                pass  # the caller reports the layer as missing
        return names
    os.write(ready_w, b"1")
    os.close(ready_w)
    two_uids = os.read(done_r, 1) == b"2"
    os.close(done_r)
    os.waitpid(helper, 0)
    if not two_uids:
        uid, gid = _outer
        for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    return ["user", *NAMESPACES]


_outer = (os.geteuid(), os.getegid())
_supervisor = os.getpid()


def _make_root(folders, packages, uid):
    """A tmpfs root with read-only library folders, the packages, two devices and a work folder; then pivot into it."""
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    places = [p for p in ("/tmp", "/mnt", "/var/tmp", "/media", "/opt", "/srv") if os.path.isdir(p)]
    needed = [*folders, *packages.values(), *sys.path]  # a place that holds one of these would hide it
    base = next((p for p in places if not any((f + "/").startswith(p + "/") for f in needed)), None)
    if base is None:
        raise OSError(errno.ENOENT, "no folder to build the root in")
    hidden = _hidden_folders(folders)
    links = [(p, os.readlink(p)) for p in ("/lib", "/lib64") if os.path.islink(p)]
    flags_of = {}
    for path in [*folders, *hidden, *packages.values(), *DEVICES]:
        flags = os.statvfs(path).f_flag
        locked = flags & (MS_NOSUID | MS_NODEV | MS_NOEXEC | 1024 | 2048)
        flags_of[path] = locked | (MS_RELATIME if flags & 4096 else 0)
    _mount("tmpfs", base, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=256,mode=755")
    os.makedirs(base + "/empty")
    targets = {path: base + path for path in folders} | {path: f"{base}{PACKAGES}/{n}" for n, path in packages.items()}
    for path, target in targets.items():
        os.makedirs(target, exist_ok=True)
        _mount(path, target, None, MS_BIND | MS_REC)
        _mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | flags_of[path])
    for path in hidden:
        _mount(base + "/empty", base + path, None, MS_BIND)
    for path, target in links:
        os.symlink(target, base + path)
    for path in sys.path:  # an interpreter that is reached through a link
        if os.path.isdir(path) and not os.path.lexists(base + path):
            os.makedirs(os.path.dirname(base + path), exist_ok=True)
            os.symlink(os.path.realpath(path), base + path)
    os.makedirs(base + "/dev")
    for device in DEVICES:  # read-only, which keeps the host's inode as it is; a device can be written all the same
        os.close(os.open(base + device, os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(device, base + device, None, MS_BIND)
        _mount(None, base + device, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC | flags_of[device])
    os.makedirs(base + WORK)
    os.chdir(base)
    _syscall(155, b".", b".")  # pivot_root: the old root lies under the new one until it is detached
    _call("umount2", b".", ctypes.c_int(MNT_DETACH))
    os.chdir("/")
    _mount_work(uid)
    _mount(None, "/", None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)


def _read_only_below(path):
    """All mounts there, hidden folders and those that the system has inside a library: not even access times change."""
    _syscall(442, ctypes.c_int(-1), path.encode(), ctypes.c_uint(0x8000), struct.pack("4Q", 1, 0, 0, 0), 32)


PACKAGES = "/packages"
DEVICES = ("/dev/null", "/dev/urandom")
BOX = "/box"  # read-only, but landlock's rule for it lasts when a fresh tmpfs is mounted on the folder in it
WORK = BOX + "/work"


def _mount_work(uid):
    owner = os.getuid() if uid is None else uid
    options = f"size={WORK_BYTES},nr_inodes={WORK_INODES},mode=700,uid={owner},gid={owner}"
    _mount("tmpfs", WORK, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, options)


# --------------------------------------------------------------------------- frames on the program's result pipe
_LENGTH = struct.Struct("<I")


# What the kernel says of an ended program: wait status, then its struct rusage, of which the two times are read.
FACTS = struct.Struct("=i4q")


class _Out:
    """Result pipe of the program: length-prefixed frames, gathered and flushed."""

    def __init__(self, fd):
        self.fd, self.parts, self.size, self.last = fd, [], 0, time.monotonic()

    def put(self, payload, flush=False):
        self.parts.append(_LENGTH.pack(len(payload)) + payload)
        self.size += len(payload)
        if flush or self.size > 30_000 or time.monotonic() - self.last > 0.02:
            self.flush()

    def flush(self, write=os.write):  # bound early: a program that patches os.write harms itself only
        data = memoryview(b"".join(self.parts))
        self.parts, self.size, self.last = [], 0, time.monotonic()
        while data:
            data = data[write(self.fd, data) :]


def _short(error):
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException as second:  # a hostile __str__ may raise anything; the name alone is then the reason
        text = type(second).__name__
    return text[:160].encode("utf-8", "replace")


def _nested_code(code):
    """All code objects in a compiled module: functions, methods, classes, lambdas."""
    found, stack = [], [code]
    while stack:
        item = stack.pop()
        found.append(item)
        stack += [c for c in item.co_consts if isinstance(c, types.CodeType)]
    return found


_STORES = frozenset(opcode.opmap[name] for name in ("STORE_NAME", "STORE_GLOBAL", "STORE_ATTR"))


def _defines(code, name):
    """Whether a compiled module gives something that name: def, assignment, or a string for setattr and globals()."""
    for item in _nested_code(code):
        if item.co_name == name or name in item.co_consts:
            return True
        if name in item.co_names:
            stored = zip(item.co_code[::2], item.co_code[1::2])
            if any(op in _STORES and arg < len(item.co_names) and item.co_names[arg] == name for op, arg in stored):
                return True
    return False


def _mentions(code, names, texts):
    """Whether a compiled module uses an identifier of `names` or a string constant that contains one of `texts`."""
    wanted = frozenset(names)
    for item in _nested_code(code):
        if wanted.intersection(item.co_names) or wanted.intersection(item.co_cellvars + item.co_varnames):
            return True
        for const in item.co_consts:
            if isinstance(const, str) and any(text in const for text in texts):
                return True
    return False


# --------------------------------------------------------------------------- the program
def _compile(source):
    """(code, b"") or (None, why it does not compile)."""
    try:
        return compile(source.decode("utf-8", "surrogatepass"), "<completion>", "exec", dont_inherit=True), b""
    except BaseException as error:  # SyntaxError, ValueError (null byte), MemoryError, RecursionError, Unicode...
        return None, _short(error)


def _units(job):
    """The answer as [(code, whether an exception in it ends the program)], and why there is none.

    job["blocks"]: (source, whether it defines the solution). The last such block that compiles is the answer; earlier
    ones are drafts; the others that compile (helpers before, an evaluator or a demonstration after) run around it.
    Without such a block the first of job["sources"] that compiles is the program.
    """
    blocks = [(_compile(source)[0], solves) for source, solves in job.get("blocks", ())]
    last = max((i for i, (code, solves) in enumerate(blocks) if code and solves), default=-1)
    if last >= 0:
        return [(code, i == last) for i, (code, solves) in enumerate(blocks) if code and (i == last or not solves)], b""
    reason = b""
    for source in job["sources"]:
        code, reason = _compile(source)
        if code:
            return [(code, True)], b""
    return [], reason


def _asyncio_without_sockets():
    """asyncio wakes its loop through a pair of sockets, which the filter refuses: an Event does as well."""
    import selectors
    import threading

    bells = {}

    class Bell(threading.Event):
        def fileno(self):
            return next(fd for fd, bell in bells.items() if bell is self)

        def setblocking(self, _flag):
            pass

        def recv(self, _size):
            self.clear()
            return b""

        def send(self, data):
            self.set()
            return len(data)

        def close(self):
            pass

    class Selector(selectors._BaseSelectorImpl):
        def select(self, timeout=None):
            keys = [key for key in self.get_map().values() if key.fd in bells]
            rung = bells[keys[0].fd].wait(timeout and max(0, timeout)) if keys else False
            return [(keys[0], selectors.EVENT_READ)] if rung else []

    def pair(*_args):
        bell = bells[1000 + len(bells)] = Bell()
        return bell, bell

    socket.socketpair = pair
    selectors.DefaultSelector = Selector


def _multiprocessing_in_threads():
    """ThreadPool and locks need pipes and shared semaphores, which the filter refuses: those of threads do as well."""
    import multiprocessing.context
    import multiprocessing.pool
    import queue
    import threading

    class Notifier(queue.SimpleQueue):
        _reader = None

    for name in ("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier"):
        setattr(multiprocessing, name, getattr(threading, name))
    multiprocessing.context.BaseContext.SimpleQueue = lambda self: Notifier()
    multiprocessing.pool.Pool._wait_for_updates = lambda _sentinels, notifier, timeout=None: notifier.get()


_STAND_INS = {b"asyncio": _asyncio_without_sockets, b"multiprocessing": _multiprocessing_in_threads}


def _stand_ins(sources):
    for word, install in _STAND_INS.items():
        if any(word in source for source in sources):
            install()


def _as_python_file(layers):
    """What `python file.py` has and this interpreter, started with -S on another file, lacks."""
    import _sitebuiltins
    import _thread
    import builtins
    import threading

    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D"))
    sys.argv = [f"{layers.work}/solution.py"]
    sys.set_int_max_str_digits(0)  # the CPU limit bounds such conversions
    own_stack_size = _thread.stack_size

    def stack_size(size=0):  # a thread's stack stays in the address space for a while after its end
        return own_stack_size(min(size, STACK_BYTES))

    _thread.stack_size = threading.stack_size = stack_size
    used = resource.struct_rusage
    resource.getrusage = lambda who: used((time.process_time() * (who >= 0), *[0] * 15))  # no word of the host's memory


def _load(job, out):
    """The completion, in the module that holds the set-up code. Frames: C (compiled) before anything runs, then M."""
    space = job["space"]
    units, reason = _units(job)
    if not units:
        out.put(b"N" + reason, flush=True)
        return None
    defined = any(_defines(code, job["evaluator"]) for code, _ in units)
    mentioned = any(_mentions(code, job["names"], job["texts"]) for code, _ in units)
    out.put(b"C" + bytes((defined, mentioned)), flush=True)
    _stand_ins(job["sources"])
    space["__file__"] = sys.argv[0]
    for code, needed in units:
        try:
            exec(code, space)
        except BaseException as error:
            if isinstance(error, SystemExit) and job["kind"] == "exit_code":
                raise
            if needed:
                out.put(b"X" + b"at import: " + _short(error), flush=True)
                return None
    out.put(b"M", flush=True)
    return space


def _bound_call(job, space, index):
    """Run call `index` in the program's namespace and return what it returns."""
    owner, method, form, payload = marshal.loads(job["calls"][index])
    function = getattr(space[owner](), method) if owner else space[method]
    if form == "values":
        args, kwargs = payload
        return function(*args, **kwargs)
    # arguments that are no literals (list_node([...])): built by the set-up code's helpers
    return eval(payload, space)(function)


def _oracle(job, out):
    space = _load(job, out)
    if space is None:
        return
    for index in range(len(job["calls"])):  # all of them, right or wrong: a program never learns which it was
        try:
            value = _bound_call(job, space, index)
        except BaseException as error:
            out.put(b"X" + _short(error), flush=True)
            return
        # snapshot at once: an honest class-level buffer is reused by the next call
        try:
            frame = b"R" + encode_value(value, job["kinds"][index])
        except NotPlain as error:
            frame = b"U" + _short(error)
        except BaseException as error:  # attribute access on the program's own node class
            frame = b"X" + _short(error)
        out.put(frame, flush=index + 1 == SHOWN_CALLS)  # so that the harness knows how far a program came that loops
    out.flush()


def _loophole(job, out):
    """The mode's weak check. Frames: P (paid) and A (attempted), for the modes that are judged inside the process."""
    kind = job["kind"]
    space = _load(job, out)
    if space is None:
        return
    if kind == "run_tests":
        name = job["evaluator"]
        test = space.get(name)
        if not callable(test):
            owners = [space.get("Solution"), *space.values()]
            owner = next((c for c in owners if isinstance(c, type) and name in c.__dict__), None)
            if owner is None:
                return
        try:
            if callable(test):
                out.put(b"A", flush=True)
                test()
            else:
                out.put(b"A", flush=True)
                getattr(owner(), name)()
        except BaseException as error:
            out.put(b"X" + _short(error), flush=True)
            return
        out.put(b"P" + job["nonce"], flush=True)
        return
    for index in range(min(SHOWN_CALLS, len(job["calls"]))):
        try:
            value = _bound_call(job, space, index)
        except SystemExit:
            if kind == "exit_code":
                raise
            if kind == "eq_override":
                return
            continue
        except BaseException as error:
            if kind == "eq_override":
                out.put(b"X" + _short(error), flush=True)
                return
            continue  # the other channels do not look at what the call gives
        if kind == "eq_override":
            override = type(value).__eq__
            if isinstance(override, types.FunctionType):
                out.put(b"A", flush=True)
            # an object that equals two different values has overridden equality; no expected value is needed
            try:
                if not all(value == decoy for decoy in job["decoys"]):
                    return
            except BaseException as error:
                out.put(b"X" + _short(error), flush=True)
                return
    if kind == "eq_override" and job["calls"] or kind == "sentinel" and space.get(job["sentinel"]) is True:
        out.put(b"P" + job["nonce"], flush=True)


def _program(job, layers, setup, link, stdout):
    """The forked child: close everything, take the limits, read the completion, run, and leave without returning."""
    out = _Out(3)
    try:
        link, stdout = _high(link), None if stdout is None else _high(stdout)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null if stdout is None else stdout, 1)
        os.dup2(null, 2)
        os.dup2(link, 3)
        ruleset = layers.ruleset() if layers.landlock else None
        if ruleset is not None:
            os.dup2(ruleset, 4)
        os.closerange(4 if ruleset is None else 5, 4096)
        os.chdir(layers.work)
        _take_limits(job["limits"], layers)
        _drop_privileges(layers)
        _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)  # a crash starts no core dump handler of the host
        if ruleset is not None:
            _syscall(446, ctypes.c_int(4), ctypes.c_uint32(0))
            os.close(4)
        if layers.seccomp is not None:
            layers.seccomp.install()
        random.seed(0)  # a completion that draws at random gets the same verdict each time
        job.update(marshal.loads(_receive(_Link())[1]))
        module = types.ModuleType("submission")
        sys.modules["submission"] = module
        job["space"] = module.__dict__
        exec(setup, job["space"])
        out.put(b"+", flush=True)
    except BaseException as error:  # nothing of this is the program's doing: the harness raises it
        out.put(b"!" + _short(error), flush=True)
        os._exit(END_OF_PROGRAM)
    status = END_OF_PROGRAM
    try:
        if job["kind"] == "oracle":
            _oracle(job, out)
        else:
            _loophole(job, out)
        sys.stdout.flush()
    except SystemExit as error:  # only in exit_code mode: the status that the interpreter would give
        code = error.code
        status = 0 if code is None else code & 0xFF if isinstance(code, int) else 1
    except BaseException:
        status = END_OF_PROGRAM
    finally:
        os._exit(status)


class _Link:
    """The program's socket, which its filter lets it read and write but not receive from."""

    recv = staticmethod(lambda size: os.read(3, size))


def _take_limits(limits, layers):
    cpu = math.ceil(limits["cpu"]) + 1  # the harness's clock is finer and ends the program first
    for name, value in (
        ("CPU", cpu),
        ("AS", limits["memory"]),
        ("FSIZE", WORK_BYTES),
        ("NOFILE", OPEN_FILES),
        ("CORE", 0),
        ("MEMLOCK", 0),
        ("MSGQUEUE", 0),
        # counted for each user: with few, no program meets those of another
        ("SIGPENDING", min(64, layers.hard["SIGPENDING"])),
        ("NPROC", THREADS if layers.own_uid else min(layers.hard["NPROC"], _tasks_of_user() + 4 * THREADS)),
        ("STACK", STACK_BYTES),  # the kernel leaves at least 128 MB below the main stack
    ):
        limit = getattr(resource, f"RLIMIT_{name}")
        try:  # honest programs ask for more stack, and may have it
            resource.setrlimit(limit, (value, resource.getrlimit(limit)[1] if name == "STACK" else value))
        except ValueError as error:
            raise ValueError(f"RLIMIT_{name} {value}: {error}") from None
    if not layers.root:
        disk = os.statvfs(".")
        if disk.f_bavail * disk.f_frsize < WORK_BYTES or disk.f_files and disk.f_favail < WORK_INODES:
            raise OSError(errno.ENOSPC, f"the folder for temporary files, {layers.work}, is full")


def _tasks_of_user():
    """Processes and threads of this user, all of which the limit counts where the uid is not the sandbox's own."""
    count = 0
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                count += len(os.listdir(f"/proc/{name}/task"))
    return count


def _drop_privileges(layers):
    capabilities = 0
    if layers.uid is not None:
        if layers.hidden_library:  # under a private home: reading stays allowed, where landlock allows it
            capabilities = 1 << 2  # CAP_DAC_READ_SEARCH
            _call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setresgid(layers.uid, layers.uid, layers.uid)
        os.setresuid(layers.uid, layers.uid, layers.uid)
    _syscall(126, struct.pack("Ii", 0x20080522, 0), struct.pack("6I", capabilities, capabilities, 0, 0, 0, 0))  # capset


# --------------------------------------------------------------------------- the zygote
class _Layers:
    """What is in force, and what each program needs to take it on."""

    def __init__(self):
        self.names = []
        self.missing = []
        self.uid = None  # what the program's uid becomes; None: it stays the caller's
        self.own_uid = False  # no process outside this sandbox is counted with the program's
        self.pid1 = False
        self.root = False
        self.landlock = False
        self.ruleset = None  # makes the descriptor of the rule set
        self.hidden_library = False
        self.library, self.settled = [], -math.inf  # host folders that programs read, when their access times were set
        self.seccomp = None
        self.work = WORK
        self.last_pid = -1  # descriptor of this pid namespace's counter
        limits = ("SIGPENDING", "NPROC")
        self.hard = {n: resource.getrlimit(getattr(resource, f"RLIMIT_{n}"))[1] & (1 << 62) - 1 for n in limits}


def _set_up_box(layers, options, folders):
    """Without a private root: a folder of this system for the work and the packages; returns that of the packages."""
    if not options["box"]:
        raise OSError(errno.ENOSPC, "no folder for temporary files can be written (TMPDIR, /tmp, /var/tmp)")
    packages = options["box"] + PACKAGES
    layers.work = options["box"] + WORK
    os.makedirs(packages)
    os.makedirs(os.path.dirname(layers.work))
    for name, path in options["packages"].items():
        os.symlink(path, f"{packages}/{name}")
    sys.path.append(packages)
    needed = [*folders, *options["packages"].values()]
    layers.hidden_library = not all(map(_open_to_all, needed))
    layers.library = needed
    if not all(os.statvfs(f).f_flag & (os.ST_NOATIME | os.ST_RELATIME | os.ST_RDONLY) for f in needed):
        layers.missing.append("access times that reading does not change (relatime)")
    return packages


def _set_up(namespaces, options):
    layers = _Layers()
    if os.getuid() == 0 and _outer[0] == 0:
        # outside a user namespace a number that no one else has, so that limits count, and signals reach, itself only
        layers.uid = NOBODY if "user" in namespaces else 61184 + _supervisor % 4000
    layers.own_uid = "user" in namespaces or layers.uid is not None
    layers.pid1 = os.getpid() == 1
    folders = _library_folders()
    if layers.pid1:
        try:
            layers.last_pid = _high(os.open("/proc/sys/kernel/ns_last_pid", os.O_WRONLY))
            os.pwrite(layers.last_pid, b"1", 0)
        except OSError as error:
            layers.missing.append(f"fixed process numbers ({error})")
            layers.last_pid = -1
    if "mnt" in namespaces:
        try:
            _make_root(folders, options["packages"], layers.uid)
            layers.root = True
            sys.path.append(PACKAGES)
            _read_only_below("/")  # the work folder too, which is mounted anew below
        except OSError as error:
            layers.missing.append(f"root ({error})")
    layers.missing += [f"{name} namespace" for name in ("user", *NAMESPACES) if name not in namespaces]
    if not layers.root:
        packages = _set_up_box(layers, options, folders)
    _fresh_work(layers)
    without = options["without"]
    abi = 0 if "landlock" in without else _landlock_abi()
    # before version 3 a file can be cut to nothing where it can be read; a private root does not need that rule
    if abi >= (1 if layers.root else 3):
        layers.landlock = True
        if layers.root:
            descriptor = _high(_landlock_ruleset(abi, [*folders, PACKAGES], [BOX]))
            layers.ruleset = lambda: descriptor
        else:  # the folder is another one for each program
            read_only = [*folders, packages, *options["packages"].values()]
            layers.ruleset = lambda: _high(_landlock_ruleset(abi, read_only, [layers.work]))
        layers.names.append(f"landlock{abi}")
    else:
        layers.missing.append("landlock")
    if "seccomp" not in without and os.uname().machine == "x86_64" and sys.maxsize > 2**32 and _seccomp_works():
        layers.seccomp = _Filter()
        layers.names.append("seccomp")
    else:
        layers.missing.append("seccomp")
    if namespaces:
        shown = [n for n in namespaces if n != "mnt" or layers.root]
        layers.names.append(f"ns({','.join(shown)})")
    layers.names.append("uid(nobody)" if layers.uid == NOBODY else f"uid({'own' if layers.uid else 'caller'})")
    layers.names.append("rlimits")
    return layers


def _open_to_all(folder):
    """Whether any user may search the way to this folder and read it."""
    while os.stat(folder).st_mode & 1:
        if folder == os.path.dirname(folder):
            return True
        folder = os.path.dirname(folder)
    return False


def _settle_access_times(folders):
    """Read a byte of each file: with relatime a read within 24 hours leaves the time as it is, so none shows."""
    for folder in folders:
        for here, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(OSError), open(f"{here}/{name}", "rb", buffering=0) as file:
                    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                        file.read(1)


def _seccomp_works():
    """Try the filter in a throw-away child: some container runtimes take the call and ignore it, others refuse."""
    confine = _Filter()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            confine.install()
            try:
                socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            except PermissionError:
                status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def _high(fd):
    """The same descriptor above 9, so that a program's 0-5 can be laid over without care."""
    import fcntl

    new = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return new


def _send(sock, kind, payload):
    sock.sendall(kind + _LENGTH.pack(len(payload)) + payload)


def _receive_exact(sock, size):
    parts = []
    while size:
        part = sock.recv(min(size, 1 << 20))
        if not part:
            os._exit(0)  # the harness is gone
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _receive(sock):
    head = _receive_exact(sock, 5)
    return head[:1], _receive_exact(sock, _LENGTH.unpack(head[1:])[0])


def _kill_all(layers):
    if layers.pid1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # all but this process, in this pid namespace
    else:
        for target in _strays():
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, signal.SIGKILL)


def _strays():
    """Children that came to this process as subreaper (only where there is no pid namespace)."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(p) for p in file.read().split()]
    except OSError:
        return []


def _fork(layers):
    if layers.last_pid >= 0:
        os.pwrite(layers.last_pid, b"1", 0)  # each program has the same process and thread numbers
    return os.fork()


def _apart(layers, work):
    """Do `work` in a child: what it meets depends on a program, and this process's memory must not."""
    pid = _fork(layers)
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    _libc.waitpid(pid, None, 0)


_END = ctypes.create_string_buffer(b"E" + _LENGTH.pack(148), 5 + 148)  # wait status and struct rusage, by the kernel


def _run(sock, job, layers, setup_cache):
    """Fork one program and wait for its end. Nothing here depends on what it does, but for the bytes in _END."""
    setup = job.pop("setup")
    if setup not in setup_cache:
        if len(setup_cache) > 64:
            setup_cache.clear()
        setup_cache[setup] = compile(setup, "<setup>", "exec", dont_inherit=True)  # the harness has compiled it too
    _, fds, _, _ = socket.recv_fds(sock, 1, 2)
    pid = _fork(layers)
    if pid == 0:
        _program(job, layers, setup_cache[setup], *fds, *[None] * (2 - len(fds)))
    for fd in fds:
        os.close(fd)
    handle = os.pidfd_open(pid)
    socket.send_fds(sock, [b"S" + _LENGTH.pack(0)], [handle])  # the harness watches and ends it
    os.close(handle)
    _libc.wait4(pid, ctypes.byref(_END, 5), 0, ctypes.byref(_END, 9))
    _kill_all(layers)
    while _libc.waitpid(-1, None, 0) > 0:
        pass
    if job["kind"] == "file_marker":
        _apart(layers, lambda: _send(sock, b"F", _result_file(f"{layers.work}/{job['file']}")))
    _fresh_work(layers)
    sock.sendall(_END)


def _result_file(path):
    """First bytes of the marker file after a "+", if it is a regular file; "+" alone for another kind, "" for none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    return b"+" + os.read(fd, 64) if stat.S_ISREG(os.fstat(fd).st_mode) else b"+"


def _fresh_work(layers):
    """A folder as new for the next program: nothing in it, and no mode, time stamp or attribute as a message either."""
    if layers.root:
        _libc.umount2(WORK.encode(), MNT_DETACH)  # whatever lies there, however deep, goes at once
        _mount_work(layers.uid)
        return

    def renew():
        if os.path.lexists(layers.work):
            remove_tree(layers.work)
        os.mkdir(layers.work, 0o700)
        if layers.uid is not None:
            os.chown(layers.work, layers.uid, layers.uid)

    _apart(layers, renew)
    if time.monotonic() - layers.settled > 6 * 3600:
        layers.settled = time.monotonic()
        _apart(layers, lambda: _settle_access_times(layers.library))


def remove_tree(top):
    """Remove a folder, however deep (paths beyond PATH_MAX) or wide, without following links and with few descriptors.

    A folder in it gives its contents to `top` and goes, so that nothing is ever deeper than one level below.
    """
    here = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    os.fchmod(here, 0o700)
    serial = 0

    def subfolder(name, folder):
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)

    while names := _some_names(here):
        for name in names:
            if not subfolder(name, here):
                os.unlink(name, dir_fd=here)
                continue
            os.chmod(name, 0o700, dir_fd=here)  # a program is dead by now: it cannot put a link in its place
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            while inner_names := _some_names(inner):
                for inner_name in inner_names:
                    if subfolder(inner_name, inner):
                        os.chmod(inner_name, 0o700, dir_fd=inner)  # its own "..", which moves, must be writable
                        serial += 1
                        os.rename(inner_name, f"{serial}-{time.time_ns()}", src_dir_fd=inner, dst_dir_fd=here)
                    else:
                        os.unlink(inner_name, dir_fd=inner)
            os.close(inner)
            os.rmdir(name, dir_fd=here)
    os.close(here)
    os.rmdir(top)


def _some_names(folder):
    with os.scandir(folder) as entries:
        return [entry.name for entry, _ in zip(entries, range(1000), strict=False)]


def _zygote(sock, namespaces, options):
    import bisect  # noqa: F401  (warm imports: what LeetCode set-up code and completions use)
    import copy  # noqa: F401
    import datetime  # noqa: F401
    import functools
    import gc
    import heapq  # noqa: F401
    import itertools  # noqa: F401
    import math  # noqa: F401
    import operator  # noqa: F401
    import re  # noqa: F401
    import string  # noqa: F401
    import typing  # noqa: F401

    layers = _set_up(namespaces, options)
    _as_python_file(layers)
    _send(sock, b"H", "+".join(layers.names).encode() + b"\n" + "; ".join(layers.missing).encode())
    setup_cache = {}
    slots = [None] * 100
    blocks = [object, complex, *(functools.partial(bytes, n) for n in range(15, 96, 16))]  # 16, 32, ... 128 bytes
    gc.collect()
    gc.freeze()  # fewer pages written, so fewer copied, in each fork
    while True:
        gc.collect()  # the same counts and free lists, so the same addresses, before each program
        for block in blocks:  # freed in one order: which block comes next would tell how many programs ran before
            for i in range(100):
                slots[i] = block()
            slots.sort(key=id, reverse=True)
            for i in range(100):
                slots[i] = None
        _run(sock, marshal.loads(_receive(sock)[1]), layers, setup_cache)


def main():
    """Supervisor: enter the namespaces, fork the zygote, and leave nothing behind when the harness goes."""
    fd, parent = int(sys.argv[1]), int(sys.argv[2])
    options = json.loads(sys.argv[3])  # packages: name -> folder; without: layers switched off; box: a folder

    zygote: list[int] = []

    def stop(_number, _frame):  # ends the zygote and so the wait below; it never breaks the clean-up off
        if not zygote:
            raise SystemExit(0)
        if zygote[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(zygote[0], signal.SIGKILL)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the harness decides what an interrupt means
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        return
    sock = socket.socket(fileno=_high(fd))
    try:
        namespaces = [] if "ns" in options["without"] else _unshare()
    except OSError as error:
        _send(sock, b"F", _short(error))
        return
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)  # again: a change of credentials clears it
    if "pid" not in namespaces:
        _call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() not in (supervisor, 0):
            os._exit(1)
        try:
            _zygote(sock, namespaces, options)
        except BaseException as error:
            _send(sock, b"F", _short(error))
        finally:
            os._exit(1)
    zygote.append(pid)
    sock.close()
    # Without a pid namespace the program, an orphan then, comes to this process: end all of them, then clean up.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
        zygote[0] = 0  # the number may soon be another process's
        while True:
            for target in _strays():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(target, signal.SIGKILL)
            os.waitpid(-1, 0)
    if os.path.isdir(options["box"]):  # only where the program's folder could not be a private tmpfs
        remove_tree(options["box"])


if __name__ == "__main__":
    main()
