#!/usr/bin/env bash
# threadpoolctl 3.8.0 (with numpy 2.4.1 and its OpenBLAS): `with threadpool_limits(1)` in two threads whose blocks overlap.
# The number of BLAS threads belongs to the process. Each block notes what it found when it began and puts that back when
# it ends, so the first thread to leave gives all cores back while the second is still inside its block; and when the
# second leaves, it puts back the 1 that it had found: from then on the process is limited, outside any block.
# Seen output:
#   before 2, both inside 1, one has left 2, none is inside 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check numpy==2.4.1 threadpoolctl==3.8.0
cat > two.py <<'PY'
import threading

import numpy  # noqa: F401 -- loads OpenBLAS
from threadpoolctl import threadpool_info, threadpool_limits


def threads_of_blas():
    return next(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")


def inside(entered, leave):
    with threadpool_limits(1, "blas"):
        entered.set()
        leave.wait()


before = threads_of_blas()
started = []
for _ in range(2):
    entered, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=inside, args=(entered, leave))
    thread.start()
    entered.wait()
    started.append((thread, leave))
seen = [before, threads_of_blas()]
for thread, leave in started:
    leave.set()
    thread.join()
    seen.append(threads_of_blas())
print("before {}, both inside {}, one has left {}, none is inside {}".format(*seen))
PY
seen=$(OPENBLAS_NUM_THREADS=2 venv/bin/python two.py)
echo "$seen"
[ "$seen" = "before 2, both inside 1, one has left 2, none is inside 1" ]
