"""Folds on a Ray cluster of this machine: the same bits as without it, also when a worker dies."""

import logging
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from test_sweep import FLOWS, FOLDS, HELD_OUT, MODEL, assert_same, damage, parameters, tasks_of

from flow.errors import InputError
from mjfn_jax.runs import cluster, sweep
from mjfn_jax.train import Recipe

RECIPE = Recipe(epochs=30, batch_size=4)

# Ray starts its processes by fork and exec at once; JAX warns of every fork.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork\\(\\) was called:RuntimeWarning")

CLUSTER = """
import sys, tempfile, ray
with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=2**28,
        _temp_dir=folder,
    )
    print("address", ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
    ray.shutdown()
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A cluster of two workers, whose workers find the tests' modules."""
    tests = str(pathlib.Path(__file__).parent)
    path = os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env={**os.environ, **token, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process, pytest.MonkeyPatch.context() as patch:
        for name, value in token.items():
            patch.setenv(name, value)
        lines = iter(process.stdout.readline, "")
        yield next(line.split()[1] for line in lines if line.startswith("address"))
        process.stdin.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without a cluster: its folder and its results."""
    out = tmp_path_factory.mktemp("whole")
    return out, run_plainly(out)


def run_plainly(out, recipe=RECIPE, **trial):
    tasks = tasks_of(out, recipe=recipe, **trial)
    return sweep.run(MODEL, FLOWS, tasks, HELD_OUT, recipe, out / "state")


def run(address, out, recipe=RECIPE, trial=None, **options):
    tasks = tasks_of(out, recipe=recipe, **(trial or {}))
    return cluster.run(
        MODEL, FLOWS, tasks, HELD_OUT, recipe, out / "state", address, save_every=0.0, **options
    )


def worker_of(part):
    """Process id of the worker that trains a part; Ray names the process after the task."""
    for cmdline in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = cmdline.read_bytes()
        except OSError:  # ended meanwhile
            continue
        if title.startswith(f"ray::{part[0].name} to {part[-1].name}".encode()):
            return int(cmdline.parent.name)
    return None


def test_a_killed_workers_folds_go_on_from_their_last_state_with_the_same_bits(
    address, whole, tmp_path, caplog, capfd
):
    parts = {"0": FOLDS[:3], "3": FOLDS[3:]}
    killed, counted = {}, []

    def kill(done, loss):
        counted.append(done)
        for state in tmp_path.glob("state/*/*"):
            if not killed and state.name.isdigit() and int(state.name) > 2:
                part = parts[state.parent.name.partition("-")[0]]
                if pid := worker_of(part):
                    os.kill(pid, signal.SIGKILL)
                    killed.update(pid=pid, part=part, epoch=int(state.name))

    with caplog.at_level(logging.INFO):
        done = run(address, tmp_path, on_epoch=kill)
    assert_same(done, whole[1])
    jax.tree.map(np.testing.assert_array_equal, parameters(tmp_path), parameters(whole[0]))
    (told,) = re.findall(
        r"worker .*:(\d+) is gone; .*:(\d+) .*\((.*) to .*\) .* (\d+)", caplog.text
    )
    assert told[0] == str(killed["pid"]) != told[1]
    assert told[2] == killed["part"][0].name
    assert killed["epoch"] <= int(told[3]) < RECIPE.epochs
    assert sum(counted) == len(FOLDS) * RECIPE.epochs
    assert capfd.readouterr().out == ""
    assert {path.name for path in tmp_path.iterdir()} == {"folds"}


def test_folds_that_fail_come_back_as_from_a_plain_run(address, tmp_path):
    recipe, trial = Recipe(epochs=2, batch_size=4), {"rate": 3e38}
    wanted = run_plainly(tmp_path / "plain", recipe, **trial)
    done = run(address, tmp_path / "out", recipe, trial)
    assert_same(done, wanted)
    assert [result.failed_at for result in done] == [0] * len(FOLDS)
    assert not (tmp_path / "out" / "state").exists()


def test_a_workers_input_error_is_raised_here_and_finished_folds_stay(address, whole, tmp_path):
    out = shutil.copytree(whole[0], tmp_path / "out")
    victim = out / "folds" / "samm_7" / "fold.json"
    damage(victim)
    with pytest.raises(InputError, match=r"altered.*delete that folder") as caught:
        run(address, out)
    assert str(victim) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(list(out.glob("folds/[!.]*"))) == len(FOLDS)


def test_an_out_that_a_worker_does_not_see_is_refused(tmp_path):
    shared = (MODEL, FLOWS, HELD_OUT, RECIPE, tmp_path, 60.0, None, None)
    with pytest.raises(InputError, match=r"file system that all machines of the cluster share"):
        cluster._train_part(0, tasks_of(tmp_path), shared, None)


def test_without_ray_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'mjfn-jax\[cluster\]'"):
        run("local", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_address_where_nobody_answers_is_named(tmp_path):
    with socket.socket() as bound:  # nobody listens at its port
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(InputError, match=rf"--cluster={address}: no cluster could be joined"):
            run(address, tmp_path)
    with pytest.raises(InputError, match=r"--cluster=here: name local, auto or HOST:PORT"):
        run("here", tmp_path)


def machine(alive=True, **resources):
    return {"Alive": alive, "Resources": resources}


def test_a_part_takes_a_gpu_or_an_eighth_of_a_machine():
    gpus = [machine(CPU=64.0, GPU=4.0), machine(CPU=8.0), machine(False, CPU=64.0, GPU=4.0)]
    assert cluster._share(gpus) == ({"num_cpus": 1, "num_gpus": 1}, 4)
    assert cluster._share([machine(CPU=2.0)]) == ({"num_cpus": 1}, 2)
    assert cluster._share([machine(CPU=64.0), machine(memory=1.0)]) == ({"num_cpus": 8}, 8)
    assert cluster._share([machine(CPU=12.0), machine(CPU=64.0)]) == ({"num_cpus": 2}, 38)
    with pytest.raises(InputError, match="no machine to train on"):
        cluster._share([machine(memory=1.0)])
