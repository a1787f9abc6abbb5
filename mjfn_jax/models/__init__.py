"""The networks, by the names that `--method` takes. A new one is a file here and a line below."""

from typing import Any

from flow.errors import InputError
from mjfn_jax.models.alexnet import AlexNet
from mjfn_jax.models.atnet import ATNet
from mjfn_jax.models.capsulenet import CapsuleNet
from mjfn_jax.models.drawn_tuned import DrawnTuned
from mjfn_jax.models.dual_inception import DualInception
from mjfn_jax.models.emr import NeuralRecognizer
from mjfn_jax.models.micro_attention import MicroAttention
from mjfn_jax.models.mjfn import MJFN
from mjfn_jax.models.network import Network
from mjfn_jax.models.off_apexnet import OFFApexNet
from mjfn_jax.models.ststnet import STSTNet

NETWORKS: dict[str, Network] = {
    "mjfn": MJFN(),
    "mjfn-avg": MJFN(fusion="average"),
    "mjfn-bbn": MJFN(num_jfms=0, fusion="average"),
    "alexnet": AlexNet(),
    "ststnet": STSTNet(),
    "off-apexnet": OFFApexNet(),
    "dual-inception": DualInception(),
    "neural-recognizer": NeuralRecognizer(),
    "micro-attention": MicroAttention(),
    "atnet": ATNet(),
    "capsulenet": CapsuleNet(),
    "drawn-tuned": DrawnTuned(),
}
"""The learned methods of Table 3 and this project's own, with the settings that their names stand
for."""


def make(name: str, **settings: Any) -> Network:
    """The network of that name, with other settings where they are given.

    >>> make("mjfn", num_jfms=2).title
    'MJFN, 2 JFM'

    Raises:
      InputError: there is no such network or setting.
    """
    if name not in NETWORKS:
        raise InputError(f"no network {name}; choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name].configured(**settings)


__all__ = ["MJFN", "NETWORKS", "Network", "make"]
