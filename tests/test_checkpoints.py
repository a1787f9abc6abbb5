"""Checkpoints: whole or absent, checked before they are read, and readable by stock Orbax."""

import errno
import os
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import optax
import pytest
from orbax.checkpoint import v1 as ocp

import mjfn_jax
from flow.errors import InputError, one_line
from mjfn_jax.models import make
from mjfn_jax.runs import checkpoints

CONFIG = {"method": {"name": "mjfn-bbn", "settings": {"num_classes": 3, "num_jfms": 0}}}


def tree(seed=0):
    random = np.random.default_rng(seed)
    params = {"params": {"conv1": {"kernel": random.normal(size=(3, 5)).astype(np.float32)}}}
    adam = optax.adam(0.1).init(jax.tree.map(jnp.asarray, params))
    return {"params": params, "adam": adam, "count": np.arange(4, dtype=np.uint8)}


def assert_identical(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_saved_comes_back_with_its_types(tmp_path):
    checkpoints.save(tmp_path / "a", tree(), CONFIG, {"note.txt": "text"})
    back = checkpoints.restore(tmp_path / "a", tree(1))
    assert_identical(back, tree())
    assert jax.tree.structure(back) == jax.tree.structure(tree())
    for leaf, wanted in zip(jax.tree.leaves(back), jax.tree.leaves(tree()), strict=True):
        assert isinstance(leaf, np.ndarray)
        assert leaf.dtype == wanted.dtype
    assert checkpoints.config_of(tmp_path / "a") == CONFIG
    assert (tmp_path / "a" / "note.txt").read_text() == "text"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_relative_path_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoints.save("a", tree(), CONFIG)
    assert_identical(checkpoints.restore("a", tree(1)), tree())


def test_stock_orbax_reads_a_checkpoint(tmp_path):
    params = tree()["params"]
    checkpoints.save(tmp_path / "a", params, CONFIG)
    assert_identical(ocp.load(tmp_path / "a"), params)


def test_an_earlier_checkpoint_is_replaced(tmp_path):
    checkpoints.save(tmp_path / "a", tree(0), CONFIG, {"old.txt": ""})
    checkpoints.save(tmp_path / "a", tree(1), {})
    assert_identical(checkpoints.restore(tmp_path / "a", tree(2)), tree(1))
    assert not (tmp_path / "a" / "old.txt").exists()


class Killed(BaseException):
    """The end of a process; nothing catches it."""


@pytest.mark.parametrize("moment", ["save", "manifest", "replace"])
def test_a_checkpoint_is_whole_or_absent(tmp_path, monkeypatch, moment):
    def die(folder, *_, **__):
        if moment == "save":  # Orbax writes below this name before it gives the final one
            half = folder.with_name(folder.name + ".orbax-checkpoint-tmp")
            half.mkdir()
            (half / "half").write_text("")
        raise Killed

    module, name = {
        "save": (checkpoints.ocp, "save"),
        "manifest": (checkpoints.manifest, "write"),
        "replace": (os, "replace"),
    }[moment]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module, name, die)
        checkpoints.save(tmp_path / "a", tree(), CONFIG)
    assert not (tmp_path / "a").exists()
    checkpoints.save(tmp_path / "a", tree(), CONFIG)
    assert_identical(checkpoints.restore(tmp_path / "a", tree(1)), tree())
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


ORBAX_SAYS = (
    'RESOURCE_EXHAUSTED: Error writing "k/c/0/0" in OCDBT database at local file "/x/": '
    "Failed to write 666495 bytes to file 18: No space left on device [os_error_code='28']"
)


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, monkeypatch):
    def full(folder, *_, **__):
        (folder.with_name(folder.name + ".orbax-checkpoint-tmp")).mkdir()
        raise ValueError(ORBAX_SAYS)

    checkpoints.save(tmp_path / "a", tree(), CONFIG)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.ocp, "save", full)
        with pytest.raises(SystemExit, match=r"a: the disk is full: free some space"), one_line():
            checkpoints.save(tmp_path / "a", tree(1), CONFIG)
        with pytest.raises(OSError, match="No space") as caught:
            checkpoints.save(tmp_path / "a", tree(1), CONFIG)
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["a"]  # no half of one takes up room
    assert_identical(checkpoints.restore(tmp_path / "a", tree(2)), tree())


def test_another_error_of_orbax_is_not_taken_for_the_disks(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("no such type")

    monkeypatch.setattr(checkpoints.ocp, "save", refuse)
    with pytest.raises(ValueError, match="no such type"):
        checkpoints.save(tmp_path / "a", tree(), CONFIG)


def test_any_altered_or_missing_file_is_named(tmp_path):
    folder = tmp_path / "a"
    checkpoints.save(folder, tree(), CONFIG, {"note.txt": "text"})
    for path in files(folder):
        if path.name == "MANIFEST.sha256":
            continue
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if content else b"x")
        with pytest.raises(InputError, match="altered") as caught:
            checkpoints.restore(folder, tree())
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        path.unlink()
        with pytest.raises(InputError, match="missing") as caught:
            checkpoints.restore(folder, tree())
        assert str(path) in str(caught.value)
        path.write_bytes(content)
    assert_identical(checkpoints.restore(folder, tree(1)), tree())


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A checkpoint of an MJFN-BbN that was never trained."""
    folder = tmp_path_factory.mktemp("network") / "model"
    random = np.random.default_rng(0)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.uint8)
    params = jax.tree.map(
        lambda leaf: random.normal(0, 0.02, leaf.shape).astype(np.float32),
        jax.eval_shape(make("mjfn-bbn").init, jax.random.key(0), images),
    )
    checkpoints.save(folder, params, CONFIG)
    return folder, params


def test_a_loaded_network_gives_its_probabilities(network):
    folder, params = network
    images = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), np.uint8)
    wanted = numpy_layers.mjfn(images, params["params"], 0, "average")
    for path in (folder, folder.parent, str(folder.parent)):  # also the folder of a run
        classify = mjfn_jax.load(path)
    probabilities = classify(images)
    assert probabilities.shape == (2, 3)
    np.testing.assert_allclose(probabilities, wanted, rtol=1e-4)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert wanted.std() > 1e-4


USE = """
import sys
sys.modules["cv2"] = None  # importing it fails
import numpy, mjfn_jax
from flow.errors import InputError
classify = mjfn_jax.load(sys.argv[1])
for shape, dtype in ((1, 224, 224, 3), float), ((1, 100, 224, 3), "u1"), ((224, 224, 3), "u1"):
    try:
        classify(numpy.zeros(shape, dtype))
    except InputError as error:
        print(error)
"""


def test_images_of_another_type_or_shape_are_refused_and_opencv_is_not_needed(network):
    # Without the type checks that the tests add, as a user has it.
    done = subprocess.run(
        [sys.executable, "-c", USE, network[0]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "MJFN-BbN takes uint8 [B, 224, 224, 3], not float64 (1, 224, 224, 3)",
        "MJFN-BbN takes uint8 [B, 224, 224, 3], not uint8 (1, 100, 224, 3)",
        "MJFN-BbN takes uint8 [B, 224, 224, 3], not uint8 (224, 224, 3)",
    ]


def test_no_checkpoint_or_another_one_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing: no checkpoint; experiments/train.py makes"):
        mjfn_jax.load(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"MANIFEST.sha256: missing; take a whole copy"):
        mjfn_jax.load(tmp_path)
    checkpoints.save(tmp_path / "state", tree(), {"epochs_done": 3})
    with pytest.raises(InputError, match="state: not a trained network; name a folder"):
        mjfn_jax.load(tmp_path / "state")


ROOMS = """
import importlib, sys
for module in {unwanted}:
    sys.modules[module] = None  # importing it fails
for module in {modules}:
    importlib.import_module(module)
"""


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (("mjfn_jax", "mjfn_jax.runs.results", "mjfn_jax.runs.sweep", "mjfn_jax.data"), ("cv2",)),
        (
            ("flow", "flow.shards", "flow.disk.manifest", "flow.disk.lock"),
            ("cv2", "jax", "mjfn_jax"),
        ),
        (("flow.build", "flow.databases.check", "flow.synthetic"), ("jax", "mjfn_jax")),
    ],
)
def test_the_packages_keep_apart(modules, unwanted):
    code = ROOMS.format(modules=modules, unwanted=unwanted)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


WRITES = """
import sys
import numpy as np
from mjfn_jax.runs import checkpoints
try:
    checkpoints.save(sys.argv[1], {str(n): np.full(3000, n) for n in range(30)}, {})
except OSError as error:
    print(error)
"""


def test_a_checkpoint_that_cannot_be_written_is_one_line(tmp_path):
    limit = ["prlimit", "--fsize=4096"]
    if shutil.which(limit[0]) is None:
        pytest.skip("prlimit is needed")
    command = [*limit, sys.executable, "-c", WRITES, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = os.strerror(errno.EFBIG)
    assert done.stdout == f"[Errno {errno.EFBIG}] {said}: '{tmp_path / 'a'}'\n"
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())
