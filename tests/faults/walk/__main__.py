"""Walks every command through every kind of wrong world and counts what is wrong with how it ends.

``python -m tests.faults.walk`` takes half an hour on two cores; ``--slice 1/6`` is a part of it, ``--only TEXT`` the
cases with TEXT in their command or kind. Exit code 1 if a fault was found."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.walk import fixtures
from tests.faults.walk.case import KINDS, Case, Ended, faults, run
from tests.faults.walk.commands import COMMANDS, leaves
from tests.faults.walk.worlds import WORLDS, Maker


def cases(files: dict[str, Path], folder: Path) -> list[Case]:
    """All of them."""
    found, known = [], leaves()
    for number, command in enumerate(COMMANDS):
        maker = Maker(command, known[command.words], files, folder / f"{number:02}")
        for world in WORLDS:
            found += world(maker)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT")
    parser.add_argument("--slice", default="1/1", metavar="I/N")
    weight = parser.add_mutually_exclusive_group()
    weight.add_argument("--light", action="store_true", help="Leave out the commands that import PyTorch.")
    weight.add_argument("--heavy", action="store_true", help="Try only the commands that import PyTorch.")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write the counts and the faults here.")
    given = parser.parse_args()
    part, parts = map(int, given.slice.split("/"))
    with tempfile.TemporaryDirectory(prefix="walk-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        files = fixtures.make(folder / "files")
        chosen = [c for c in cases(files, folder / "cases") if given.only in f"{c.command.words}: {c.kind}"]
        weights = {False} if given.light else {True} if given.heavy else {False, True}
        chosen = [c for c in chosen if c.command.heavy in weights][part - 1 :: parts]
        print(f"{len(chosen)} cases of {len({c.command.words for c in chosen})} commands", flush=True)
        with ThreadPoolExecutor(given.processes) as pool:
            ended = list(pool.map(_try, chosen))
    return report(list(zip(chosen, ended, strict=True)), given.json)


def _try(case: Case) -> tuple[Ended, list[str]]:
    ended = run(case)
    found = faults(case, ended)
    for fault in found:
        print(f"{case.name[:300]}\n    {fault}", flush=True)
    return ended, found


def report(done: list[tuple[Case, tuple[Ended, list[str]]]], out: Path | None) -> int:
    kinds = Counter(fault.partition(":")[0] for _, (_, found) in done for fault in found)
    worlds = Counter(case.kind for case, (_, found) in done if found)
    wrong = sum(bool(found) for _, (_, found) in done)
    print(f"\n{len(done)} cases, {len({c.kind for c, _ in done})} kinds of world, {wrong} with a fault")
    print("\n".join(f"{kinds[kind]:5} {kind}" for kind in KINDS))
    print("\n".join(f"{count:5} {kind}" for kind, count in worlds.most_common()))
    if out is not None:
        rows = [{"case": c.name, "code": e.code, "faults": found} for c, (e, found) in done if found]
        out.write_text(json.dumps({"cases": len(done), "wrong": wrong, "kinds": kinds, "faults": rows}, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
