"""The two kinds of problem that the judge knows: how inputs are drawn and what the reference computes of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol

import torch

from kernels.launches.leaves import rebuild, widened
from tools.harness.judging.program_files import Raised, describe_error, load_file, member, seed_all
from tools.harness.judging.tensor_files import dtype_named
from tools.harness.process.refusal import Refusal

Json = dict[str, Any]
Call = Callable[..., Any]
REFERENCE = "reference.py"


class JudgedProblem(Protocol):
    """A reference that somebody else wrote, on one device."""

    init: Any
    """Arguments of the candidate's constructor; None if it is a function."""

    @property
    def call(self) -> Call:
        """What is timed: the reference in its own precision, as the state is."""

    def draw(self, seed: int) -> tuple[Any, ...]: ...
    def state(self) -> dict[str, torch.Tensor] | None:
        """Parameters and buffers; None if there are none."""

    def set_state(self, state: dict[str, torch.Tensor]) -> None: ...
    def parameters(self) -> list[str]:
        """Names of the floating parameters, as they are in the state."""

    def run(self, inputs: tuple[Any, ...]) -> Any:
        """The results in the reference's own precision."""

    def run_wide(self, inputs: tuple[Any, ...]) -> Any:
        """The same in float64. Raises whatever the reference raises there."""


class ModuleProblem:
    """``Model``, ``get_inputs`` and ``get_init_inputs``, KernelBench's form."""

    def __init__(self, path: str, seed: int, device: str) -> None:
        self.path, self.device = path, device
        self._drawn_on = device
        """Where ``get_inputs`` makes its tensors unless it names a device."""
        module = load_file(path, "reference", "it")
        self._make, self._inputs = (member(module, n, "it") for n in ("Model", "get_inputs"))
        make_init = getattr(module, "get_init_inputs", None)
        try:
            seed_all(seed)
            self.init = list(make_init()) if make_init else []
            seed_all(seed)
            self.model = self._make(*self.init)
        except BaseException as e:
            raise Raised(e, "it", path) from e
        if not isinstance(self.model, torch.nn.Module):
            raise Refusal("its Model is no torch.nn.Module")
        self.call = self.model.to(device)
        self._kept = {n: t.clone() for n, t in self.model.state_dict().items()}
        self._wide = self._widened()

    def _widened(self) -> torch.nn.Module | None:
        try:
            wide: torch.nn.Module = copy.deepcopy(self.model).double()
            return wide
        except Exception:  # noqa: BLE001 -- a stranger's module may refuse to be copied or converted
            return None

    def draw(self, seed: int) -> tuple[Any, ...]:
        drawn = self._drawn(seed)
        if not isinstance(drawn, list | tuple):
            raise Refusal(f"its get_inputs gives a {type(drawn).__name__} instead of a list")
        return tuple(rebuild(tuple(drawn), lambda path, leaf: _on(leaf, self.device)))

    def _drawn(self, seed: int) -> Any:
        """What ``get_inputs`` gives after `seed`. On a GPU it draws there, where a hundred million numbers take no
        time; if it does not run so (a generator or NumPy of the CPU), on the CPU from then on."""
        if self._drawn_on != "cpu":
            seed_all(seed)
            try:
                with torch.device(self._drawn_on):
                    return self._inputs()
            except Exception:  # noqa: BLE001 -- what it raises on the CPU as well is reported below
                self._drawn_on = "cpu"
        seed_all(seed)
        try:
            return self._inputs()
        except BaseException as e:
            raise Raised(e, "its get_inputs", self.path) from e

    def state(self) -> dict[str, torch.Tensor] | None:
        return self._kept or None

    def set_state(self, state: dict[str, torch.Tensor]) -> None:
        self._kept = {n: t.to(self.device) for n, t in state.items()}

    def parameters(self) -> list[str]:
        return [n for n, p in self.model.named_parameters() if p.is_floating_point()]

    def run(self, inputs: tuple[Any, ...]) -> Any:
        self.model.load_state_dict(self._kept)
        return self.model(*inputs)

    def run_wide(self, inputs: tuple[Any, ...]) -> Any:
        if self._wide is None:
            raise Refusal("its Model cannot be converted to float64")
        self._wide.load_state_dict(self._kept)
        return self._wide(*widened(inputs))


class FunctionProblem:
    """A definition's ``run``, with inputs as a workload describes them (flashinfer-bench, SOL-ExecBench)."""

    init = None

    def __init__(self, path: str, described: Json, device: str) -> None:
        """`described`: ``inputs``, each with ``name``, ``kind``, and what that kind needs; ``axes``; ``custom``, the
        name of the function that makes the inputs."""
        self.path, self.device, self._described = path, device, described
        self._module = load_file(path, "reference", "the definition's reference")
        self.call: Call = member(self._module, "run", "the definition's reference")

    def draw(self, seed: int) -> tuple[Any, ...]:
        seed_all(seed)
        if self._described["custom"]:
            return self._custom()
        return tuple(_on(self._drawn(x), self.device) for x in self._described["inputs"])

    def _custom(self) -> tuple[Any, ...]:
        name = self._described["custom"]
        make = member(self._module, name, "the definition's reference")
        try:
            made = make(dict(self._described["axes"]), torch.device(self.device))
            return tuple(_on(made[x["name"]], self.device) for x in self._described["inputs"])
        except BaseException as e:
            raise Raised(e, name, self.path) from e

    def _drawn(self, described: Json) -> Any:
        """Standard normal numbers; whole numbers of -1,024 to 1,023 (flashinfer-bench's own way to draw them)."""
        kind = described["kind"]
        if kind == "scalar":
            return described["value"]
        if kind == "safetensors":
            return _from_safetensors(described)
        dtype, shape = dtype_named(described["dtype"]), described["shape"]
        size = () if shape is None else tuple(shape)
        if dtype.is_floating_point:
            made = torch.randn(size, device=self.device)
            made = (made.clamp(-2, 2) if dtype.itemsize == 1 else made).to(dtype)
        elif dtype == torch.bool:
            made = torch.randint(0, 2, size, device=self.device).bool()
        else:
            most = min(1024, torch.iinfo(dtype).max + 1)
            least = max(-1024, torch.iinfo(dtype).min)
            made = torch.randint(least, most, size, device=self.device).to(dtype)
        return made.item() if shape is None else made

    def state(self) -> None:
        return None

    def set_state(self, state: dict[str, torch.Tensor]) -> None:
        raise NotImplementedError("a function has no parameters")

    def parameters(self) -> list[str]:
        return []

    def run(self, inputs: tuple[Any, ...]) -> Any:
        return self.call(*inputs)

    def run_wide(self, inputs: tuple[Any, ...]) -> Any:
        return self.call(*widened(inputs))


def _on(leaf: Any, device: str) -> Any:
    return leaf.detach().to(device) if isinstance(leaf, torch.Tensor) else leaf


def _from_safetensors(described: Json) -> torch.Tensor:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as e:
        raise Refusal("the workload's inputs lie in a safetensors file: pip install safetensors") from e
    path, key = described["path"], described["key"]
    try:
        with safe_open(path, framework="pt") as file:
            found: torch.Tensor = file.get_tensor(key)
    except (OSError, SafetensorError) as e:
        raise Refusal(f"{path} does not give the tensor {key} ({describe_error(e, path)})") from e
    if list(found.shape) != described["shape"] or found.dtype != dtype_named(described["dtype"]):
        raise Refusal(f"{key} in {path} is {found.dtype} {list(found.shape)}, and the definition has another shape")
    return found


def make_problem(job: Json) -> JudgedProblem:
    """The problem that a job describes. Raises Raised and Refusal."""
    if job["form"] == "module":
        return ModuleProblem(job["file"], job["seed"], job["device"])
    return FunctionProblem(job["file"], job["described"], job["device"])
