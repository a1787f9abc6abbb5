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


def kernels() -> dict[str, Any]:
    """What chooses XLA's kernels, on which the last bits depend: the flags that the environment
    gives as XLA_FLAGS, and whether several kernels are tried on the device (`autotuned`)."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    # Those that choose nothing: what to write down, and how many devices a CPU plays.
    flags = sorted(
        flag
        for flag in flags
        if not flag.startswith(("--xla_dump", "--xla_force_host_platform_device_count"))
    )
    by_rule = {"--xla_gpu_deterministic_ops=true", "--xla_gpu_autotune_level=0"}
    tried = jax.default_backend() != "cpu" and not by_rule.intersection(flags)
    return {"flags": flags, "autotuned": tried}
