"""What a result was computed on."""

import os
import pathlib
import platform
from typing import Any

import jax

from flow.cores import cores


def hardware() -> dict[str, Any]:
    """The devices that JAX computes on, and the processor."""
    model = platform.processor() or platform.machine()
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {
        "devices": [device.device_kind for device in jax.devices()],
        "processor": model,
        "cores": cores(),
    }


def threads() -> int | None:
    """Threads that XLA computes with on a CPU, on which the last bits of sums depend; None on an
    accelerator. XLA takes what the environment names as NPROC, or else one a core."""
    if jax.default_backend() != "cpu":
        return None
    named = os.environ.get("NPROC", "")
    number = int(named) if named.isdecimal() and int(named) else cores()
    return max(number, jax.local_device_count())
