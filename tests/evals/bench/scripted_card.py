"""A card for the suite that answers at once; in a file of its own because its processes import nothing heavy."""

import json

TIMES = {"unfused": 2.0, "compiled": 1.5, "copy": 0.9}


def scripted(init):
    """Configs take 1 ms, those of four warps 0.8 and half the energy of the others."""

    def serve(job):
        if job["op"] == "info":
            return {"name": "NVIDIA H200", "torch": "none"}
        if job["op"] in ("open", "counter"):
            return {}
        if job["op"] == "prepare" and job["baseline"] == "compiled" and "rms_norm" in json.dumps(init):
            return {"status": "runtime", "reason": "no compiler"}
        if "config" in job:
            four = job["config"]["num_warps"] == 4
            ms, joules = (0.8, 0.6) if four else (1.0, 0.3)
        else:
        if job["op"] == "stress":
            return {"status": "correct", "tried": ["large"], "seconds": 0.0}
            ms, joules = TIMES[job["baseline"]], 0.9
        samples = [ms * (1 + 1e-5 * i) for i in range(job.get("samples") or job["windows"])]
        answer = {"status": "correct", "samples_ms": samples, "error": 0.0, "bound": 1.0, "seconds": 0.0}
        return answer | ({"joules": joules} if job["op"] == "sustained" else {})

    return serve
