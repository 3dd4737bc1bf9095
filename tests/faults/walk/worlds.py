"""The kinds of a wrong world: each makes the cases of one command."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from tests.faults.walk.case import OLD, Case
from tests.faults.walk.commands import Command

CLOSED = 141
INTERRUPTED = 130
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) * 2 // 3],
    "cut to its head": lambda data: data[:57],
    "random": lambda data: random.Random(0).randbytes(max(8192, min(len(data), 65536))),
    "zero-headed": lambda data: bytes(100) + data[100:],
    "zeros": lambda data: bytes(8192),
    "a JSON array": lambda data: b"[1, null, {}]\n",
    "JSON nested a million deep": lambda data: b"[" * 1_000_000,
    "a JSON object": lambda data: b'{"a": NaN}\n',
    "UTF-16": lambda data: data[:2000].decode("latin-1").encode("utf-16"),
    "holed": lambda data: data[: len(data) // 2] + bytes(64) + data[len(data) // 2 + 64 :],
}
NUMBERS = ("nan", "inf", "-1", "1e400", "x", "", "9" * 30)
WORDS = ("", "\x1b[31m", "x" * 5000, "ü€𝄞", "../../..", "-", "\udcff")


class Maker:
    """Makes the cases of one command, each in an empty folder of its own."""

    def __init__(self, command: Command, leaf: click.Command, files: dict[str, Path], folder: Path) -> None:
        self.command, self.leaf, self._files, self._folder = command, leaf, files, folder
        self._count = 0

    def case(self, kind: str, *more: str, codes: tuple[int, ...] | None = None, **given: object) -> Case:
        """The command, with `more` arguments behind its own; its files are copies."""
        self._count += 1
        folder = self._folder / f"{self._count:04}"
        folder.mkdir(parents=True)
        places = {"out": str(folder / "out")}
        for name in self.command.reads:
            copy = folder / self._files[name].name
            copy.write_bytes(self._files[name].read_bytes())
            places[name] = str(copy)
        argv = [*self.command.words.split(), *(word.format(**places) for word in self.command.arguments)]
        if "--" in argv:  # what follows belongs to the program that is run
            at = argv.index("--")
            argv[at:at] = more
        else:
            argv += more
        env = {"XDG_DATA_HOME": str(folder / "data"), "OPENAI_API_KEY": None, "OPENAI_BASE_URL": None}
        return Case(self.command, kind, argv, folder, codes or self.command.codes, env=env, **given)  # type: ignore[arg-type]

    def damaged(self, name: str, kind: str, damage: Callable[[bytes], bytes]) -> Case:
        # A memory that is empty or yet to be made is an empty memory.
        fresh = kind == "empty" and name == "memory" and self.command.words not in NO_FRESH
        mended = (self.command.words, name, kind) in MENDED
        codes = (*self.command.codes, 2) if fresh or mended else (2,)
        case = self.case(f"a file that is {kind}", codes=codes)
        path = case.folder / self._files[name].name
        path.write_bytes(damage(path.read_bytes()))
        return case

    def writing(self, kind: str, option: str, codes: tuple[int, ...]) -> tuple[Case, Path]:
        """The command with an output file that exists already."""
        case = self.case(kind, codes=codes)
        path = case.folder / f"page{self.command.suffix}"
        if option in case.argv:
            case.argv[case.argv.index(option) + 1] = str(path)
        else:
            case.argv += [option, str(path)]
        if option == "--output" and case.argv[:2] == ["agent", "export"]:
            case.argv.append("--force")
        case.outputs = (path,)
        return case, path


def sound(m: Maker) -> Iterator[Case]:
    if not m.command.parse_only:
        yield m.case("a sound world")


def streams(m: Maker) -> Iterator[Case]:
    if m.command.parse_only:
        yield m.case("--help to a full disk", "--help", codes=(1,), stdout="full")
        yield m.case("--help, closed stdout", "--help", codes=(0,), stdout="closed")
        return
    codes = m.command.codes
    fails = 2 in codes
    yield m.case("closed stdout", stdout="closed")
    yield m.case("closed stderr", stderr="closed")
    yield m.case("closed stdin", stdin="closed")
    yield m.case(
        "stdout on a full disk", stdout="full", codes=codes if fails else (1, *SILENT.get(m.command.words, ()))
    )
    yield m.case("stderr on a full disk", stderr="full")
    yield m.case("a broken pipe", stdout="gone", codes=codes if fails else (CLOSED, *SILENT.get(m.command.words, ())))
    case = m.case("all three closed", stdin="closed", stdout="closed", stderr="closed")
    yield case


MENDED = {
    *(("memory recover", "memory", kind) for kind in DAMAGES),
    *((f"agent {word}", "trace", "truncated") for word in ("show", "export", "replay", "fork")),
    *(("evals " + word, "runs", "truncated") for word in ("report", "compare", "leaderboard")),
    ("agent captures show", "capture", "truncated"),
    ("agent captures show", "capture", "holed"),
}
"""(command, file, damage) that the command is made to bear: a last line that a kill cut off, a file to recover."""
NO_FRESH = ("memory recover",)
SILENT = {"agent capture": (0,), "memory lessons": (0,), "memory failures": (0,), "memory report": (0, 2)}
"""Exit codes of commands that may print nothing on stdout."""


def inputs(m: Maker) -> Iterator[Case]:
    if m.command.parse_only and m.command.words not in ("agent campaign", "agent fork"):
        return
    for name in m.command.reads:
        for kind, damage in DAMAGES.items():
            if m.command.heavy and kind in ("zeros", "UTF-16", "a JSON object", "cut to its head"):
                continue
            yield m.damaged(name, kind, damage)
        made = name == "memory" and m.command.words in ("agent run", "memory import", "memory merge", "evals run")
        case = m.case("a file that is missing", codes=m.command.codes if made else (2,))
        path = case.folder / m._files[name].name
        path.unlink()
        yield case
        case = m.case("a folder in place of a file", codes=(2,))
        path = case.folder / m._files[name].name
        path.unlink()
        path.mkdir()
        yield case
        case = m.case("a device in place of a file", codes=(2,))
        path = case.folder / m._files[name].name
        path.unlink()
        path.symlink_to("/dev/null")
        yield case
        case = m.case("a pipe in place of a file", codes=(2,))
        path = case.folder / m._files[name].name
        path.unlink()
        os.mkfifo(path)
        yield case


def outputs(m: Maker) -> Iterator[Case]:
    for option in m.command.writes:
        case, path = m.writing("an output folder that is missing", option, (2,))
        case.argv[case.argv.index(str(path))] = str(path.parent / "no/such" / path.name)
        yield case
        case, path = m.writing("a folder as output", option, (2,))
        path.mkdir()
        yield case
        case, path = m.writing("output on a full disk", option, (1, 2))
        case.argv[case.argv.index(str(path))] = "/dev/full"
        yield case
        case, path = m.writing("output in a folder that cannot be written", option, (2,))
        case.argv[case.argv.index(str(path))] = f"/proc/self/nowhere/{path.name}"
        yield case
        if not m.command.parse_only:
            case, path = m.writing("a disk that fills while the output is written", option, (1, 2))
            case.largest = 512
            if m.command.suffix == ".db" or "memory" in m.command.reads:
                case.largest = 1 << 16 if m.command.suffix == ".db" else 1024
            path.write_text(OLD) if m.command.suffix != ".db" and option != "--out" else None
            yield case
        if m.command.reads:
            case, path = m.writing("the input as output", option, (2,))
            own = case.folder / m._files[m.command.reads[0]].name
            case.argv[case.argv.index(str(path))] = str(own)
            case.outputs = ()
            if m.command.words not in ("agent export", "evals run"):
                yield case


def environment(m: Maker) -> Iterator[Case]:
    if m.command.parse_only:
        return
    codes = m.command.codes
    case = m.case("HOME that is a file", codes=(*codes, 1, 2))
    file = case.folder / "file"
    file.write_text("")
    case.env |= {"HOME": str(file), "XDG_DATA_HOME": None, "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None}
    yield case
    case = m.case("a data folder that is a file", codes=(*codes, 1, 2))
    file = case.folder / "file"
    file.write_text("")
    case.env |= {"XDG_DATA_HOME": str(file)}
    yield case
    yield m.case("a data folder on a full disk", codes=(*codes, 1, 2), largest=0)
    case = m.case("a current folder that was deleted", codes=(2,), must_say="the current folder does not exist")
    gone = case.folder / "gone"
    gone.mkdir()
    case.cwd, case.delete_cwd = gone, True
    yield case
    yield _with(m.case("no HOME"), HOME=None)
    yield _with(m.case("the C locale and an ASCII terminal"), LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    if m.command.heavy:
        return
    yield _with(m.case("a terminal of 20 columns"), COLUMNS="20", TERM="dumb")
    case = m.case("a .env that is a folder")
    (case.folder / ".env").mkdir()
    case.cwd = case.folder
    yield case
    case = m.case("a .env of random bytes")
    (case.folder / ".env").write_bytes(DAMAGES["random"](b""))
    case.cwd = case.folder
    yield case
    yield _with(m.case("a temporary folder that is missing"), TMPDIR="/no/such/folder")
    case = m.case("packages of the same names in the current folder")
    for name in ("kernels", "tools", "memory", "agent", "evals", "click", "torch", "json"):
        (case.folder / f"{name}.py").write_text("raise RuntimeError('a stranger')\n")
    case.cwd = case.folder
    yield case


def _with(case: Case, **env: str | None) -> Case:
    case.env |= env
    return case


def arguments(m: Maker) -> Iterator[Case]:
    yield m.case("an unknown option", "--nope", codes=(2,))
    yield _door_version(m)
    options = [p for p in m.leaf.params if isinstance(p, click.Option)]
    for option in options:
        name = max(option.opts, key=len)
        if option.is_flag:
            continue
        numeric = isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
        bounded = isinstance(option.type, click.IntRange | click.FloatRange) or option.callback is not None
        for value in (NUMBERS if bounded else ("x", "")) if numeric else ():
            yield m.case(f"a number that is {value[:9]!r}", f"{name}={value}", codes=(2,))
        if isinstance(option.type, click.Choice):
            yield m.case("a choice that is none", name, "nope", codes=(2,))
        if not option._flag_needs_value:
            yield m.case("an option without its value", name, codes=(2,))
        if not option.multiple:
            sample = "2" if numeric else option.type.choices[0] if isinstance(option.type, click.Choice) else "x"
            yield m.case("an option given twice", name, str(sample), name, str(sample), codes=(2,))
    flags = {max(o.opts, key=len) for o in options if o.is_flag}
    for pair in (("--json", "--csv"), ("--quiet", "--verbose"), ("--values", "--no-values")):
        if set(pair) <= flags:
            yield m.case("options that exclude each other", *pair, codes=(2,))


def _door_version(m: Maker) -> Case:
    case = m.case("--version", codes=(0,))
    case.argv = [case.argv[0], "--version"]
    return case


def words(m: Maker) -> Iterator[Case]:
    """Strange words as the value of the options and arguments that take any text."""
    if m.command.parse_only or m.command.heavy:
        return
    options = [p for p in m.leaf.params if isinstance(p, click.Option) and not p.is_flag]
    texts = [max(p.opts, key=len) for p in options if isinstance(p.type, click.types.StringParamType)]
    for option in texts:
        for word in WORDS:
            yield m.case(f"text that is {word[:12]!r}", f"{option}={word}", codes=(*m.command.codes, 2))
    for name in m.command.reads:
        for word in WORDS[:5]:
            new = name == "memory" and m.command.words in ("memory import", "memory merge")
            case = m.case(f"a path that is {word[:12]!r}", codes=(*m.command.codes, 2) if new else (2,))
            case.cwd = case.folder
            case.argv[case.argv.index(str(case.folder / m._files[name].name))] = word
            yield case


def hardware(m: Maker) -> Iterator[Case]:
    if not any(isinstance(p, click.Option) and "--device" in p.opts for p in m.leaf.params):
        return
    if m.command.words in ("memory export", "memory import", "agent replay", "tools serve", "agent campaign"):
        return
    already = "--device" in m.command.arguments
    for device in ("cuda:0", "cuda:99", "cuda:-1", "cuda:x", "cuda", "gpu", "", "recorded:nope", "recorded:"):
        case = m.case(f"a device that is {device!r}", *(() if already else ("--device", device)), codes=(1, 2))
        if already:
            case.argv[case.argv.index("--device") + 1] = device
        if m.command.words == "agent run" and device == "cuda:0":
            case.must_say = "recorded"
        if m.command.words == "evals run":
            case.argv.append("--live")
        if device == "recorded:" or (m.command.words == "kernels roofline" and device.startswith("recorded")):
            continue
        yield case


def interrupts(m: Maker) -> Iterator[Case]:
    ctrl_c = signal.SIGINT
    ended = (INTERRUPTED, -int(ctrl_c))
    for after in (0.12, 0.3) if not m.command.heavy else (0.3, 2.0):
        if not m.command.parse_only:
            early = m.command.heavy and after < 1.0  # PyTorch is not loaded yet: the command cannot have ended
            codes = ended if early else (*m.command.codes, *ended)
            yield m.case("Ctrl-C at the start", codes=codes, signals=((after, ctrl_c),))
    if m.command.words == "evals run":  # its agents have processes of their own, which a terminal's Ctrl-C reaches too
        yield m.case("Ctrl-C in a contest", codes=(*m.command.codes, *ended), signals=((4.0, ctrl_c),))
    if m.command.words == "agent run":
        again = ("--max-evals", "60")
        for kind, sent in (
            ("Ctrl-C in a run", ((0.5, ctrl_c),)),
            ("Ctrl-C twice in a run", ((0.5, ctrl_c), (0.8, ctrl_c))),
            ("SIGTERM in a run", ((0.5, signal.SIGTERM),)),
        ):
            # A second Ctrl-C may meet Python's own end, where it ends the process as SIGINT does: 130 in a shell.
            codes = {"Ctrl-C in a run": (INTERRUPTED,), "SIGTERM in a run": (INTERRUPTED, 143)}.get(kind, ended)
            case = m.case(kind, codes=codes, signals=sent)
            case.argv[case.argv.index("--max-evals") : case.argv.index("--max-evals") + 2] = again
            case.ready = "[1]"
            yield case


def full_data(m: Maker) -> Iterator[Case]:
    """The disk of traces and memory fills up in the middle of a run."""
    if m.command.words in ("agent run", "agent replay"):
        for size in (1 << 12, 1 << 14, 1 << 16):
            yield m.case("a data folder that fills up", codes=(0, 1, 2, 3), largest=size)


WORLDS = (
    sound, streams, inputs, outputs, environment, arguments, words, hardware, interrupts, full_data,
)  # fmt: skip
