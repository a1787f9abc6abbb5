"""The methods, by the names that `--method` takes."""

import flax.linen as nn

from mjfn_jax.models.mjfn import MJFN

METHODS = {
    "mjfn": {"num_jfms": 3, "fusion": "softmax"},
    "mjfn-avg": {"num_jfms": 3, "fusion": "average"},
    "mjfn-bbn": {"num_jfms": 0, "fusion": "average"},
}
"""Each method's own settings of :class:`MJFN`."""


def make(method: str, num_jfms: int | None = None) -> nn.Module:
    """The network of a method, with another number of JFMs where one is given."""
    settings = dict(METHODS[method])
    if num_jfms is not None:
        settings["num_jfms"] = num_jfms
    return MJFN(**settings)


__all__ = ["METHODS", "MJFN", "make"]
