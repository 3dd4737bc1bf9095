"""How a fleet is named in a device string, and the way to its Ray cluster.

``cuda:all`` is every GPU of this host; ``ray:ADDRESS`` every GPU of a running Ray cluster (``ray:auto``,
``ray:10.0.0.1:6379``). Either may end in ``,type=H200``: a run is for one type of GPU.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tools.harness.device import DeviceError

INSTALL = "pip install 'triton-autokernel[ray]'"
LOCAL = "cuda:all"
PREFIX = "ray:"
TYPE = ",type="
CONNECT_S = 5.0


@dataclass(frozen=True)
class FleetAddress:
    """Where the GPUs are."""

    cluster: str | None
    """Address of a running cluster; ``None`` for the GPUs of this host."""
    device_type: str | None
    """A part of the GPU's name, in any case; ``None`` where there is only one type."""

    def fits(self, name: str) -> bool:
        """Whether a GPU that the driver calls `name` is of the type."""
        return self.device_type is None or self.device_type.lower() in name.lower()


def parse(device: str) -> FleetAddress | None:
    """The fleet that `device` names; ``None`` for a single device. Raises DeviceError for half a name."""
    where, comma, device_type = device.partition(TYPE)
    if where != LOCAL and not where.startswith(PREFIX):
        return None
    if comma and not device_type:
        raise DeviceError(f"{device!r} names no type of GPU after {TYPE!r}: write e.g. {where}{TYPE}H200")
    cluster = None if where == LOCAL else where.removeprefix(PREFIX)
    if cluster == "":
        raise DeviceError("--ray needs the cluster's address: write e.g. --ray auto or --ray 10.0.0.1:6379")
    return FleetAddress(cluster, device_type or None)


def named(device: str | None, cluster: str | None, device_type: str | None) -> str | None:
    """The device string of ``--device``, ``--ray`` and ``--device-type``. Raises DeviceError where they contradict."""
    if cluster is not None:
        if device is not None:
            raise DeviceError(f"--ray names the devices already: leave out --device {device}")
        device = f"{PREFIX}{cluster}"
    if device_type is None:
        return device
    if device is None or parse(device) is None:
        raise DeviceError("--device-type chooses among many GPUs: it goes with --ray or --device cuda:all")
    return f"{device}{TYPE}{device_type}"


def load_ray() -> Any:
    """The ``ray`` module. Raises DeviceError where it is not installed."""
    try:
        import ray
    except ImportError as e:
        raise DeviceError(f"several GPUs are driven through Ray, which is not installed: {INSTALL}") from e
    return ray


def gpus_of_host() -> int:
    """How many GPUs this host has. Raises DeviceError if there is none."""
    from tools.harness.measuring.telemetry import gpus_present

    there = gpus_present()
    if there == 0:
        raise DeviceError("there is no GPU on this machine: use --device recorded, or --ray for a cluster")
    return there


def connect(address: FleetAddress) -> Any:
    """The ``ray`` module, connected; a cluster that this process is connected to is used as it is.

    Raises DeviceError."""
    ray = load_ray()
    if ray.is_initialized():
        return ray
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray is about to stop hiding GPUs from tasks that ask for none, and warns of it on every start unless told.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        if address.cluster is not None:
            require_reachable(address.cluster)
            ray.init(address.cluster, **quiet)
        else:
            there = gpus_of_host()
            with exported_paths():
                ray.init("local", num_gpus=there, include_dashboard=False, **quiet)
        print_errors_on_stderr(ray)
    except DeviceError:
        raise
    except (OSError, ValueError, RuntimeError) as e:
        why = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        where = address.cluster or "this host"
        raise DeviceError(f"no Ray cluster can be had at {where} ({why}): see `ray status` there") from e
    finally:  # Ray takes SIGTERM for itself; here a polite kill unwinds like Ctrl-C
        if terminated is not None and signal.getsignal(signal.SIGTERM) is not terminated:
            signal.signal(signal.SIGTERM, terminated)
    return ray


@contextmanager
def exported_paths() -> Iterator[None]:
    """Processes that are started inside this context, and their children, import from this process's ``sys.path``."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def print_errors_on_stderr(ray: Any) -> None:
    """Have Ray's driver print the cluster's errors on stderr: Ray has no option for it, and stdout is our result's."""
    worker = ray._private.worker
    original = getattr(worker, "print_to_stdstream", None)
    if original is not None:
        worker.print_to_stdstream = lambda data, ignore_prefix: original({**data, "is_err": True}, ignore_prefix)


def require_reachable(cluster: str) -> None:
    """Connect to ``HOST:PORT`` once, because Ray takes minutes to give up. Raises OSError if nobody listens there."""
    host, _, port = cluster.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
