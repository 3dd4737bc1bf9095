"""The tasks: twelve slow kernels with a known better form, and three traps (:mod:`kernels.slow_kernels`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from evals.errors import EvalsError

if TYPE_CHECKING:
    from kernels.slow_kernels.slow_kernel import Form, SlowKernel

FOLDER = "kernels.slow_kernels"
TASKS = {
    "unswizzled": f"{FOLDER}.products:Unswizzled",
    "wide_tiles": f"{FOLDER}.products:WideTiles",
    "single_stage": f"{FOLDER}.products:SingleStage",
    "few_programs": f"{FOLDER}.products:FewPrograms",
    "masked_work": f"{FOLDER}.attention:MaskedWork",
    "second_pass": f"{FOLDER}.rows:SecondPass",
    "serial_reduction": f"{FOLDER}.rows:SerialReduction",
    "scalar_loop": f"{FOLDER}.rows:ScalarLoop",
    "small_rows": f"{FOLDER}.rows:SmallRows",
    "padding": f"{FOLDER}.rows:Padding",
    "uncoalesced": f"{FOLDER}.layouts:Uncoalesced",
    "transposition": f"{FOLDER}.layouts:Transposition",
}
"""Name → the slow kernel, as ``--kernel`` takes it."""
TRAPS = {
    "nothing_better": f"{FOLDER}.traps:NothingBetter",
    "wrong_on_large_inputs": f"{FOLDER}.traps:WrongOnLargeInputs",
    "wrong_elsewhere": f"{FOLDER}.traps:WrongElsewhere",
}
ALL = TASKS | TRAPS


def slow_kernel(task: str) -> SlowKernel:
    """The kernel of a task. It imports PyTorch and Triton."""
    from kernels.registry import get

    return cast("SlowKernel", get(ALL[task]))


def form_of(task: str) -> Form:
    """The known better form of a task's kernel, or what a trap tempts to."""
    kernel = slow_kernel(task)
    form = kernel.tempting if task in TRAPS else kernel.known
    assert form is not None
    return form


def choose_tasks(names: str) -> list[str]:
    """Tasks by their names with commas between them; all for an empty text. Raises EvalsError."""
    asked = [name.strip() for name in names.split(",") if name.strip()]
    for name in asked:
        if name not in ALL:
            raise EvalsError(f"there is no source task {name!a}: choose of {', '.join(ALL)}")
    return [task for task in ALL if task in asked] if asked else list(ALL)
