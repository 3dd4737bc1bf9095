"""Processes of runs that play nothing: what becomes of a run stands in its player's name.

``sleep:SECONDS`` ends after that time, ``die`` is killed, ``raise`` fails, ``rubbish`` answers what is no run. Each
writes its process's number into the folder in PACED_FOLDER.
"""

import os
import signal
import time
from pathlib import Path

FOLDER = "PACED_FOLDER"


def paced(init):
    def serve(job):
        if FOLDER in os.environ:
            Path(os.environ[FOLDER], f"{job['task']}-{job['player']}").write_text(str(os.getpid()))
        kind, _, seconds = job["player"].partition(":")
        match kind:
            case "sleep":
                time.sleep(float(seconds))
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raise":
                raise ValueError("no such thing")
            case "rubbish":
                return {"runs": 3}
        return {"task": job["task"], "player": job["player"], "why": f"lock {Path(job['place']['lock']).name}"}

    return serve
