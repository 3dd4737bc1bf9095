"""How long a process group could not run because the processors were busy with others."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


class RunDelay:
    """Adds up what the threads of a group waited for a processor, as Linux keeps it: the second number of
    ``/proc/PID/task/TID/schedstat``, nanoseconds since the thread began (Documentation/scheduler/sched-stats.rst).

    Where the kernel keeps no such numbers the wait is 0. Of the threads the one counts that waited most since the last
    look: what they wait for at the same time is one wait."""

    def __init__(self, group: int) -> None:
        """`group` is the group's id."""
        self._group = group
        self._before = self._read()
        self._seconds = 0.0

    def seconds(self) -> float:
        """Seconds that the group has waited since this was made. Each call looks once; a process that begins and ends
        between two calls is not seen."""
        now = self._read()
        self._seconds += max((ns - self._before.get(thread, 0) for thread, ns in now.items()), default=0) / 1e9
        self._before = now
        return self._seconds

    def _read(self) -> dict[str, int]:
        """Thread → nanoseconds."""
        found = {}
        for process in PROC.iterdir():
            if not process.name.isdecimal():
                continue
            try:
                if int((process / "stat").read_text().rpartition(")")[2].split()[2]) != self._group:
                    continue
                for thread in (process / "task").iterdir():
                    found[thread.name] = int((thread / "schedstat").read_text().split()[1])
            except (OSError, IndexError, ValueError):  # it has ended meanwhile, or the kernel keeps no such numbers
                continue
        return found
