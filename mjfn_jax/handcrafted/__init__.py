"""Methods without a network, by the names that `--method` takes. A new one is a file here and a
line below."""

from mjfn_jax.handcrafted.bi_woof import BiWoof
from mjfn_jax.handcrafted.lbp_top import LbpTop
from mjfn_jax.handcrafted.mdmo import Mdmo
from mjfn_jax.handcrafted.method import Handcrafted
from mjfn_jax.handcrafted.sparse_mdmo import SparseMdmo

HANDCRAFTED: dict[str, Handcrafted] = {
    "lbp-top": LbpTop(),
    "bi-woof": BiWoof(),
    "mdmo": Mdmo(),
    "sparse-mdmo": SparseMdmo(),
}
"""The handcrafted methods of Table 3."""

__all__ = ["HANDCRAFTED", "Handcrafted"]
