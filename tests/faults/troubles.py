"""The table of machine trouble: how each kind is made, and the words by which its cause is named.

Tools and disks fail for real where a test can make them: an assembler is a script that fails, SQLite has no pages left.
Where it cannot, the operating system's own error is raised in the place where it would come from.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import triton
from triton import knobs

from agent.trace.paths import checkpoint_path
from kernels.hardware import hardware_named
from tools.harness.checking.interpreter import Interpreter as INTERPRETER_CLASS
from tools.harness.compiling.cache import default_cache
from tools.harness.process.child import Child

ASSEMBLERS = ("ptxas", "ptxas_blackwell")


@dataclass(frozen=True)
class Trouble:
    """One kind."""

    name: str
    make: Callable[[Path], AbstractContextManager[Any]]
    """Given a folder of its own, makes the trouble while its context lasts."""
    cause: str
    """Part of the sentence that a user reads."""
    device: str | None = None
    """Of a run that is not on the recorded GPU."""
    processes: bool = False
    """Whether real children are started, which takes longer."""


def forget_tools() -> None:
    """Triton keeps what it found of its tools for the whole process."""
    from triton.backends.nvidia import compiler

    knobs.NvidiaTool.from_path.cache_clear()
    compiler.get_ptxas_version.cache_clear()


def tool(name: str) -> Any:
    """Triton's description of one of its tools."""
    return next(vars(c)[name] for c in type(knobs.nvidia).__mro__ if name in vars(c))


@contextmanager
def tools_at(path: str, *names: str) -> Iterator[None]:
    """Triton looks for these tools of its own at `path`."""
    before = {name: tool(name).default_path for name in names}
    forget_tools()
    try:
        for name in names:
            tool(name).default_path = path
        yield
    finally:
        for name, was in before.items():
            tool(name).default_path = was
        forget_tools()


def missing_tool(*names: str) -> Callable[[Path], AbstractContextManager[None]]:
    return lambda folder: tools_at(str(folder / "gone"), *names)


def failing_tool(line: str, *names: str) -> Callable[[Path], AbstractContextManager[None]]:
    """The tools tell their version, and do `line` of shell when they are to work."""

    @contextmanager
    def make(folder: Path) -> Iterator[None]:
        real, script = tool(names[-1]).default_path, folder / "tool"
        script.write_text(f'#!/bin/sh\ncase "$1" in --version) exec {real} --version;; esac\n{line}\n')
        script.chmod(0o755)
        with tools_at(str(script), *names):
            yield

    return make


@contextmanager
def tool_without_permission(folder: Path) -> Iterator[None]:
    script = folder / "tool"
    script.write_text("#!/bin/sh\n")
    script.chmod(stat.S_IRUSR)
    with tools_at(str(script), *ASSEMBLERS):
        yield


@contextmanager
def tool_for_another_machine(folder: Path) -> Iterator[None]:
    script = folder / "tool"
    script.write_bytes(b"\x7fELF" + bytes(60))
    script.chmod(0o755)
    with tools_at(str(script), *ASSEMBLERS):
        yield


def raised_in_triton(error: BaseException) -> Callable[..., Any]:
    """A function that raises `error` as if it stood in Triton's own files."""
    where = str(Path(triton.__file__).with_name("a_part_of_triton.py"))
    namespace: dict[str, Any] = {"error": error}
    exec(compile("def fail(*args, **kwargs):\n    raise error\n", where, "exec"), namespace)
    fail: Callable[..., Any] = namespace["fail"]
    return fail


def cache_fails(number: int) -> Callable[[Path], AbstractContextManager[Any]]:
    """Writing compiled code fails with this error of the system."""
    error = OSError(number, os.strerror(number), "/cache/axpy.cubin")
    return lambda folder: patch("triton.runtime.cache.FileCacheManager.put", raised_in_triton(error))


def compiling_raises(error: BaseException) -> Callable[[Path], AbstractContextManager[Any]]:
    return lambda folder: patch("triton.runtime.jit.JITFunction._do_compile", raised_in_triton(error))


@contextmanager
def cache_is_a_file(folder: Path) -> Iterator[None]:
    default_cache().parent.mkdir(parents=True, exist_ok=True)
    default_cache().write_text("no folder")
    try:
        yield
    finally:
        default_cache().unlink()


@contextmanager
def cache_full_from_the_start(folder: Path) -> Iterator[None]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with patch("tools.harness.compiling.compile_pool.tempfile.TemporaryFile", refuse):
        yield


@contextmanager
def no_scratch_folder(folder: Path) -> Iterator[None]:
    with patch.object(tempfile, "tempdir", str(folder / "gone")):
        yield


def figures_fail(number: int) -> Callable[[Path], AbstractContextManager[Any]]:
    error = OSError(number, os.strerror(number), "/cache/figures")
    return lambda folder: patch("tools.harness.compiling.compiler.figures_of", raised_in_triton(error))


def memory_full(pages: int) -> Callable[[Path], AbstractContextManager[Any]]:
    """SQLite may add so many pages to the memory and then has no room."""
    from memory import file

    real = file.connect

    def connect(path: Path, mode: str, timeout_s: float) -> sqlite3.Connection:
        connection = real(path, mode, timeout_s)
        now = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {max(1, now + pages)}")
        return connection

    return lambda folder: patch("memory.file.connect", connect)


@contextmanager
def trace_full(folder: Path) -> Iterator[None]:
    with patch("agent.loop.run.trace_path", lambda run: Path("/dev/full")):
        yield


@contextmanager
def checkpoint_full(folder: Path) -> Iterator[None]:
    """SQLite has no pages left for the checkpoint; the memory, which the same module opens, has."""
    real = sqlite3.connect

    def connect(path: Any, *rest: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = real(path, *rest, **kwargs)
        if str(path).endswith(checkpoint_path(Path("run.jsonl")).name.removeprefix("run")):
            connection.execute("PRAGMA max_page_count = 2")
        return connection

    with patch("agent.loop.run.sqlite3.connect", connect):
        yield


def child_that(name: str, where: str) -> Callable[[Path], AbstractContextManager[Any]]:
    """Children of the module `where` are those of ``tests.faults.children``."""

    class Other(Child):
        def __init__(self, factory: str, *rest: Any, **how: Any) -> None:
            super().__init__(f"tests.faults.children:{name}", *rest, **how)

    return lambda folder: patch(f"{where}.Child", Other)


@contextmanager
def compiler_that_hangs_at_start(folder: Path) -> Iterator[None]:
    patient = Child.wait_until_ready
    with child_that("hangs_at_start", POOL)(folder), patch.object(
        Child, "wait_until_ready", lambda self: patient(self, 1.0)
    ):  # fmt: skip
        yield


def interpreter(name: str) -> Callable[[Path], AbstractContextManager[Any]]:
    """The harness's own interpreter takes the place of the test's, with another child."""

    @contextmanager
    def make(folder: Path) -> Iterator[None]:
        with child_that(name, INTERPRETER)(folder), patch(f"{INTERPRETER}.Interpreter", INTERPRETER_CLASS):
            yield

    return make


def gpu(trouble: str, factory: str = "") -> Callable[[Path], AbstractContextManager[Any]]:
    """A run on a GPU that is played by children with this trouble."""

    @contextmanager
    def make(folder: Path) -> Iterator[None]:
        flag = folder / "flag"
        environment = {"GPU_TROUBLE": trouble, "GPU_FLAG": str(flag)}
        with patch.dict(os.environ, environment), played_gpu(factory or f"gpu_{trouble}"):
            yield

    return make


@contextmanager
def played_gpu(factory: str) -> Iterator[None]:
    from tools.harness.devices.live import LiveDevice

    def open_device(device: str, spec: Any, problem: Any, *rest: Any) -> Any:
        live = LiveDevice.open("cuda:0", spec, problem, default_cache(), f"tests.faults.children:{factory}")
        return live, hardware_named("H200")

    with (
        patch("tools.session.open_session.open_device", open_device),
        patch("agent.cli.device_line.device_line", lambda device, goal: None),  # it would say that there is no GPU
    ):
        yield


POOL, INTERPRETER = "tools.harness.compiling.compile_pool", "tools.harness.checking.interpreter"
CHEAP = (
    Trouble("assembler missing", missing_tool(*ASSEMBLERS), "Cannot find ptxas"),
    Trouble("assembler reports a full disk", failing_tool(
        "echo \"ptxas fatal   : Could not open output file '/tmp/x.o'\" >&2; exit 255", *ASSEMBLERS),
        "Could not open output file"),
    Trouble("disassembler missing", missing_tool("cuobjdump"), "Cannot find cuobjdump"),
    Trouble("compile cache full", cache_fails(errno.ENOSPC), "No space left on device"),
    Trouble("compile cache is a file", cache_is_a_file, "cannot be written"),
    Trouble("trace's disk full", trace_full, "No space left on device"),
    Trouble("memory's disk full in the run", memory_full(2), "no space is left to write"),
    Trouble("compiler cannot import", child_that("lacks_a_package", POOL), "a_package_that_is_not_there",
        processes=True),
    Trouble("GPU lost in a launch", gpu("lost_in_a_launch"), "no CUDA-capable device", device="cuda:0",
        processes=True),
)  # fmt: skip
"""Those that CI tries."""
MORE = (
    Trouble("assembler killed", failing_tool("kill -9 $$", *ASSEMBLERS), "SIGKILL"),
    Trouble("compile cache becomes read-only", cache_fails(errno.EROFS), "Read-only file system"),
    Trouble("compiler killed whenever it works", child_that("killed_at_work", POOL), "killed twice", processes=True),
    Trouble("assembler not executable", tool_without_permission, "Permission denied"),
    Trouble("assembler of another machine", tool_for_another_machine, "Exec format error"),
    Trouble("assembler's library missing", failing_tool("exit 127", *ASSEMBLERS), "exit code 127"),
    Trouble("disassembler fails", failing_tool("exit 1", "cuobjdump"), "tool failed (exit code 1)"),
    Trouble("quota of the compile cache", cache_fails(errno.EDQUOT), "Disk quota exceeded"),
    Trouble("compile cache not writable", cache_fails(errno.EACCES), "Permission denied"),
    Trouble("compile cache's disk broken", cache_fails(errno.EIO), "Input/output error"),
    Trouble("compile cache's mount lost", cache_fails(errno.ESTALE), "Stale file handle"),
    Trouble("too many open files", cache_fails(errno.EMFILE), "Too many open files"),
    Trouble("limit on file sizes", cache_fails(errno.EFBIG), "File too large"),
    Trouble("compile cache full from the start", cache_full_from_the_start, "No space left on device"),
    Trouble("no scratch folder", no_scratch_folder, "No such file or directory"),
    Trouble("no room for figures", figures_fail(errno.ENOSPC), "No space left on device"),
    Trouble("out of memory", compiling_raises(MemoryError()), "out of memory"),
    Trouble("a library of Triton does not load", compiling_raises(ImportError("libtriton.so: file too short")),
        "file too short"),
    Trouble("memory's disk full from the start", memory_full(0), "no space is left to write"),
    Trouble("checkpoint's disk full", checkpoint_full, "database or disk is full"),
    Trouble("compiler exits at start", child_that("exits_at_start", POOL), "exit code 3", processes=True),
    Trouble("compiler crashes at start", child_that("crashes_at_start", POOL), "SIGSEGV", processes=True),
    Trouble("compiler killed at start", child_that("killed_at_start", POOL), "killed twice", processes=True),
    Trouble("compiler hangs at start", compiler_that_hangs_at_start, "no sign of it", processes=True),
    Trouble("kernel not importable in a child", child_that("refuses", POOL), "kernel.py:4 cannot be imported",
        processes=True),
    Trouble("interpreter cannot import", interpreter("lacks_a_package"), "a_package_that_is_not_there",
        processes=True),
    Trouble("interpreter refuses the kernel", interpreter("refuses"), "kernel.py:4 cannot be imported",
        processes=True),
    Trouble("GPU left before the first launch", gpu("left"), "no CUDA-capable device", device="cuda:0",
        processes=True),
    Trouble("no C compiler beside the GPU", gpu("no_c_compiler"), "Failed to find C compiler", device="cuda:0",
        processes=True),
    Trouble("worker killed whenever it works", gpu("killed_at_work"), "killed from outside", device="cuda:0",
        processes=True),
    Trouble("worker cannot import", gpu("", "lacks_a_package"), "a_package_that_is_not_there", device="cuda:0",
        processes=True),
    Trouble("worker crashes at start", gpu("", "crashes_at_start"), "SIGSEGV", device="cuda:0", processes=True),
)  # fmt: skip
"""Those that run on demand."""
