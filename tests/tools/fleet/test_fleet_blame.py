"""Which job killed an actor, when the answer of another is lost with it. Ray's part is played, so that it always is."""

from types import SimpleNamespace

import pytest

from tools.fleet.fleet import Fleet, Job, Worker


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class Reference:
    def __init__(self):
        self.value = self.error = None

    @property
    def done(self):
        return self.value is not None or self.error is not None


class Actor:
    """Works through what it was given only when somebody waits, and dies over a deadly job with all that it has."""

    def __init__(self, started):
        self.queue = []
        started.append(self)
        for method in ("hello", "work"):
            setattr(self, method, SimpleNamespace(remote=lambda *args, method=method: self._given(method, args)))

    def _given(self, method, args):
        reference = Reference()
        self.queue.append((reference, method, args))
        return reference

    def run(self):
        dies = any(args == ("deadly",) for _, _, args in self.queue)
        for reference, method, args in self.queue:
            if dies:
                reference.error = RayError("the actor died")
            else:
                reference.value = {"said": "hello"} if method == "hello" else {"did": args[0]}
        self.queue = []


class PlayedRay:
    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self):
        self.started = []

    def wait(self, references, num_returns=1, timeout=None):
        for actor in self.started:
            actor.run()
        done = [r for r in references if r.done]
        done.reverse()  # Ray promises no order
        return done[:num_returns], [r for r in references if r not in done[:num_returns]]

    def get(self, reference, timeout=None):
        if reference.error is not None:
            raise reference.error
        return reference.value

    def kill(self, actor, no_restart):
        actor.queue = []


@pytest.mark.parametrize("place", range(3, 9))
def test_the_job_that_kills_two_actors_is_blamed_and_no_other(place):
    ray = PlayedRay()
    fleet = Fleet(ray, [Worker(lambda: Actor(ray.started))])
    fleet.greet()
    names = [f"job {n}" for n in range(9)]
    names.insert(place, "deadly")
    found = {job.subject: answer for job, answer in fleet.run(Job("work", (name,), 60.0, name) for name in names)}
    assert found.pop("deadly")["status"] == "infrastructure"
    assert found == {name: {"did": name} for name in names if name != "deadly"}
    assert fleet.deaths == 2


def test_what_an_actor_says_of_its_machine_costs_it_its_place():
    """A full disk there, say: the job goes to another, and the reason is kept if there is none."""
    ray = PlayedRay()

    class Gone(Actor):
        def run(self):
            for reference, method, _ in self.queue:
                broken = {"gone": "no space is left"} if method == "work" else {"missing": "no space is left"}
                first = len(ray.started) == 1
                reference.value = {"said": "hello"} if method == "hello" and first else broken
            self.queue = []

    fleet = Fleet(ray, [Worker(lambda: Gone(ray.started))])
    fleet.greet()
    [(_, answer)] = fleet.run([Job("work", ("job",), 60.0)])
    assert answer["status"] == "infrastructure"
    assert "no worker of the fleet can be had any more: no space is left" in answer["reason"]
    assert fleet.lost
