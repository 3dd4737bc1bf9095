"""A nursery's children are as if each had been started for itself. What any child does is in test_child.py."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.faults.walk.commands import ROOT
from tests.tools.harness.test_child import gone
from tools.harness.process import nursery
from tools.harness.process.child import Child, ChildUnborn

pytestmark = pytest.mark.process

FACTORY = "tests.tools.harness.test_child:echo"
BIRTHS = []


def before_fork():
    """This module's, in the nursery."""
    time.sleep(0.5)
    BIRTHS.append(os.getpid())


def counting(init):
    kept = {"searched": gc.isenabled(), "left out": gc.get_freeze_count()}
    about = {"parent": os.getppid(), "group": os.getpgid(0), "pid": os.getpid()}
    return lambda job: {"imported by": BIRTHS, "garbage": kept, **about}


def littering(init):
    """Makes a folder, and has a child that makes one too: neither removes its own."""
    folder = tempfile.mkdtemp()
    child = Child(init["below"], {"below": None}, forked=True) if init["below"] else None
    return lambda job: {"folders": [folder, *(child.call(job, 20)["folders"] if child else [])]}


def dying(init):
    os._exit(3)


@pytest.fixture
def fork():
    """A function that makes a child of a nursery, by default of one of this test's own."""
    made = []

    def fork(factory="tests.tools.harness.test_nursery:counting", init=None, **more):
        made.append(Child(factory, init or {}, forked=True, **more))
        return made[-1]

    known = dict(nursery._nurseries)
    nursery._nurseries.clear()
    yield fork
    for child in made:
        child.kill()
    for own in nursery._nurseries.values():
        own.close()
    nursery._nurseries.update(known)


def the_nursery():
    [found] = nursery._nurseries.values()
    return found.process


def test_imports_are_made_once_and_every_child_leads_a_group_of_its_own(fork):
    answers = [fork().call({}, 20) for _ in range(2)]
    assert [a["imported by"] for a in answers] == [[the_nursery().pid]] * 2
    assert {a["parent"] for a in answers} == {the_nursery().pid}
    assert all(a["group"] == a["pid"] for a in answers)
    assert answers[0]["pid"] != answers[1]["pid"]


def test_a_child_looks_for_garbage_but_not_in_what_was_imported(fork):
    garbage = fork().call({}, 20)["garbage"]
    assert garbage["searched"]
    assert garbage["left out"] > 10_000


def test_a_child_sees_the_world_as_it_is_when_it_is_born(fork, monkeypatch, tmp_path):
    first = fork(FACTORY, env={"SEEN": "first"}, nice=1).call({"see": 1}, 20)
    monkeypatch.chdir(tmp_path)
    second = fork(FACTORY, env={"SEEN": "second"}, nice=1).call({"see": 1}, 20)
    assert (first["environment"], second["environment"]) == ("first", "second")
    assert (Path(first["folder"]), Path(second["folder"])) == (Path(__file__).parents[3], tmp_path)
    assert first["niceness"] == second["niceness"] == os.nice(0) + 1


def test_temporary_files_of_a_child_and_of_its_children_go_with_it(fork):
    factory = "tests.tools.harness.test_nursery:littering"
    child = fork(factory, {"below": factory})
    folders = child.call({}, 20)["folders"]
    assert [Path(f).is_dir() for f in folders] == [True, True]
    child.kill()
    assert not any(Path(f).exists() for f in folders)
    script = (
        "from tools.harness.process.child import Child\n"
        f"print(Child({factory!r}, {{'below': None}}, forked=True).call({{}}, 20)['folders'][0])\n"
    )  # nobody ends this one
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.stdout.startswith(tempfile.gettempdir())
    assert not Path(done.stdout.strip()).exists()


@pytest.mark.parametrize("asked", [(10, 14), (14, 10)])
def test_each_child_has_its_own_niceness_whoever_was_first(fork, asked):
    own = os.nice(0)
    found = [fork(FACTORY, nice=nice).call({"see": 1}, 20)["niceness"] for nice in asked]
    assert found == [min(19, own + nice) for nice in asked]
    assert the_nursery()  # one for both


def test_a_child_that_is_killed_before_its_birth_costs_no_wait_and_is_never_heard_of(fork):
    child = fork()
    child.kill()
    assert not child.alive
    later = fork().call({}, 20)
    before = Path(f"/proc/{the_nursery().pid}/task/{the_nursery().pid}/children")
    until = time.monotonic() + 5
    while before.read_text().split() != [str(later["pid"])]:
        assert time.monotonic() < until


def test_a_nursery_that_still_imports_ends_with_its_process(tmp_path):
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    script = (
        "from tools.harness.process import nursery\n"
        "from tools.harness.process.child import Child\n"
        "child = Child('slow:serve', {}, {'PYTHONPATH': '" + str(tmp_path) + "'}, forked=True)\n"
        "print(*(n.process.pid for n in nursery._nurseries.values()))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert gone(int(done.stdout))


def test_a_nursery_that_was_killed_takes_no_child_along_and_is_replaced(fork):
    child = fork()
    assert child.call({}, 20)["pid"]
    os.kill(the_nursery().pid, signal.SIGKILL)
    assert gone(the_nursery().pid)
    assert child.call({}, 20)["imported by"] == [the_nursery().pid]
    old = the_nursery().pid
    assert fork().call({}, 20)["imported by"] == [the_nursery().pid] != [old]


def test_what_cannot_be_imported_is_named_by_the_child(fork):
    with pytest.raises(ChildUnborn, match=r"No module named 'tests\.nowhere'"):
        fork("tests.nowhere:factory").call({}, 20)


def test_a_child_that_ends_in_its_factory_is_named_by_its_exit_code(fork):
    with pytest.raises(ChildUnborn, match="exit code 3"):
        fork("tests.tools.harness.test_nursery:dying").call({}, 20)


def test_two_threads_may_end_one_child(fork):
    for _ in range(20):
        child = fork()
        child.wait_until_ready()
        child.send_kill()
        together, failed = threading.Barrier(2), []

        def end(child=child, together=together, failed=failed):
            together.wait()
            try:
                child.kill()
            except Exception as e:  # noqa: BLE001 -- shown below
                failed.append(e)

        threads = [threading.Thread(target=end) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert not child.alive
