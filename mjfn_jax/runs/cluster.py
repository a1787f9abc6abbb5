"""Folds on a Ray cluster: each machine, or each GPU, trains a part of them.

The parts do not depend on each other. When a worker dies, Ray gives its part to another one,
which reads the finished folds and the last saved state in the run's folder. That folder must be
on a file system that all machines share.
"""

import contextlib
import dataclasses
import io
import logging
import math
import os
import pathlib
import secrets
import socket
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

from flow.disk import kept
from flow.errors import InputError
from mjfn_jax.data import Dataset
from mjfn_jax.models.network import Network
from mjfn_jax.runs import sweep
from mjfn_jax.runs.chunk import OnEpoch, silent
from mjfn_jax.runs.folder import FoldResult, Task
from mjfn_jax.train import Recipe

_ATTEMPTS = 4
"""How often a part is begun before its workers' deaths are taken for its own fault."""


def run(
    method: Network,
    clips: Dataset,
    tasks: Sequence[Task],
    held_out: Bool[np.ndarray, "F N"],
    recipe: Recipe,
    states: str | os.PathLike[str],
    address: str,
    save_every: float = 60.0,
    on_epoch: OnEpoch = silent,
    pretrained: Any = None,
) -> list[FoldResult]:
    """Train the folds on a Ray cluster; otherwise as :func:`mjfn_jax.runs.sweep.run`.

    The folds are split into equal parts, one for each GPU of the cluster, or, where there is no
    GPU, one for each eighth of a machine's cores. How many folds of a part are trained at a time
    is decided by the worker, for its own device.

    A worker on a CPU computes with as many threads as the run says, though it has a part of the
    cores only: the number of threads decides the order of sums, hence the last bits.

    Args:
      method, clips, held_out, recipe, save_every, pretrained: as for `sweep.run`.
      tasks: the folds; their folders are on a file system that all machines of the cluster share.
      states: folder for the states in training, on that file system too.
      address: `local` starts a cluster on this machine and ends it; any other is that of a
        running one, `HOST:PORT` or `auto`.
      on_epoch: as for `sweep.run`. What a dead worker had not saved is trained again, and
        counted once.

    Returns:
      A result for each task, as from `sweep.run`: on machines of one
      kind, to the bit.

    Raises:
      InputError: Ray is not installed, there is no cluster at `address`, `states` is not shared,
        workers die again and again, or what `sweep.run` raises.
    """
    states = pathlib.Path(states).absolute()
    tasks = [dataclasses.replace(task, out=task.out.absolute()) for task in tasks]
    cache = jax.config.jax_compilation_cache_dir
    shared = method, clips, held_out, recipe, states, save_every, pretrained, cache
    marker = _marker(states)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    try:
        with _joined(address, sweep.input_bytes(clips)) as ray:
            resources, workers = _share(ray.nodes())
            parts = [
                [tasks[i] for i in part]
                for part in np.array_split(np.arange(len(tasks)), min(workers, len(tasks)))
            ]
            # On this machine, so that the queue does not end with another one.
            here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=False
            )
            queue = ray.util.queue.Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
            stored = ray.put(shared)
            jobs = [
                ray.remote(_train_part)
                .options(
                    **resources,
                    name=f"{part[0].fold.name} to {part[-1].fold.name}",
                    max_retries=_ATTEMPTS - 1,
                    scheduling_strategy="SPREAD",
                )
                .remote(number, part, stored, queue)
                for number, part in enumerate(parts)
            ]
            results = _gather(ray, jobs, parts, queue, on_epoch)
    finally:
        marker.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # states for the next call
            marker.parent.rmdir()
    kept.remove(marker.parent)
    return results


def _marker(states):
    """Tells a worker that it sees the run's folder; keeps the folder of states from removal."""
    return states / ".cluster"


@contextlib.contextmanager
def _joined(address: str, size: int) -> Iterator[Any]:
    """The module `ray`, connected to the cluster."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anybody
    try:
        import ray
        import ray.util.queue
        import ray.util.scheduling_strategies
    except ImportError:
        raise InputError("--cluster needs Ray: pip install 'mjfn-jax[cluster]'") from None
    _reach(address)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    with contextlib.ExitStack() as stack:
        # A worker's end is news that Ray prints on stdout, whatever it is told.
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if address == "local":
            # Only who knows the token may use the cluster. Without this one Ray would write a
            # lasting one to the home folder.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            # Ray's sockets are below this folder, and their paths must be short.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp"))
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=size + 2**28,
                _temp_dir=folder,
                **quiet,
            )
        else:
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise _no_cluster(address, error) from None
        stack.callback(ray.shutdown)
        yield ray


def _reach(address):
    """Find out in seconds what takes Ray minutes: whether anybody answers there."""
    if address in ("local", "auto"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"--cluster={address}: name local, auto or HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise _no_cluster(address, error) from None


def _no_cluster(address, error):
    return InputError(
        f"--cluster={address}: no cluster could be joined ({str(error).strip().splitlines()[0]}); "
        "start one with `ray start --head` and the same versions of Python and Ray, or give "
        "--cluster=local; one that asks for a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
    )


def _share(nodes: Sequence[dict[str, Any]]) -> tuple[dict[str, int], int]:
    """What a part takes of a machine, and how many parts the cluster trains at a time."""
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = sum(int(machine.get("GPU", 0)) for machine in machines)
    if gpus:
        return {"num_cpus": 1, "num_gpus": 1}, gpus
    cores = [int(machine.get("CPU", 0)) for machine in machines]
    if not any(cores):
        raise InputError(
            "the cluster has no machine to train on: `ray start --address=HOST:PORT` adds one"
        )
    share = math.ceil(min(filter(None, cores)) / 8)
    return {"num_cpus": share}, sum(count // share for count in cores)


def _train_part(number, tasks, shared, queue):
    """A task of the cluster: train a part of the folds.

    After each epoch (part, worker, epochs of folds done, loss) are put into the queue.
    """
    method, clips, held_out, recipe, states, save_every, pretrained, cache = shared
    host = socket.gethostname()
    if not _marker(states).exists():
        raise InputError(
            f"{states}: not the same folder on {host}; choose an --out on a file system that all "
            "machines of the cluster share"
        )
    jax.config.update("jax_compilation_cache_dir", cache)
    if number_of_threads := tasks[0].identity.get("threads"):
        os.environ["NPROC"] = str(number_of_threads)  # JAX has computed nothing here yet
    if chosen := tasks[0].identity.get("kernels"):
        os.environ["XLA_FLAGS"] = " ".join(chosen["flags"])
    total = 0

    def on_epoch(done, loss):
        nonlocal total
        total += done
        queue.put((number, f"{host}:{os.getpid()}", total, float(loss)))

    return sweep.run_together(
        method,
        clips,
        tasks,
        held_out,
        recipe,
        states,  # with the other parts'
        save_every=save_every,
        on_epoch=on_epoch,
        pretrained=pretrained,
    )


def _gather(ray, jobs, parts, queue, on_epoch):
    """The jobs' results in order; meanwhile, their epochs."""
    done, begun, workers = [0] * len(parts), [0] * len(parts), [None] * len(parts)

    def count():
        for part, worker, total, loss in queue.get_nowait_batch(queue.qsize()):
            if math.isnan(loss):
                begun[part] = total
            elif workers[part] != worker:
                if workers[part]:
                    logging.info(
                        "worker %s is gone; %s goes on with its folds (%s to %s) after epoch %d",
                        workers[part],
                        worker,
                        parts[part][0].fold.name,
                        parts[part][-1].fold.name,
                        begun[part] // len(parts[part]),
                    )
                workers[part] = worker
            on_epoch(max(0, total - done[part]), loss)
            done[part] = max(total, done[part])

    pending = jobs
    while pending:
        ready, pending = ray.wait(pending, timeout=0.2)
        count()
        try:
            ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, (InputError, OSError)):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            raise InputError(
                f"workers of the cluster died {_ATTEMPTS} times at the same folds "
                f"({str(error).strip().splitlines()[0]}); finished folds are kept, and the same "
                "command continues"
            ) from None
    return [result for results in ray.get(jobs) for result in results]
