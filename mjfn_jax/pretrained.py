"""Weights for a method's residual trunk, from a file that the user has.

The authors of some methods start from weights that were trained on other data; a method's
`starts_from` says on which. None of them is part of this project.
"""

import hashlib
import os
import pathlib
import re
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from flax import traverse_util
from safetensors import SafetensorError

from flow.disk import given, kept
from flow.errors import InputError
from mjfn_jax import train
from mjfn_jax.models import NETWORKS, Network

TRUNK = "trunk"
"""The name of the residual trunk in a method's variables."""

MAX_BYTES = 200_000_000
"""Size above which a file of weights is refused; a ResNet18 has 47 MB."""

_CURE = "take another copy of the file"

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
"""torchvision's names for what a layer holds."""


def load(path: str | os.PathLike[str], method: Network) -> dict[str, Any]:
    """Read the weights of a method's trunk.

    Args:
      path: a .safetensors or .npz file of arrays. Their names are those of torchvision's ResNet18
        (`layer1.0.conv1.weight`, convolutions as output, input, height, width), or this project's
        (`stage1_block1/conv1/kernel`, convolutions as height, width, input, output). What the
        trunk does not have, such as a classifier, is left alone.
      method: whose trunk it is.

    Returns:
      The collections of the network's variables, with the trunk only, for `mjfn_jax.train.init`.

    Raises:
      InputError: no such file, one that cannot be read, a method without a trunk, or an array
        that is missing, has another shape or is not finite.
    """
    shapes = jax.eval_shape(lambda: train.init_variables(method, jax.random.key(0)))
    trunk = {
        (collection, *names): leaf
        for collection, tree in shapes.items()
        for names, leaf in traverse_util.flatten_dict(tree).items()
        if names[0] == TRUNK
    }
    if not trunk:
        having = [each.title for each in NETWORKS.values() if each.starts_from and not each.start]
        raise InputError(
            f"{path}: {method.title} has no trunk to load weights into; those with one are "
            f"{', '.join(having)}"
        )
    arrays = _read(pathlib.Path(path))
    loaded = {}
    for (collection, _, *names), leaf in trunk.items():
        ours, theirs = "/".join(names), _torchvision(names)
        name = next((name for name in (ours, theirs) if name in arrays), None)
        if name is None:
            raise InputError(
                f"{path}: no array {theirs} or {ours}, which the trunk of {method.title} needs: "
                "take weights of the same network"
            )
        array = arrays[name]
        if array.dtype.kind in "cOSUmM" or array.dtype.names:
            raise InputError(
                f"{path}: {name} holds {array.dtype} and no numbers that serve: {_CURE}"
            )
        array = np.asarray(array, np.float32)
        if name == theirs and array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        if array.shape != leaf.shape:
            raise InputError(
                f"{path}: {name} has shape {arrays[name].shape}, which the trunk of {method.title} "
                "does not take: take weights of the same network"
            )
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name} is not finite: {_CURE}")
        loaded[collection, TRUNK, *names] = array
    return traverse_util.unflatten_dict(loaded)


def digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the file.

    Raises:
      InputError: no such file, or one that is larger than `MAX_BYTES`.
    """
    _check_is_there(path)
    return hashlib.sha256(given.read(path, MAX_BYTES, _CURE)).hexdigest()


def _check_is_there(path):
    if not pathlib.Path(path).is_file():
        raise InputError(f"--pretrained={path}: no such file")


def _read(path):
    _check_is_there(path)
    try:
        if path.suffix == ".npz":
            return kept.load(path, MAX_BYTES)
        if path.suffix == ".safetensors":
            return safetensors.numpy.load(given.read(path, MAX_BYTES, _CURE))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: unreadable ({said}): {_CURE}") from None
    raise InputError(
        f"--pretrained={path}: neither .safetensors nor .npz; a .pth is turned into one by "
        "safetensors.torch.save_file(torch.load(FILE), NEW_FILE)"
    )


def _torchvision(names):
    """torchvision's name of a variable of `mjfn_jax.models.resnet.ResNet18`."""
    *layers, leaf = names
    layer = ".".join(layers)
    layer = re.sub(r"shortcut_bn$", "downsample.1", layer)
    layer = re.sub(r"shortcut$", "downsample.0", layer)
    layer = re.sub(r"^stage(\d)_block(\d)", lambda m: f"layer{m[1]}.{int(m[2]) - 1}", layer)
    return f"{layer}.{_LEAVES[leaf]}"
