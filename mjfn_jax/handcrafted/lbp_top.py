"""LBP-TOP and an SVM: the baseline of MEGC 2019."""

import dataclasses
from collections.abc import Sequence

from flow.features import lbp_top
from mjfn_jax.handcrafted.method import Handcrafted


@dataclasses.dataclass(frozen=True)
class LbpTop(Handcrafted):
    """Histograms of local binary patterns on three planes, in blocks of a face."""

    feature: lbp_top.LbpTop = lbp_top.LbpTop()
    title = "LBP-TOP"

    def regions(self, with_landmarks: Sequence[bool]) -> str:
        return f"grid {self.feature.blocks}x{self.feature.blocks}"
