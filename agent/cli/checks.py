"""What this machine has for a run, what it lacks, and how to fix that.

PyTorch and Triton are imported in child processes, because a broken installation may crash. A key is never printed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from agent.cli.installation import Finding, State, check_extras, check_names, check_packages
from agent.cli.requirements import version_of
from memory.terms import count_of

GIB = 2**30
LEAST_DISK = 1 * GIB
"""Compiled kernels and traces of some hundred runs."""
PATIENCE = 120.0
"""Seconds for a child that imports PyTorch or compiles, on a slow disk."""
DRIVER = Path("/dev/nvidiactl")
"""There if a driver of NVIDIA's is loaded, whether or not it works."""
TORCH = """
import json, torch
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip,
                  "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]}))
"""
TRITON = """
import json, triton
from kernels.hardware import hardware_named
from kernels.registry import get
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.device import MachineTrouble
if __name__ == "__main__":
    spec, hardware = get("softmax"), hardware_named("H200")
    problem = spec.default_problem()
    answer = {"version": triton.__version__, "status": "infrastructure"}
    try:
        pool = LocalCompilePool(hardware, workers=1)
        [found] = pool.compile(spec, problem, [spec.default_config(problem, hardware)])
        pool.close()
        answer |= {"status": found.status, "reason": found.reason}
    except MachineTrouble as e:
        answer |= {"reason": str(e)}
    print(json.dumps(answer))
"""


def check_command() -> list[Finding]:
    """Whether ``autokernel`` on the path is ours: another project has a command of that name."""
    found = shutil.which("autokernel")
    if found is None:
        return [Finding("command", "note", "no command autokernel is on the path", "python -m agent does the same")]
    ours = {Path(sys.executable).parent / "autokernel", Path(sysconfig.get_path("scripts")) / "autokernel"}
    if Path(found).resolve() in {path.resolve() for path in ours}:
        return [Finding("command", "ok", f"autokernel is {found}")]
    try:
        text = Path(found).read_bytes()[:4096]
    except OSError:
        text = b""
    if b"agent.__main__" in text:
        said = f"{found} is this project's in another environment"
        return [Finding("command", "note", said, "use python -m agent, or put this environment first on the path")]
    said = f"{found} is another project's command and comes first on the path"
    return [Finding("command", "note", said, "use python -m agent, or put this environment first on the path")]


def check_python() -> list[Finding]:
    if platform.system() != "Linux":
        return [Finding("system", "missing", platform.system(), "use Linux: Triton and the harness run nowhere else")]
    return [Finding("python", "ok", f"{platform.python_version()} on Linux {platform.machine()}")]


def check_gpu() -> list[Finding]:
    """What NVML sees, which needs only the driver, and what PyTorch sees."""
    cards, driver = nvidia_cards()
    torch = run_script(TORCH)
    amd = Path("/dev/kfd").exists()
    if cards:
        found = [Finding("gpu", "ok", ", ".join(map(describe_card, cards))), Finding("driver", "ok", driver)]
    elif amd:
        found = [Finding("gpu", "ok", "an AMD GPU (/dev/kfd)")]
    elif DRIVER.exists():
        said = f"{DRIVER} is there, but its driver does not answer: runs use a recorded H200, whose times are looked up"
        found = [Finding("gpu", "note", said, "reload the driver (nvidia-smi tells what is wrong), or reboot")]
    else:
        found = [Finding("gpu", "note", "none: runs use a recorded H200, whose times are looked up")]
    if "error" in torch:
        mend = (
            "pip install torch (or the CPU build: pip install torch --index-url https://download.pytorch.org/whl/cpu)"
        )
        return [*found, Finding("torch", "missing", torch["error"], mend)]
    build = f"CUDA {torch['cuda']}" if torch["cuda"] else f"ROCm {torch['hip']}" if torch["hip"] else "CPU build"
    said = f"{torch['version']}, {build}, sees {len(torch['gpus'])} GPUs"
    if (cards or amd) and not torch["gpus"]:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        mend = (
            f"CUDA_VISIBLE_DEVICES={hidden!r} hides the GPUs: unset it"
            if hidden is not None
            else "install a PyTorch build for this GPU and driver (pytorch.org/get-started), or use --device recorded"
        )
        return [*found, Finding("torch", "missing", said, mend)]
    return [*found, Finding("torch", "ok", said)]


def check_triton() -> list[Finding]:
    """Compiles a small kernel for an H200, which needs no GPU."""
    found = run_script(TRITON)
    if "error" in found:
        return [Finding("triton", "missing", found["error"], "pip install 'triton>=3.6'")]
    if found["status"] == "infrastructure":
        said = f"{found['version']} cannot compile here: {found['reason']}"
        return [Finding("triton", "missing", said, "do what the sentence above says")]
    if found["status"] != "correct":
        mend = "reinstall triton: pip install --force-reinstall 'triton>=3.6'"
        return [Finding("triton", "missing", f"{found['version']} does not compile: {found['reason']}", mend)]
    findings = [Finding("triton", "ok", f"{found['version']}, compiles for sm_90")]
    numpy, triton = version_of("numpy") or "0", str(found["version"])
    if triton.startswith("3.6") and tuple(map(int, numpy.split(".")[:2])) >= (2, 4):
        said = f"numpy {numpy} with triton {triton}: your own programs fail under TRITON_INTERPRET=1; our checks do not"
        findings.append(Finding("numpy", "note", said, "pip install 'numpy<2.4'"))
    return findings


def check_c_compiler() -> list[Finding]:
    """Triton builds its launcher with it, on a GPU."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    needed: State = "missing" if nvidia_cards()[0] or Path("/dev/kfd").exists() else "note"
    if compiler is None or shutil.which(compiler) is None:
        said = f"{compiler or 'no C compiler'} is not there: Triton needs one to launch kernels on a GPU"
        return [Finding("c compiler", needed, said, "apt install gcc, or set CC")]
    if not header.exists():
        said = f"{compiler}, but no {header}: Triton needs it to launch kernels on a GPU"
        return [Finding("c compiler", needed, said, "apt install python3-dev")]
    return [Finding("c compiler", "ok", compiler)]


def check_model() -> list[Finding]:
    """Whether there is a key, and whether the configured endpoint answers."""
    from agent.cli.environment import read_env
    from agent.models.own_model import is_own

    read_env()
    key, model = os.environ.get("OPENAI_API_KEY", "").strip(), os.environ.get("AUTOKERNEL_MODEL", "").strip()
    url = os.environ.get("OPENAI_BASE_URL", "").strip()
    said = "OPENAI_API_KEY is set (not shown)" if key else "no OPENAI_API_KEY: the embedded planner needs none"
    findings = [Finding("key", "ok" if key else "note", said)]
    if model and is_own(model, url or None):
        return [*findings, Finding("model", "ok", f"{model}, a model of yours that no server has")]
    if not url and (not model or model == "embedded"):
        return findings
    where = url or "https://api.openai.com/v1"
    return [*findings, check_endpoint(where, key, model)]


def check_endpoint(url: str, key: str, model: str) -> Finding:
    """Ask the server for its models. A failure is a note: the main job needs no server."""
    import openai

    from agent.loop.run import without_credentials

    shown = without_credentials(url) if "://" in url else "the base URL"
    try:
        with openai.OpenAI(api_key=key or "none", base_url=url, max_retries=0, timeout=5.0) as client:
            names = [found.id for found in client.models.list().data]
    except openai.AuthenticationError:
        return Finding("endpoint", "note", f"{shown} refuses the key", "set OPENAI_API_KEY to one that it takes")
    except openai.APIStatusError as e:
        return Finding("endpoint", "note", f"{shown} answers HTTP {e.status_code} to a list of its models")
    except openai.APIConnectionError:
        return Finding("endpoint", "note", f"{shown} cannot be reached", "start it, or correct OPENAI_BASE_URL")
    except (openai.OpenAIError, ValueError, AttributeError, TypeError) as e:
        mend = "check OPENAI_BASE_URL: it ends in /v1 as a rule"
        return Finding("endpoint", "note", f"{shown} does not speak the protocol ({type(e).__name__})", mend)
    if model and model != "embedded" and model not in names:
        said = f"{shown} has {len(names)} models, {model} is not among them"
        return Finding("endpoint", "note", said, "correct AUTOKERNEL_MODEL")
    return Finding("endpoint", "ok", f"{shown}, {len(names)} models")


def check_memory() -> list[Finding]:
    from memory.file import MemoryFileError, default_path

    path = default_path()
    if not path.exists():
        return [Finding("memory", "ok", f"{path} will be made by the first run")]
    try:
        from memory.store import Memory
        from memory.upkeep.spoilt import describe

        memory = Memory.read(path)
        runs = memory.ask("SELECT count(*) AS n FROM runs")[0]["n"] if memory else 0
        spoilt = describe(memory) if memory else ""
    except MemoryFileError as e:
        return [Finding("memory", "missing", str(e), f"python -m memory recover {path}, or use --memory PATH")]
    if not os.access(path, os.W_OK):
        return [Finding("memory", "missing", f"{path} cannot be written", "make it writable, or use --memory PATH")]
    if spoilt:
        return [Finding("memory", "note", *spoilt.rsplit(": ", 1))]
    return [Finding("memory", "ok", f"{path}, {count_of(runs, 'run')}")]


def check_disk() -> list[Finding]:
    """Space for traces and memory, and for compiled kernels."""
    import tempfile

    from agent.trace.paths import trace_folder

    findings, folders = list[Finding](), [("disk", trace_folder())]
    try:
        folders.append(("scratch", Path(tempfile.gettempdir())))
    except FileNotFoundError as e:
        mend = "free some space, or set TMPDIR to a folder of yours"
        findings.append(Finding("scratch", "missing", str(e.strerror).lower(), mend))
    for name, folder in folders:
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(there).free
        said = f"{free / GIB:.1f} GiB free at {there}"
        if not os.access(there, os.W_OK):
            mend = "set XDG_DATA_HOME to a folder of yours" if name == "disk" else "set TMPDIR to a folder of yours"
            findings.append(Finding(name, "missing", f"{there} cannot be written", mend))
        elif free < LEAST_DISK:
            findings.append(Finding(name, "missing", said, f"free at least {LEAST_DISK / GIB:g} GiB"))
        else:
            findings.append(Finding(name, "ok", said))
    return findings


def check_cache() -> list[Finding]:
    """Whether the compile cache can be written."""
    from tools.harness.compiling.cache import default_cache
    from tools.harness.compiling.compile_pool import require_writable
    from tools.harness.device import MachineTrouble

    try:
        require_writable(default_cache())
    except MachineTrouble as e:
        return [Finding("cache", "missing", str(e), "set XDG_CACHE_HOME to a folder of yours")]
    return [Finding("cache", "ok", f"{default_cache()} can be written")]


def check_landscapes() -> list[Finding]:
    """The recorded devices' files against their checksums."""
    folder = Path(str(resources.files("evals") / "landscapes"))
    sums = folder / "SHA256SUMS"
    mend = "install the project again: pip install --force-reinstall --no-deps ."
    if not sums.exists():
        return [Finding("landscapes", "missing", f"{sums} is not there", mend)]
    lines = [line.split() for line in sums.read_text().splitlines() if line.strip()]
    broken = [name for digest, name in lines if sha256(folder / name) != digest]
    if broken:
        return [Finding("landscapes", "missing", f"damaged or gone: {', '.join(broken)}", mend)]
    return [Finding("landscapes", "ok", f"{len(lines)} recorded, checksums fit")]


CHECKS: tuple[Callable[[], list[Finding]], ...] = (
    check_python, check_command, check_packages, check_names, check_gpu, check_triton, check_c_compiler, check_model,
    check_memory, check_disk, check_cache, check_landscapes, check_extras,
)  # fmt: skip


def run_script(script: str) -> dict[str, Any]:
    """Run `script` in another Python and return the JSON of its last line, or ``{"error": why}``."""
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=PATIENCE, env=environment
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer in {PATIENCE:g} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"])[-1][:200]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def describe_card(name: str) -> str:
    """The card's name, and where its facts come from unless they are published."""
    from kernels.hardware import hardware_for, known_hardware

    if known_hardware(name) is not None:
        return name
    kept = hardware_for(name)
    if kept is None:
        return f"{name} (no published facts: its driver is asked and its ceilings measured at the first run)"
    return f"{name} (bandwidth {kept.describe_origin('bandwidth')}, peaks {kept.describe_origin('peak')})"


def nvidia_cards() -> tuple[list[str], str]:
    """Names of the cards and the driver's version, by NVML."""
    try:
        import pynvml
    except ImportError:
        return [], ""
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [str(pynvml.nvmlDeviceGetName(h)) for h in handles], str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return [], ""


def sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
