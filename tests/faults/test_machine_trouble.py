"""Machine trouble of every kind: the run ends as an error that names the cause, no config is blamed, and what was
remembered does not hurt the next run."""

import json

import pytest

from tests.faults.troubles import CHEAP, MORE, played_gpu
from tests.faults.world import World, found, verdicts

pytestmark = [pytest.mark.compile, pytest.mark.process]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def fresh(world, tmp_path_factory):
    """A function: what a run on a fresh memory finds."""
    from contextlib import redirect_stdout
    from io import StringIO

    known = {}

    def run(device):
        if device not in known:
            home, out = tmp_path_factory.mktemp("fresh"), StringIO()
            with world.made(home), redirect_stdout(out):
                assert run_on(world, home, device) in (0, 3)
            known[device] = found(out.getvalue())
        return known[device]

    return run


def run_on(world, home, device):
    if device is None:
        return world.run(home / "memory.db")
    with played_gpu("gpu_well"):
        return world.run(home / "memory.db", device=device)


def is_tried(trouble, world, fresh, folder, capsys):
    memory = folder / "memory.db"
    with world.made(folder):
        with trouble.make(folder):
            code = world.run(memory, device=trouble.device)
        out, err = capsys.readouterr()
        assert code == 1, (out, err)
        assert trouble.cause in "\n".join(err.splitlines()[-5:])
        answer = json.loads(out)
        assert trouble.cause in answer.get("error", answer.get("why", ""))
        assert "Traceback" not in err
        assert verdicts(memory) == []
        assert run_on(world, folder, trouble.device) in (0, 3)
        next_run, first = found(capsys.readouterr().out), fresh(trouble.device)
        # What was measured before the trouble is remembered: it need not be measured again.
        assert next_run.pop("evaluations") <= first["evaluations"]
        assert next_run == {"best": first["best"], "proven": first["proven"]}


@pytest.mark.parametrize("trouble", CHEAP, ids=lambda t: t.name)
def test_the_cause_is_named_no_config_is_blamed_and_the_next_run_is_as_good_as_the_first(
    trouble, world, fresh, tmp_path, capsys
):
    is_tried(trouble, world, fresh, tmp_path, capsys)


@pytest.mark.long
@pytest.mark.parametrize("trouble", MORE, ids=lambda t: t.name)
def test_the_same_of_every_other_kind(trouble, world, fresh, tmp_path, capsys):
    is_tried(trouble, world, fresh, tmp_path, capsys)


def test_there_are_thirty_kinds():
    names = [trouble.name for trouble in (*CHEAP, *MORE)]
    assert len(set(names)) == len(names) >= 30
