"""Every method, by the name that `--method` takes."""

from typing import Any

from flow.errors import InputError
from mjfn_jax.drawn.kernel import DrawnKernel
from mjfn_jax.drawn.mirror_svm import MirrorSvm
from mjfn_jax.drawn.zero_shot import ZeroShot
from mjfn_jax.handcrafted import HANDCRAFTED
from mjfn_jax.method import Method
from mjfn_jax.models import NETWORKS

METHODS: dict[str, Method] = {
    **NETWORKS,
    **HANDCRAFTED,
    "drawn": ZeroShot(),
    "mirror-svm": MirrorSvm(),
    "drawn-kernel": DrawnKernel(),
}


def make(name: str, **settings: Any) -> Method:
    """The method of that name, with other settings where they are given.

    Raises:
      InputError: there is no such method or setting.
    """
    if name not in METHODS:
        raise InputError(f"no method {name}; choose one of {', '.join(METHODS)}")
    return METHODS[name].configured(**settings)
