"""Shuts a process of ours in: what compiles or interprets edited code has no network and writes to its scratch alone.

Three mechanisms of Linux, none of which can be taken back, and which every process started inside inherits:

    Landlock    no file can be written, made, removed or renamed outside the given folders; no TCP; no signals to
                processes outside, and no abstract sockets of theirs, where the kernel knows these scopes
    seccomp     no sockets of any kind, no io_uring, no tracing or reading of other processes, no namespaces, mounts,
                modules, keys or BPF; no change of owner or mode of a file, which Landlock does not watch
    rlimits     memory, size of a file, open files, processor time, no core dump

A process that is given a GPU's devices has two rights more, without which CUDA ends its start by error 304 (driver
580): it names its threads, by files of its own under ``/proc/self/task``, and makes and binds a local socket. It can
connect none, and send to none by address.

They are called by number through ctypes, because that needs nothing installed and is 100 lines. Reading is not
restricted: the child has to find Python, PyTorch and Triton. It is started without the environment's secrets.

Only the standard library is used: a child does this before it imports anything else, and before it has threads, which
would keep their own rights.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import cache

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Landlock's system calls; their numbers are the same on every architecture (include/uapi/asm-generic/unistd.h)."""
LEAST_ABI = 3
"""From here on Landlock watches truncation (Linux 6.2)."""
WRITES = sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14))
"""Write, remove, make, rename and truncate: the rights to files other than reading and executing, and device ioctls
(include/uapi/linux/landlock.h)."""
WRITE_FILE = 1 << 1
TCP = 0b11
SCOPES = 0b11
DEVICES = ("/dev/null", "/dev/zero", "/dev/full")
GPUS = ("/dev/nvidia", "/dev/kfd", "/dev/dri")
"""Beginnings of the paths of a GPU's devices."""
THREADS = "/proc/self/task"

ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000
BOTH = (425, 426, 427, 428, 429, 430, 431, 432, 433, 434, 438, 442, 452)
"""io_uring_*, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, pidfd_open, pidfd_getfd, mount_setattr,
fchmodat2: numbers of newer calls are shared by architectures."""
REFUSED = {
    # socket, sendfile is left; ptrace, chmod, fchmod, chown, fchown, lchown, mknod, pivot_root, chroot, mount, umount2,
    # swapon, swapoff, reboot, sethostname, init_module, delete_module, setxattr × 3, removexattr × 3, mknodat,
    # fchownat, fchmodat, add_key, request_key, keyctl, unshare, perf_event_open, setns, process_vm_readv and writev,
    # finit_module, kexec_load, kexec_file_load, bpf, userfaultfd, open_by_handle_at
    "x86_64": (
        41, 101, 90, 91, 92, 93, 94, 133, 155, 161, 165, 166, 167, 168, 169, 170, 175, 176, 188, 189, 190, 197, 198,
        199, 259, 260, 268, 248, 249, 250, 272, 298, 308, 310, 311, 313, 246, 320, 321, 323, 304,
    ),
    "aarch64": (
        198, 117, 52, 53, 54, 55, 33, 41, 51, 40, 39, 224, 225, 142, 161, 105, 106, 5, 6, 7, 14, 15, 16, 217, 218, 219,
        97, 241, 268, 270, 271, 273, 104, 294, 280, 282, 265,
    ),
}  # fmt: skip
"""System calls that are answered with "not permitted" (arch/x86/entry/syscalls/syscall_64.tbl and
include/uapi/asm-generic/unistd.h)."""
SOCKET = {"x86_64": 41, "aarch64": 198}
ADDRESSED = {"x86_64": (42, 46, 307), "aarch64": (203, 211, 269)}
"""connect, sendmsg, sendmmsg: what a local socket could reach others by."""
SENDTO = {"x86_64": 44, "aarch64": 206}
"""Refused with an address; without one it is how a pair of sockets is written to."""
AF_UNIX = 1
FIRST, FIFTH = 16, 48
"""Where a filter finds the first and the fifth argument of a call (struct seccomp_data), the lower half first."""

MOST_MEMORY = 24 << 30
MOST_FILE = 2 << 30
MOST_SECONDS = 4 * 3600
MOST_FILES = 4096
KEPT = (
    "PATH",
    "LANG",
    "LC_",
    "TZ",
    "LD_LIBRARY_PATH",
    "PYTHON",
    "VIRTUAL_ENV",
    "TRITON_",
    "CUDA_",
    "OMP_",
    "XDG_",
    "HOME",
)
"""Beginnings of the variables that a shut-in child is given."""


INSIDE = "AUTOKERNEL_SANDBOXED"
"""Set in a process that is shut in; ``kernels/editing/machine_code_only.py`` reads it."""


class NoSandbox(RuntimeError):
    """This machine cannot shut a process in; the message is a clause."""


def enter(writable: Iterable[str]) -> None:
    """Shut this process in for good: only the folders and files of `writable` can be written. If a GPU's devices are
    among them, CUDA can start. Raises NoSandbox."""
    writable = list(writable)
    gpu = any(path.startswith(GPUS) for path in writable)
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ARCHITECTURES:
        raise NoSandbox(f"{sys.platform} on {machine} is not known to the sandbox")
    libc = ctypes.CDLL(None, use_errno=True)
    _limit()
    if libc.prctl(38, 1, 0, 0, 0) != 0:  # PR_SET_NO_NEW_PRIVS
        raise NoSandbox("privileges cannot be given up")
    _restrict_files(libc, [*writable, THREADS] if gpu else writable)
    _refuse_calls(libc, machine, gpu)
    os.environ[INSIDE] = "1"


def environment(scratch: str) -> dict[str, str]:
    """The variables of a child that is shut in, with `scratch` for its temporary files."""
    kept = {n: v for n, v in os.environ.items() if n.startswith(KEPT)}
    return kept | {"TMPDIR": scratch, "PYTHONDONTWRITEBYTECODE": "1"}


@cache
def why_not() -> str | None:
    """Why no process can be shut in here, as a clause; None if one was shut in and could neither open a socket nor
    write a file outside its scratch."""
    probe = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import errno, os, socket, tempfile\n"
        "from tools.harness.process import sandbox\n"
        "try: sandbox.enter([])\n"
        "except sandbox.NoSandbox as e: print(e); sys.exit()\n"
        "try: socket.socket(); print('a socket could be opened'); sys.exit()\n"
        "except OSError: pass\n"
        "try: os.close(os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)); print('a file could be written')\n"
        "except OSError as e: print('' if e.errno == errno.EACCES else e)\n"
    )
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = subprocess.run(
                [sys.executable, "-P", "-c", probe, root, os.path.join(folder, "probe")],
                capture_output=True, text=True, timeout=60, env=environment(folder),
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as e:
            return f"the probe does not run ({e})"
    if found.returncode != 0:
        return f"the probe ended with {found.returncode}: {(found.stderr.strip().splitlines() or [''])[-1][:200]}"
    return found.stdout.strip() or None


def _limit() -> None:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: MOST_FILE,
        resource.RLIMIT_NOFILE: MOST_FILES,
        resource.RLIMIT_CPU: MOST_SECONDS,
        resource.RLIMIT_DATA: MOST_MEMORY,
    }
    for kind, most in wanted.items():
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))


def _restrict_files(libc: ctypes.CDLL, writable: Iterable[str]) -> None:
    abi = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if abi < LEAST_ABI:
        raise NoSandbox(f"the kernel has no Landlock of version {LEAST_ABI} (Linux 6.2), but {max(abi, 0)}")
    attributes = struct.pack("=QQQ", WRITES, TCP, SCOPES)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        raise NoSandbox(f"Landlock refuses a ruleset ({os.strerror(ctypes.get_errno())})")
    paths = [*writable, *DEVICES]
    places = [(path, WRITES if os.path.isdir(path) else WRITE_FILE) for path in paths]
    for path, rights in places:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError as e:
            if path.startswith("/dev/"):  # a device that this machine does not have
                continue
            raise NoSandbox(f"{path} cannot be allowed ({e.strerror})") from e
        rule = struct.pack("=Qi", rights, place)
        if libc.syscall(ADD_RULE, ruleset, 1, rule, 0) != 0:
            raise NoSandbox(f"Landlock refuses a rule for {path} ({os.strerror(ctypes.get_errno())})")
        os.close(place)
    if libc.syscall(RESTRICT_SELF, ruleset, 0) != 0:
        raise NoSandbox(f"Landlock cannot be entered ({os.strerror(ctypes.get_errno())})")
    os.close(ruleset)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _refuse_calls(libc: ctypes.CDLL, machine: str, gpu: bool) -> None:
    """A classic BPF program: another architecture ends the process, listed calls are not permitted."""
    numbers = sorted({*REFUSED[machine], *BOTH})
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    code = [(load, 0, 0, 4), (equal, 1, 0, ARCHITECTURES[machine]), (give, 0, 0, KILL), (load, 0, 0, 0)]
    code += [(at_least, 0, 1, X32), (give, 0, 0, REFUSE)]
    if gpu:
        numbers = sorted({*numbers, *ADDRESSED[machine]} - {SOCKET[machine]})
        local = [(load, 0, 0, FIRST), (equal, 0, 1, AF_UNIX), (give, 0, 0, ALLOW), (give, 0, 0, REFUSE)]
        nobody = [(load, 0, 0, FIFTH), (equal, 0, 3, 0), (load, 0, 0, FIFTH + 4), (equal, 0, 1, 0)]
        nobody += [(give, 0, 0, ALLOW), (give, 0, 0, REFUSE)]
        for number, rule in ((SOCKET[machine], local), (SENDTO[machine], nobody)):
            code += [(equal, 0, len(rule), number), *rule]  # each rule ends: the number is still there where it is not
    for number in numbers:
        code += [(equal, 0, 1, number), (give, 0, 0, REFUSE)]
    code.append((give, 0, 0, ALLOW))
    packed = b"".join(struct.pack("=HBBI", *line) for line in code)
    program = _Program(len(code), packed)
    if libc.prctl(22, 2, ctypes.byref(program), 0, 0) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise NoSandbox(f"seccomp refuses its filter ({os.strerror(ctypes.get_errno())})")
