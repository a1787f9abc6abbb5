"""Weights from a file: torchvision's names and our own, and files that are of no use."""

import functools
import io
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util

from flow.errors import InputError
from mjfn_jax import pretrained, train
from mjfn_jax.models import NETWORKS

CAPSULENET, ATNET = NETWORKS["capsulenet"], NETWORKS["atnet"]


@functools.cache
def torchvision():
    """Arrays under the names and in the shapes of torchvision's ResNet18, a head included."""
    shapes = {"conv1": (64, 3, 7, 7), "bn1": (64,), "fc": (1000, 512)}
    before = 64
    for layer, width in enumerate((64, 128, 256, 512), start=1):
        for block in (0, 1):
            name, first = f"layer{layer}.{block}", before if block == 0 else width
            shapes |= {f"{name}.conv1": (width, first, 3, 3), f"{name}.bn1": (width,)}
            shapes |= {f"{name}.conv2": (width, width, 3, 3), f"{name}.bn2": (width,)}
            if first != width:
                shapes[f"{name}.downsample.0"] = (width, first, 1, 1)
                shapes[f"{name}.downsample.1"] = (width,)
        before = width
    random, arrays = np.random.default_rng(0), {}
    for name, shape in shapes.items():
        arrays[f"{name}.weight"] = random.uniform(0.5, 1, shape).astype(np.float32)
        if len(shape) == 1:
            for leaf in ("bias", "running_mean", "running_var"):
                arrays[f"{name}.{leaf}"] = random.uniform(0.5, 1, shape).astype(np.float32)
            arrays[f"{name}.num_batches_tracked"] = np.array(7)
    return arrays


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "resnet18.safetensors"
    safetensors.numpy.save_file(torchvision(), path)
    return path


def test_torchvisions_resnet18_becomes_the_trunk(file):
    loaded = pretrained.load(file, NETWORKS["neural-recognizer"])
    params, running = (loaded[name]["trunk"] for name in ("params", "batch_stats"))
    theirs = torchvision()
    for ours, name in (
        (params["conv1"]["kernel"], "conv1.weight"),
        (params["stage3_block1"]["conv1"]["kernel"], "layer3.0.conv1.weight"),
        (params["stage4_block2"]["conv2"]["kernel"], "layer4.1.conv2.weight"),
        (params["stage2_block1"]["shortcut"]["kernel"], "layer2.0.downsample.0.weight"),
    ):
        for output, given in np.ndindex(2, 3):
            np.testing.assert_array_equal(ours[..., given, output], theirs[name][output, given])
    for ours, name in (
        (params["bn1"]["scale"], "bn1.weight"),
        (params["stage1_block2"]["bn2"]["bias"], "layer1.1.bn2.bias"),
        (running["stage4_block1"]["shortcut_bn"]["mean"], "layer4.0.downsample.1.running_mean"),
        (running["stage2_block2"]["bn1"]["var"], "layer2.1.bn1.running_var"),
    ):
        np.testing.assert_array_equal(ours, theirs[name])


def test_a_trunk_of_three_stages_leaves_the_fourth_alone(file):
    trunk = pretrained.load(file, CAPSULENET)["params"]["trunk"]
    assert {name[:6] for name in trunk} == {"conv1", "bn1", "stage1", "stage2", "stage3"}


def test_our_own_names_serve_the_trunk_of_atnet_and_micro_attention(tmp_path):
    shapes = jax.eval_shape(lambda: train.init_variables(ATNET, jax.random.key(0)))
    arrays = {
        "/".join(names): np.full(leaf.shape, len(names), np.float32)
        for collection in ("params", "batch_stats")
        for names, leaf in traverse_util.flatten_dict(shapes[collection]["trunk"]).items()
    }
    np.savez(tmp_path / "resnet10.npz", **arrays)
    loaded = pretrained.load(tmp_path / "resnet10.npz", ATNET)
    assert jax.tree.map(jnp.shape, loaded) == {
        collection: {"trunk": jax.tree.map(jnp.shape, shapes[collection]["trunk"])}
        for collection in ("params", "batch_stats")
    }
    with pytest.raises(InputError, match=r"attention.* of Micro-Attention needs"):
        pretrained.load(tmp_path / "resnet10.npz", NETWORKS["micro-attention"])


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("mjfn", {}, "MJFN has no trunk .* those with one are Neural-Recognizer, Micro-Att"),
        ("capsulenet", {"layer2.0.bn1.weight": None}, "no array layer2.0.bn1.weight or stage2_bl"),
        (
            "capsulenet",
            {"conv1.weight": np.ones((64, 1, 7, 7), "f")},
            r"conv1.weight has shape \(64, 1",
        ),
        ("capsulenet", {"bn1.bias": np.full(64, np.nan, "f")}, "bn1.bias is not finite"),
        ("atnet", {}, "no array block128_bn1.running_mean or block128_bn1/mean"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, method, change, message):
    arrays = {name: array for name, array in (torchvision() | change).items() if array is not None}
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file(arrays, path)
    with pytest.raises(InputError, match=message):
        pretrained.load(path, NETWORKS[method])


@pytest.mark.parametrize("name", ["a.safetensors", "a.npz", "a.pth"])
def test_a_file_that_cannot_be_read_is_answered_in_one_line(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(InputError, match="no such file"):
        pretrained.load(path, CAPSULENET)
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"unreadable|neither \.safetensors nor \.npz") as caught:
        pretrained.load(path, CAPSULENET)
    assert "\n" not in str(caught.value)


def test_weights_that_claim_more_than_the_file_holds_are_one_line(tmp_path):
    content = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**13,)}
    np.lib.format.write_array_header_1_0(content, header)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("conv1.weight.npy", content.getvalue())
    with pytest.raises(InputError, match=r"a\.npz: unreadable \(conv1\.weight: not the size"):
        pretrained.load(tmp_path / "a.npz", CAPSULENET)
