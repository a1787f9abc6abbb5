"""Long videos of invented faces, frame by frame, with the truth about them."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from flow.synthetic import identity, screenplay
from flow.synthetic.action_units import field
from flow.synthetic.cast import generator
from flow.synthetic.identity import Identity
from flow.synthetic.screenplay import Act, Disturbances, Expressions, Happening
from flow.synthetic.view import Camera, Pose, View

CAMERA = Camera((-140, -40, 420, 380), 480, 360, grey=True, margin=48)
"""Shows the face 240 pixels wide in frames that are not cropped."""

EXPRESSIONS = Expressions()


@dataclasses.dataclass(frozen=True)
class Event:
    """An expression in a long video."""

    kind: str
    """`micro` or `macro`."""
    onset: int
    """Number of the frame nearest to its beginning, counted from 0."""
    apex: int
    offset: int
    times: tuple[float, float, float]
    """Of onset, apex and offset, seconds from the first frame; between two frames in general."""
    units: str
    """Its action units, as the owners write them: `4+7`."""
    label: int | None
    """Index into `flow.clips.CLASSES`; None where the emotion has none of the three."""
    emotion: str
    amplitude: float
    """Largest displacement at the apex, px of a 280×340 face."""
    overlaps_blink: bool
    """Whether the eyes blink at any moment of it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """What is in a long video of T frames."""

    fps: float
    events: tuple[Event, ...]
    """By their onsets; none overlaps another."""
    happenings: tuple[Happening, ...]
    """What is no expression, by their starts."""
    to_first: Float64[np.ndarray, "T 2 3"]
    """The similarity that takes each frame to the first, frame px: of the head's motion in the
    image plane, without its turns in depth."""
    turns: Float32[np.ndarray, "T 2"]
    """How far the head has turned in depth since the first frame, radians: a point p of the first
    frame whose depth is z is seen where `to_first` leads to p + z * turn."""
    depth: Float32[np.ndarray, "H W"]
    """How far each pixel of the first frame stands before the head's middle plane, frame px."""


def film(
    seed: int,
    fps: int | float,
    seconds: int | float,
    disturbances: Disturbances,
    expressions: Expressions = EXPRESSIONS,
    who: Identity | None = None,
    camera: Camera = CAMERA,
    view: View | None = None,
) -> tuple[Truth, Iterator[UInt8[np.ndarray, "H W *channels"]]]:
    """Film an invented face.

    The same seed gives the same face and happenings at any frame rate, but for noise; another
    length gives others. One frame is in memory at a time.

    Args:
      seed: at least 0.
      fps: frames a second, 10 or more.
      seconds: length, 1 or more.
      disturbances: what moves beside the expressions.
      expressions: how many, and how large. A short video may have no room for all of them.
      who: the face; drawn from the seed if None.
      camera: what it is seen by.
      view: what is shown instead of that face by that camera, a photograph for one.

    Returns:
      The truth, and the frames from the first on: grey, or BGR if the camera has colours.

    Raises:
      ValueError: the seed, the frame rate or the length is out of range.
    """
    if seed < 0 or not 10 <= fps < np.inf or not 1 <= seconds < np.inf:
        raise ValueError(
            f"seed={seed}, fps={fps}, seconds={seconds}: at least 0, 10 and 1, and finite"
        )
    if who is None:
        who = identity.draw(generator(seed, "film", "identity"))
    times = np.arange(round(seconds * fps)) / fps
    play = screenplay.write(seed, times, seconds, disturbances, expressions)
    if view is None:
        view = View(who, camera)
    camera = view.camera
    truth = Truth(
        fps=float(fps),
        events=tuple(_event(act, fps, play.happenings) for act in play.acts if act.emotion),
        happenings=play.happenings,
        to_first=np.stack([camera.to_rest(drift) for drift in play.drifts]),
        turns=play.turns,
        depth=view.depth * np.float32(camera.scale),
    )
    return truth, _frames(seed, times, play, view, 1.6 * disturbances.noise)


def _event(act: Act, fps: int | float, happenings: tuple[Happening, ...]) -> Event:
    onset, apex, offset = (round(moment * fps) for moment in (act.onset, act.apex, act.offset))
    return Event(
        kind=act.kind,
        onset=onset,
        apex=min(max(apex, onset + 1), offset),
        offset=offset,
        times=(act.onset, act.apex, act.offset),
        units=act.performance.code,
        label=act.label,
        emotion=act.emotion,
        amplitude=act.performance.amplitude,
        overlaps_blink=any(
            each.kind == "blink" and each.start <= act.offset and act.onset <= each.end
            for each in happenings
        ),
    )


def _frames(
    seed: int,
    times: Float64[np.ndarray, " T"],
    play: screenplay.Screenplay,
    view: View,
    grain: float,
) -> Iterator[UInt8[np.ndarray, "H W *channels"]]:
    acts = iter(play.acts)
    act, peak = next(acts, None), None
    for number, time in enumerate(times):
        while act is not None and act.offset <= time:
            act, peak = next(acts, None), None
        strength = 0.0
        if act is not None and act.onset < time:
            if peak is None:
                peak = field(act.performance, view.marks, view.x, view.y)
            strength = float(act.strengths(times[number : number + 1])[0])
        pose = Pose(
            drift=play.drifts[number],
            turn=play.turns[number],
            peak=peak,
            strength=strength,
            gaze=play.gazes[number],
            eyelids=float(play.eyelids[number]),
            light=play.lights[number],
            offset=float(play.offsets[number]),
        )
        yield view.frame(pose, grain, generator(seed, "film", "noise", number))
