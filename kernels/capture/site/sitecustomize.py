"""Loaded by Python itself when a process starts that has this folder first on its path (``kernels/capture/start.py``).

Starts the recording or applies a table of tuned launches, takes this folder off the program's path and loads the
``sitecustomize`` that the program has without us. A ``.pth`` file may run it too
(``kernels/tuned/applying/begin_apply.py``): then it only applies the table.
"""

import os
import signal
import sys
import types
from contextlib import suppress
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec


def _on_interrupt(handler: object) -> None:
    with suppress(ValueError):  # the main thread of the main interpreter alone has handlers
        signal.signal(signal.SIGINT, handler)  # type: ignore[arg-type]


_INTERRUPT = signal.getsignal(signal.SIGINT)
if _INTERRUPT is signal.default_int_handler:
    # Ctrl-C while our modules are imported ends the process. An exception here would be a fatal error of Python's, with
    # lines that are not the program's and exit code 1.
    _on_interrupt(signal.SIG_DFL)


def _room() -> None:
    # A private name: the program may have a package `kernels`, and must not get ours.
    room = types.ModuleType("_autokernel")
    room.__path__ = [os.path.abspath(os.path.join(os.path.realpath(__file__), "..", "..", ".."))]
    sys.modules.setdefault("_autokernel", room)


def _record() -> None:
    _room()
    import_module("_autokernel.capture.begin").record_process()


def _apply() -> None:
    _room()
    import_module("_autokernel.tuned.applying.begin_apply").apply_to_process()


def _programs_own() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != here or not p]
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


def _measure() -> None:
    _room()
    import_module("_autokernel.capture.kernel_times").measure_process()


def _say(line: str) -> None:
    if sys.stderr is not None:  # without it, print takes stdout, which is the program's
        with suppress(OSError, ValueError):  # a full disk, a pipe that nobody reads, a closed stderr
            print(line, file=sys.stderr)


_IS_SITECUSTOMIZE = __name__ == "sitecustomize"
try:
    if _IS_SITECUSTOMIZE and os.environ.get("AUTOKERNEL_CAPTURE_FILE"):
        _record()
except Exception as e:  # noqa: BLE001 -- the program runs, captured or not
    _say(f"capture: process {os.getpid()} is not captured ({type(e).__name__}: {e}).")
try:
    if os.environ.get("AUTOKERNEL_APPLY"):
        _apply()
except Exception as e:  # noqa: BLE001 -- the program runs, tuned or not
    _say(f"apply: nothing is applied to process {os.getpid()} ({type(e).__name__}: {e}).")
try:
    if _IS_SITECUSTOMIZE and os.environ.get("AUTOKERNEL_KERNEL_TIMES"):
        _measure()
except Exception as e:  # noqa: BLE001 -- the program runs, measured or not
    _say(f"compare: process {os.getpid()} is not measured ({type(e).__name__}: {e}).")
if _INTERRUPT is signal.default_int_handler:
    _on_interrupt(_INTERRUPT)
if _IS_SITECUSTOMIZE:
    _programs_own()
