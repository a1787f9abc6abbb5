"""A network and a dataset that are small enough to be trained in a test."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mjfn_jax import train
from mjfn_jax.data import Dataset
from mjfn_jax.drawn.views import view_of
from mjfn_jax.models import Network


class Tiny(Network):
    """Averages of 16 tiles, a hidden layer with dropout, three classes."""

    dropout: float = 0.5
    num_jfms: int = 3
    fusion: str = "softmax"

    @nn.compact
    def __call__(self, images, train=False):
        x = images.astype(jnp.float32).reshape(-1, 4, 56, 4, 56, 3).mean((2, 4)) / 255
        uniform = nn.initializers.lecun_uniform()  # compiles in a fraction of a normal's time
        x = nn.tanh(nn.Dense(8, kernel_init=uniform)(x.reshape(x.shape[0], -1)))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.log_softmax(nn.Dense(3, kernel_init=uniform)(x))


def images_of(labels, seed=0):
    """Noise, with a bright block whose place tells the class."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 100, (len(labels), 224, 224, 3), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[56 * label : 56 * label + 56] += 100
    return images


def three_databases(clips=2):
    """Clips of two subjects in each database; SMIC's first subject has one clip only."""
    owners = [
        (database, subject, f"{subject}_{clip}")
        for database, subjects in (
            ("casme2", ("sub01", "sub02")),
            ("samm", ("6", "7")),
            ("smic", ("s1", "s2")),
        )
        for subject in subjects
        for clip in range(1 if subject == "s1" else clips)
    ]
    databases, subjects, names = zip(*owners, strict=True)
    labels = np.arange(len(owners)) % 3
    metadata = {name: {"fingerprint": f"of {name}"} for name in ("smic", "casme2", "samm")}
    return Dataset(images_of(labels), labels, databases, subjects, names, metadata)


def taught_weights():
    """In the place of `mjfn_jax.drawn.taught.weights`: what any network of two layers starts from,
    and what it was asked for."""
    asked = []

    def weights(name, method, data_dir, lessons=None, on_progress=None):
        view_of(method)
        asked.append((name, data_dir, lessons))
        variables = train.init_variables(method, jax.random.key(7))
        return "d1" * 32, jax.tree.map(np.asarray, variables)

    return weights, asked
