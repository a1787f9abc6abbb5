"""The regions of a face whose motion is watched, and the motion that is the head's."""

import collections
import itertools
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Float64

REGIONS: dict[str, tuple[int, ...]] = {
    "inner brow, left": (55, 107),
    "inner brow, right": (285, 336),
    "middle brow, left": (52, 105),
    "middle brow, right": (282, 334),
    "outer brow, left": (46, 70),
    "outer brow, right": (276, 300),
    "between the brows": (9,),
    "lower lid, left": (145, 23),
    "lower lid, right": (374, 253),
    "cheek, left": (118,),
    "cheek, right": (347,),
    "wing of the nose, left": (129,),
    "wing of the nose, right": (358,),
    "fold, left": (205,),
    "fold, right": (425,),
    "corner of the mouth, left": (61,),
    "corner of the mouth, right": (291,),
    "upper lip": (164, 0),
    "lower lip": (17,),
    "chin": (199,),
}
"""Regions by name, with the points of MediaPipe's mesh in whose middle each lies; left and right
are those of the image."""

HALF = 9
"""Half the side of a region, px of a face of 224."""

EYES = ((33, 133, 159, 145), (263, 362, 386, 374))
"""The corners and the lids of each eye."""

_SIDE_BY_SIDE = {
    "inner brow": ("between the brows", "middle brow"),
    "middle brow": ("outer brow", "lower lid"),
    "lower lid": ("cheek",),
    "cheek": ("wing of the nose", "fold"),
    "wing of the nose": ("fold", "upper lip", "between the brows"),
    "fold": ("corner of the mouth",),
    "corner of the mouth": ("upper lip", "lower lip", "chin"),
    "upper lip": ("lower lip",),
    "lower lip": ("chin",),
}


def _pairs() -> Iterator[tuple[int, int]]:
    for (i, one), (j, other) in itertools.combinations(enumerate(REGIONS), 2):
        (first, _, side), (second, _, other_side) = one.partition(", "), other.partition(", ")
        if first == second:
            if first != "lower lid":
                yield i, j
            continue
        across = side != other_side and side and other_side
        beside = second in _SIDE_BY_SIDE.get(first, ()) or first in _SIDE_BY_SIDE.get(second, ())
        if beside and not across:
            yield i, j


PAIRS = np.array(list(_pairs()))
"""Regions [P, 2] that lie side by side or mirror each other, by their places in `REGIONS`. What a
face does moves both of a pair. The lower lids are none: they move when the gaze does."""

LIDS = slice(7, 9)
"""The lower lids."""

UPPER = slice(0, 11)
"""The regions that a blink reaches."""

MOUTH = slice(13, 20)
"""The regions that speech moves."""

_TURNS = 8
"""Rounds in which points that move by themselves lose their weight."""

# Of `Residual`:
_SPAN = 0.1  # seconds, over which motion and turns are compared
_MEMORY = 20.0  # seconds
_BY_ITSELF = 0.15  # px, from where a region moves by itself
_RIDGE = 0.05  # px², of turns: so many are needed before a share is believed


def centres(mesh: Float64[np.ndarray, "468 3"]) -> Float64[np.ndarray, "R 2"]:
    """The regions' middles, px of the face."""
    return np.array([mesh[list(points), :2].mean(0) for points in REGIONS.values()])


class Head:
    """What of a face's flow is the head's: turns that no registration in the image takes away.

    The flow at the mesh's points is fitted by shifts, a turn and growth in the image plane, and
    by turns about the upright and the level axis, which move a point by its depth. Points that
    move otherwise lose their weight (Tukey's biweight).
    """

    def __init__(self, mesh: Float64[np.ndarray, "468 3"]):
        self._points = np.rint(mesh[:, :2]).astype(int).clip(1, 222)
        self._at = _basis(mesh[:, :2], mesh[:, 2])
        nearest = [
            np.argsort(np.linalg.norm(mesh[:, :2] - centre, axis=1))[:5] for centre in centres(mesh)
        ]
        depths = np.array([mesh[near, 2].mean() for near in nearest])
        self._in_regions = _basis(centres(mesh), depths)

    def motion(
        self, flow: Float32[np.ndarray, "224 224 2"]
    ) -> tuple[Float64[np.ndarray, " 6"], Float64[np.ndarray, "R 2"]]:
        """The six numbers of the fit (shift right and down, growth, turn, and the turns about the
        upright and the level axis, in px per px of depth), and the motion that they give each
        region, px."""
        x, y = self._points.T
        seen = (flow[y, x] + flow[y - 1, x] + flow[y + 1, x] + flow[y, x - 1] + flow[y, x + 1]) / 5
        seen = seen.astype(np.float64).ravel()
        weights = np.ones(len(x))
        for _ in range(_TURNS):
            heavy = np.repeat(weights, 2)
            scaled = self._at * heavy[:, None]
            fit = np.linalg.solve(self._at.T @ scaled + 1e-9 * np.eye(6), scaled.T @ seen)
            apart = np.linalg.norm((seen - self._at @ fit).reshape(-1, 2), axis=1)
            spread = 1.4826 * np.median(apart) + 0.01
            weights = np.clip(1 - (apart / (4 * spread)) ** 2, 0, 1) ** 2
        return fit, (self._in_regions @ fit).reshape(-1, 2)


class Residual:
    """Takes from the regions' motion what the head's turns leave in it.

    A mesh knows a face's depth roughly, and a chin more roughly than a nose. How far each region
    goes with the turns, beyond what :class:`Head` takes away, is learnt as the footage goes on, by
    least squares over the last seconds in which what moves by itself counts little.
    """

    def __init__(self):
        self._seen: collections.deque[tuple[float, np.ndarray, np.ndarray]] = collections.deque()
        self._turns = np.zeros((len(REGIONS), 2, 2))
        self._both = np.zeros((len(REGIONS), 2, 2))
        self._share = np.zeros((len(REGIONS), 2, 2))
        self._motion = np.zeros((len(REGIONS), 2))

    def take(
        self, time: float, motion: Float64[np.ndarray, "R 2"], head: Float64[np.ndarray, " 6"]
    ) -> Float64[np.ndarray, "R 2"]:
        """The motion without it; both are of the same moment, seconds later than the last, and
        since the same frame."""
        turns = head[4:]
        if not self._seen:
            self._seen.append((time, motion, turns))
            self._motion = motion
            return motion
        last, motion_then, turns_then = self._seen[-1]
        followed = np.einsum("t,rtx->rx", turns - turns_then, self._share)
        self._motion = self._motion + motion - motion_then - followed
        self._seen.append((time, motion, turns))
        while len(self._seen) > 2 and time - self._seen[1][0] >= _SPAN:
            self._seen.popleft()
        first, motion_then, turns_then = self._seen[0]
        if time - first >= _SPAN / 2:
            self._learn(time - last, turns - turns_then, motion - motion_then)
        return self._motion

    def _learn(self, seconds: float, turned: np.ndarray, moved: np.ndarray) -> None:
        kept = math.exp(-seconds / _MEMORY)
        apart = np.linalg.norm(moved - np.einsum("t,rtx->rx", turned, self._share), axis=1)
        weights = seconds * np.minimum(1, _BY_ITSELF / np.maximum(apart, 1e-9)) ** 2
        weights = weights[:, None, None]
        self._turns = kept * self._turns + weights * turned[:, None] * turned
        self._both = kept * self._both + weights * turned[:, None] * moved[:, None]
        self._share = np.linalg.solve(self._turns + _RIDGE * np.eye(2), self._both)


def _basis(
    points: Float64[np.ndarray, "N 2"], depths: Float64[np.ndarray, " N"]
) -> Float64[np.ndarray, "M 6"]:
    """Rows for x and y of each point in turn."""
    x, y = (points - 112).T / 100
    z, one, none = depths / 100, np.ones(len(x)), np.zeros(len(x))
    across = np.stack([one, none, x, -y, z, none], 1)
    down = np.stack([none, one, y, x, none, z], 1)
    return np.stack([across, down], 1).reshape(-1, 6)


def of_regions(
    flow: Float32[np.ndarray, "224 224 2"], middles: Float64[np.ndarray, "R 2"]
) -> Float64[np.ndarray, "R 2"]:
    """The mean over each region."""
    means = []
    for x, y in np.rint(middles).astype(int).clip(HALF, 223 - HALF):
        means.append(flow[y - HALF : y + HALF + 1, x - HALF : x + HALF + 1].mean((0, 1)))
    return np.array(means, np.float64)
