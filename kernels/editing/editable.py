"""A kernel whose configs may choose a variant of its device code.

:func:`editable` makes of any kernel one with a field more in its config, ``edit``: empty for the owner's code, else
``HASH NAME=VALUE …``. Everything that knows configs (tools, planner, proof, memory, traces) then knows variants. The
launch of a config with a variant is the owner's launch, with the variant's function in the place of the owner's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, SerializerFunctionWrapHandler, create_model, model_serializer

from kernels.capture.describing.device_closure import python_function
from kernels.captured.other_launches import AS_OWNED
from kernels.editing.machine_code_only import machine_code_only
from kernels.editing.owner_function import OwnerFunction
from kernels.editing.owner_launches import OwnersLaunch, instead_of_launches, owner_function, owners_launches
from kernels.editing.refused_edit import RefusedEdit
from kernels.editing.variants import Variant, chosen, complete, launch_instead, load, text_of
from kernels.hardware import Hardware
from kernels.launches.expected import results_of
from kernels.launches.leaves import ALONE
from kernels.spec import Baseline, Config, KernelSpec, Problem

FIELD = "edit"
MARK = "edited:"
"""Before the name under which an editable kernel is found again: ``edited:FOLDER|NAME``."""
MOST_CHARACTERS = 700
MOST_BASES = 24
"""Of the owner's configs, those that a variant is tried with."""
MOST_LOOKED_AT = 48
"""Configs that are looked at for the functions that they launch."""
MOST_META = 16
"""Combinations of a variant's meta-parameters that are tried."""
MOST_OWNERS = 12
"""The owner's configs that its baseline is the best of, if none was measured."""
BEST_OWNERS = 3
"""The fastest that a run has measured, otherwise."""
TUNED = "owner tuned"
"""A baseline: the owner's code at the best config that is known of it. A variant has to beat that, not only the launch
as it was captured."""


class _EditableConfig(Config):
    left_out: ClassVar[frozenset[str]] = frozenset({FIELD})
    """Fields that are not written where they are empty, and need not be given."""

    @model_serializer(mode="wrap")
    def _leave_out_empty_edit(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The owner's code has no edit: its configs are those of a run that edits nothing."""
        return {name: v for name, v in serialize(self).items() if v or name not in self.left_out}


def editable(spec: KernelSpec[Any, Any], folder: Path, reference: str) -> KernelSpec[Any, Any]:
    """`spec` with variants from `folder`. `reference` finds `spec` in another process."""
    kind = type(spec)
    made: Any = object.__new__(type(f"Editable{kind.__name__}", (Editable, kind), {"__module__": kind.__module__}))
    made.__dict__.update(vars(spec))
    made.__dict__["_owners_spec"] = spec
    made.__dict__["_folder"] = folder
    made.__dict__["_variants"] = {}
    made.__dict__["_launched"] = {}
    field: Any = (
        str,
        Field("", max_length=MOST_CHARACTERS, description="empty: the owner's code; else HASH NAME=VALUE of a variant"),
    )
    made.__dict__["config_type"] = create_model(
        f"editable_{spec.config_type.__name__}",
        __base__=(_EditableConfig, spec.config_type),
        **{FIELD: field},
    )
    made.__dict__["found_as"] = f"{MARK}{folder}|{reference}"
    found: KernelSpec[Any, Any] = made
    return found


def found_again(name: str, get: Callable[[str], KernelSpec[Any, Any]]) -> KernelSpec[Any, Any]:
    """The editable kernel ``edited:FOLDER|NAME``; `get` finds the owner's."""
    folder, _, reference = name.removeprefix(MARK).partition("|")
    found = editable(get(reference), Path(folder), reference)
    found.__dict__["_any_owners"] = True
    return found


class Editable(KernelSpec[Any, Any]):
    """Methods that know of variants; all others are the owner's."""

    shut_in = True
    _owners_spec: KernelSpec[Any, Any]
    _folder: Path
    _variants: dict[str, Variant]
    _launched: dict[tuple[str, str, str], list[OwnersLaunch]]
    _best_owners: tuple[Config, ...] = ()
    _owners_judged = False
    _any_owners = False
    """In a process that is told by its name which config of the owner's it is to launch."""

    def stand_against(self, measured: Iterable[Config] | None) -> None:
        """From now on the owner's code is timed at the first of these configs, the fastest first, that have no edit.
        None: the owner's code is what is judged, and is no baseline of itself at its best config."""
        self.__dict__["_owners_judged"] = measured is None
        if measured is None:
            return
        owners = (self.owners_config(c) for c in measured if not getattr(c, FIELD))
        self.__dict__["_best_owners"] = tuple(itertools.islice(owners, BEST_OWNERS))

    def owners_config(self, config: Config) -> Config:
        """`config` without its variant."""
        values = config.model_dump()
        values.pop(FIELD, None)
        found: Config = self._owners_spec.config_type.model_validate(values)
        return found

    @property
    def folder(self) -> Path:
        """Where its variants lie."""
        return self._folder

    def editable_functions(self, problem: Problem, hardware: Hardware) -> list[str]:
        """Names of the functions that can be edited. Raises RefusedEdit, with the reason, if there is none."""
        found: list[str] = []
        reason = None
        for config in self._some_configs(problem, hardware):
            for launch in self._launches(problem, config, hardware):
                name = python_function(launch.function).__name__
                if name in found:
                    continue
                try:
                    owner_function(self._owners_spec, problem, config, hardware, name)
                    found.append(name)
                except RefusedEdit as e:
                    reason = e
        if not found and reason is not None:
            raise reason
        return found

    def owner(self, problem: Problem, hardware: Hardware, name: str | None = None) -> OwnerFunction:
        """The function `name` of one of the configs, or the only one of the default config. Raises RefusedEdit."""
        configs = self._some_configs(problem, hardware)
        fitting = (c for c in configs if name in self._names(problem, c, hardware))
        config = configs[0] if name is None else next(fitting, configs[0])
        return owner_function(self._owners_spec, problem, config, hardware, name)[0]

    def config_with(self, variant: Variant, problem: Problem, hardware: Hardware, liked: Config | None) -> Config:
        """A config without an edit that launches the variant's function: `liked`, or the first that does."""
        configs = self._some_configs(problem, hardware)
        if liked is not None:
            configs = [self.owners_config(liked), *configs]
        config = next((c for c in configs if variant.name in self._names(problem, c, hardware)), configs[0])
        found: Config = self.config_type(**config.model_dump())
        return found

    def config_of_owner(self, variant: Variant, problem: Problem, hardware: Hardware) -> Config:
        """The owner's config that launches the function of which `variant` is one."""
        return self.owners_config(self.config_with(variant, problem, hardware, None))

    def _some_configs(self, problem: Problem, hardware: Hardware) -> list[Config]:
        """The owner's default and others of its space: families of configs may launch other functions."""
        spec = self._owners_spec
        space = spec.space(problem, hardware)
        return [spec.default_config(problem, hardware), *space[:: max(1, len(space) // MOST_LOOKED_AT)]]

    def _launches(self, problem: Problem, config: Config, hardware: Hardware) -> list[OwnersLaunch]:
        key = problem.model_dump_json(), config.key(), hardware.name
        if key not in self._launched:
            self._launched[key] = owners_launches(self._owners_spec, problem, config, hardware)
        return self._launched[key]

    def _names(self, problem: Problem, config: Config, hardware: Hardware) -> set[str]:
        """Functions that a config launches; none if that cannot be found out."""
        try:
            return {python_function(launch.function).__name__ for launch in self._launches(problem, config, hardware)}
        except RefusedEdit:
            return set()

    def variant(self, text: str, problem: Problem, hardware: Hardware) -> tuple[Variant, dict[str, Any]]:
        """The variant that a config names, and its meta-parameters. Raises RefusedEdit."""
        name, given = chosen(text)
        if not (name.isalnum() and name.isascii()):
            raise RefusedEdit(f"{name!a} is no hash of a variant")
        if name not in self._variants:
            self._variants[name] = load(self._folder / f"{name}.json", partial(self.owner, problem, hardware))
        variant = self._variants[name]
        return variant, complete(variant, given)

    def known_variants(self, problem: Problem, hardware: Hardware) -> list[Variant]:
        """Every variant in the folder that is one of this kernel as it is now."""
        found = []
        for path in sorted(self._folder.glob("*.json"), key=lambda p: (p.stat().st_mtime_ns, p.name)):
            try:
                found.append(self.variant(path.stem, problem, hardware)[0])
            except RefusedEdit:
                continue  # of another kernel, or of this one as it was
        return found

    def candidates(self, problem: Problem, hardware: Hardware) -> Iterator[Config]:
        """The owner's, then each variant with the first of them and its meta-parameters."""
        spec = self._owners_spec
        owners = [c.model_dump() for c in spec.candidates(problem, hardware)]
        yield from (self.config_type(**values) for values in owners)
        for variant in self.known_variants(problem, hardware):
            bases = (c for c in spec.space(problem, hardware) if variant.name in self._names(problem, c, hardware))
            fitting = [c.model_dump() for c in itertools.islice(bases, MOST_BASES)]
            names = list(variant.edit.meta)
            rows = itertools.islice(itertools.product(*variant.edit.meta.values()), MOST_META)
            texts = [text_of(variant, dict(zip(names, row, strict=True))) for row in rows]
            yield from (self.config_type(**values, edit=text) for values in fitting for text in texts)

    def default_config(self, problem: Problem, hardware: Hardware) -> Config:
        found: Config = self.config_type(**self._owners_spec.default_config(problem, hardware).model_dump())
        return found

    def constraint(self, problem: Problem, config: Config, hardware: Hardware) -> str | None:
        text = getattr(config, FIELD)
        if text:
            try:
                variant = self.variant(text, problem, hardware)[0]
            except RefusedEdit as e:
                return str(e)
            names = self._names(problem, self.owners_config(config), hardware)
            if names and variant.name not in names:
                launched = ", ".join(sorted(names))
                return f"this config launches {launched}, and {variant.hash} is a variant of {variant.name}"
        return self._owners_spec.constraint(problem, self.owners_config(config), hardware)

    def arrange(self, problem: Problem, config: Config, inputs: Any) -> Any:
        return self._owners_spec.arrange(problem, self.owners_config(config), inputs)

    def launch(self, problem: Problem, config: Config, inputs: Any, out: Any, hardware: Hardware) -> None:
        owners, text = self.owners_config(config), getattr(config, FIELD)
        if not text:
            self._owners_spec.launch(problem, owners, inputs, out, hardware)
            return
        variant, values = self.variant(text, problem, hardware or _here())
        with machine_code_only(), instead_of_launches(launch_instead(variant, values)):
            self._owners_spec.launch(problem, owners, inputs, out, hardware)

    def reduced(self, problem: Problem, config: Config) -> Problem:
        found: Problem = self._owners_spec.reduced(problem, self.owners_config(config))
        return found

    def interpretable(self, config: Config) -> str | None:
        return self._owners_spec.interpretable(self.owners_config(config))

    def samplable(self, config: Config) -> str | None:
        return self._owners_spec.samplable(self.owners_config(config))

    def other_launches(self, problem: Problem, config: Config) -> tuple[list[Any], str]:
        """The owner's; a variant takes the function's place there too."""
        launches, why_none = self._owners_spec.other_launches(problem, self.owners_config(config))
        text = getattr(config, FIELD)
        if not text:
            return launches, why_none
        found = []
        for other in launches:
            if other.config is not None or other.why_not == AS_OWNED:
                spec: Any = editable(other.spec, self._folder, other.spec.found_as)
                base = other.config or other.spec.owner_config()
                changed = spec.config_type(**base.model_dump(), edit=text)
                other = replace(other, spec=spec, config=changed, why_not="")
            found.append(other)
        return found, why_none

    def registers(self, config: Config) -> int:
        return self._owners_spec.registers(self.owners_config(config))

    def baselines(self, problem: Problem) -> list[Baseline[Any]]:
        """The owner's, and the owner's launch, tuned: the best of its own configs. A variant has to beat it."""
        found = list(self._owners_spec.baselines(problem))
        name = TUNED if any(b.name == "owner" for b in found) else "owner"
        prepare = partial(_prepare, self._owners_spec)
        if self._owners_judged:
            title = f"{self.name} as its owner wrote it, at its default config"
            return found if name == TUNED else [*found, Baseline(name, title, prepare, own_code=True)]
        title = f"{self.name} as its owner wrote it, the best of its configs"
        few = 0 if name == TUNED else MOST_OWNERS  # before anything is measured
        choices = partial(self._owners_choices, None if self._any_owners else few)
        return [*found, Baseline(name, title, prepare, own_code=True, choices=choices)]

    def _owners_choices(self, most: int | None, problem: Problem) -> dict[str, Callable[[Any, Any], Callable[[], Any]]]:
        configs = list(self._best_owners)
        if not configs and most != 0:
            configs = list(itertools.islice(self._owners_spec.candidates(problem, _here()), most))
        return {f"owner {c.key()}": partial(_prepare, self._owners_spec, config=c) for c in configs}

    def source_hash(self) -> str:
        """The owner's: a variant is a part of its config."""
        return self._owners_spec.source_hash()


def _here() -> Hardware:
    """The GPU of this process, or the one that is assumed without one."""
    import torch

    from kernels.hardware import hardware_for, hardware_named
    from kernels.hardware.asked_gpu import ask
    from kernels.triton.stub_driver import DEFAULT

    if not torch.cuda.is_available():
        return hardware_named(DEFAULT)
    return hardware_for(torch.cuda.get_device_name()) or ask(torch.cuda.current_device())


def _prepare(spec: KernelSpec[Any, Any], problem: Any, inputs: Any, config: Config | None = None) -> Callable[[], Any]:
    """A call of the owner's launch on `inputs` that gives its results."""
    hardware = _here()
    chosen_config = spec.default_config(problem, hardware) if config is None else config
    device = next((str(t.device) for t in _tensors(inputs)), "cpu")
    arranged, out = spec.arrange(problem, chosen_config, inputs), spec.output(problem, device)
    found = results_of(spec.effects(problem), inputs, out)

    def call() -> Any:
        spec.launch(problem, chosen_config, arranged, out, hardware)
        return found[ALONE] if list(found) == [ALONE] else found

    return call


def _tensors(inputs: Any) -> list[Any]:
    from kernels.launches.leaves import tensors_in

    return list(tensors_in(inputs).values())
