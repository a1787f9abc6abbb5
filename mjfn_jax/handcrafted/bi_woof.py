"""Bi-WOOF and an SVM (Liong et al., 2018)."""

import dataclasses
from collections.abc import Sequence

from flow.features import bi_woof
from mjfn_jax.handcrafted.method import Handcrafted


@dataclasses.dataclass(frozen=True)
class BiWoof(Handcrafted):
    """Histograms of the motion's directions, weighted by magnitude and strain, in blocks."""

    feature: bi_woof.BiWoof = bi_woof.BiWoof()
    title = "Bi-WOOF"

    def regions(self, with_landmarks: Sequence[bool]) -> str:
        return f"grid {self.feature.blocks}x{self.feature.blocks}"
