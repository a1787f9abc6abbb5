"""From faces to flow images: the motion from the onset to the apex of a micro-expression."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float, Float32, UInt8

from flow.algorithms import Algorithm
from flow.apex import find_apex
from flow.clips import Box
from flow.color import flow_to_color
from flow.errors import InputError
from flow.faces.points import find_points
from flow.footage import Faces
from flow.strain import strain


@dataclasses.dataclass(frozen=True, eq=False)
class FlowImage:
    """The motion of a face from the onset to the apex."""

    apex: int
    """The apex, by its frame number."""
    box: Box | None
    """As :attr:`flow.footage.Faces.box`."""
    flow: Float32[np.ndarray, "224 224 2"]
    """(horizontal, vertical) in px: `apex[y + v, x + u]` shows what `onset[y, x]` shows."""
    points: Float32[np.ndarray, "5 2"]
    """Of the onset, as :func:`flow.faces.points.find_points` gives them; zeros where none were
    found. `flow.faces.crop.register` takes either."""

    @property
    def color(self) -> UInt8[np.ndarray, "224 224 3"]:
        """The flow as a colour image, RGB, its largest motion in full hue."""
        return flow_to_color(self.flow)

    @property
    def strain(self) -> Float[np.ndarray, "224 224"]:
        """How much the motion deforms the face, px per px."""
        return strain(self.flow)


def flow_images(clips: Iterable[Faces], algorithm: Algorithm) -> Iterator[FlowImage]:
    """The flow images of some clips, in their order.

    The first face is the onset. An apex that is not annotated is found by
    `flow.apex.find_apex`. The pairs are computed at once: `algorithm.batch` of them is best.

    Raises:
      InputError: a clip has one frame only, or a flow is not finite.
    """
    found, onsets, apexes = [], [], []
    for faces in clips:
        _check_moves(faces)
        index = faces.apex
        if index is None:
            index = find_apex(follow(faces, algorithm)).index
        points = find_points(faces.grey[0])
        if points is None:
            points = np.zeros((5, 2), np.float32)
        found.append((faces.name, faces.numbers[index], faces.box, points))
        # Copies: the other frames are let go.
        onsets.append(faces.grey[0].copy())
        apexes.append(faces.grey[index].copy())
    if not found:
        return
    flows = algorithm.flows(np.stack(onsets), np.stack(apexes))
    for (name, apex, box, points), flow in zip(found, flows, strict=True):
        yield FlowImage(apex, box, _finite(flow, name), points)


def follow(faces: Faces, algorithm: Algorithm) -> Iterator[Float32[np.ndarray, "224 224 2"]]:
    """The flows from a clip's first face to each of the others, px.

    Raises:
      InputError: as :func:`flow_images`.
    """
    _check_moves(faces)
    for flow in algorithm.follow(faces.grey):
        yield _finite(flow, faces.name)


def _check_moves(faces: Faces) -> None:
    if len(faces.grey) < 2:
        raise InputError(f"{faces.name}: one frame only, a motion takes two or more")


def _finite(flow: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(flow).all():
        raise InputError(f"{name}: the flow is not finite; look at its frames")
    return flow
