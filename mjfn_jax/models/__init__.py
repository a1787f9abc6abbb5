"""The methods, by the names that `--method` takes. A new one is a file here and a line below."""

from mjfn_jax.models.alexnet import AlexNet
from mjfn_jax.models.atnet import ATNet
from mjfn_jax.models.capsulenet import CapsuleNet
from mjfn_jax.models.dual_inception import DualInception
from mjfn_jax.models.emr import NeuralRecognizer
from mjfn_jax.models.method import Method
from mjfn_jax.models.micro_attention import MicroAttention
from mjfn_jax.models.mjfn import MJFN
from mjfn_jax.models.off_apexnet import OFFApexNet
from mjfn_jax.models.ststnet import STSTNet

METHODS: dict[str, Method] = {
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
}
"""The learned methods of Table 3."""


def make(name: str, num_jfms: int | None = None) -> Method:
    """The method of that name, with another number of JFMs where one is given.

    Raises:
      ValueError: another number is given for a method that has no JFMs.
    """
    method = METHODS[name]
    if num_jfms is None:
        return method
    if not isinstance(method, MJFN):
        raise ValueError(f"{name} has no JFMs; leave num_jfms out")
    return method.clone(num_jfms=num_jfms)


__all__ = ["METHODS", "MJFN", "Method", "make"]
