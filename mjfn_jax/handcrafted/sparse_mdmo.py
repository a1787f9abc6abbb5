"""Sparse MDMO and an SVM (Liu, Li, Lai, 2018)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from flow.features.sparse_mdmo import atomic_features
from mjfn_jax.handcrafted import graph_sc
from mjfn_jax.handcrafted.graph_sc import GraphSC
from mjfn_jax.handcrafted.mdmo import Mdmo
from mjfn_jax.handcrafted.svm import Encode


@dataclasses.dataclass(frozen=True)
class SparseMdmo(Mdmo):
    """Each frame's motion in 36 regions, coded by a dictionary of the training clips."""

    coding: GraphSC = GraphSC()
    title = "Sparse MDMO"

    def inputs(self, extracted: Sequence[Float[np.ndarray, "_ 36 2"]]) -> Shaped[np.ndarray, " N"]:
        clips = np.empty(len(extracted), object)
        clips[:] = [atomic_features(atoms, self.beta) for atoms in extracted]
        return clips

    def variants(self, inputs: Shaped[np.ndarray, " N"]) -> Encode:
        return graph_sc.encoder(list(inputs), self.coding)

    def coder(self, inputs: Shaped[np.ndarray, " N"]) -> Any:
        # Any dictionary of this size takes as long; this one is learned from one clip's frames.
        coding = self.coding
        joined = graph_sc.graph(inputs[0], coding.neighbours)
        pair = coding.sparsities[0], coding.smoothnesses[0]
        dictionary = graph_sc.learn(inputs[0], joined, *pair, coding)

        def code(frames: Float[np.ndarray, "T 72"]) -> Float[np.ndarray, "1 K"]:
            joined = graph_sc.graph(frames, coding.neighbours)
            return abs(graph_sc.code(frames, dictionary, joined, 2 * coding.steps)).max(0)[None]

        return code
