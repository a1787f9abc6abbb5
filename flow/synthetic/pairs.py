"""The onset's and the apex's face of many planned clips, in memory.

Every pair is as the road from a rendered tree makes it: the frame as its database stores it,
decoded, and the face cut out.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from flow.catalogue import DATABASES
from flow.clips import CLASSES
from flow.errors import InputError
from flow.faces import frames
from flow.synthetic import crew, motion, trees
from flow.synthetic.cast import Plan, generator
from flow.synthetic.motion import CAMERAS, Disturbances


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """N clips, in the order of their plans."""

    onsets: UInt8[np.ndarray, "N 224 224"]
    """Grey faces."""
    apexes: UInt8[np.ndarray, "N 224 224"]
    points: Float32[np.ndarray, "N 5 2"]
    """True (x, y) at the onset of the eye on the image's left and the one on its right, the
    nose's tip, the mouth's corners on the left and on the right, px of the face; (0, 0) is the
    centre of its upper left pixel."""
    labels: Int64[np.ndarray, " N"]
    """Indices into `flow.clips.CLASSES`."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """How clips are shown. By default as they are: the faces are those that are cut from the
    frames of a rendered tree, SAMM's by their true box."""

    disturbances: Disturbances
    """See :func:`flow.synthetic.motion.play`."""
    amplitude: int | float | None = None
    """Every clip's largest displacement at the apex, px of a 280×340 face; the plan's own if
    None."""
    frame_rate: int | float | None = None
    """Of a slower camera, frames a second, that looks at the clip from a random moment on: its
    frame nearest to the true apex is taken, and no moment outside the clip. The onset stays the
    true one, and a frame takes no time. At the true apex if None."""
    face_width: int | None = None
    """Px that the face is reduced to before it is cut; a smaller face stays as it is."""
    jpeg: int | None = None
    """Quality of the frames of all databases, 1 to 100; if None it is 92 for CASME II and SAMM,
    and SMIC has no loss."""


def choose(plans: Sequence[Plan], per_class: int, seed: int) -> list[Plan]:
    """Choose as many clips of each class, as evenly over the databases as they have them.

    Args:
      plans: of any databases; those without a label are left out.
      per_class: clips of each class.
      seed: another one chooses others.

    Returns:
      The chosen, in their order among `plans`.

    Raises:
      InputError: a class has fewer clips.
    """
    chosen = set()
    for label, name in enumerate(CLASSES):
        ours = [n for n, plan in enumerate(plans) if plan.label == label]
        if len(ours) < per_class:
            raise InputError(
                f"per_class={per_class}: there are {len(ours)} clips of the class {name}; "
                "choose fewer"
            )
        piles = {}
        for n in ours:
            piles.setdefault(plans[n].database, []).append(n)
        shuffled = [
            [pile[k] for k in generator(seed, "choose", database, name).permutation(len(pile))]
            for database, pile in piles.items()
        ]
        turns = [
            (turn, place, n) for place, pile in enumerate(shuffled) for turn, n in enumerate(pile)
        ]
        chosen.update(n for _, _, n in sorted(turns)[:per_class])
    return [plans[n] for n in sorted(chosen)]


def pairs(
    plans: Sequence[Plan],
    seed: int,
    disturbances: Disturbances,
    processes: int | None = None,
    **options: int | float | None,
) -> Pairs:
    """The pairs of one scene.

    Args:
      plans: as :func:`shoot`.
      seed: as :func:`shoot`.
      disturbances: of the scene.
      processes: as :func:`shoot`.
      **options: the other fields of :class:`Scene`.

    Raises:
      ValueError: as :func:`shoot`.
    """
    (found,) = shoot(plans, seed, [Scene(disturbances, **options)], processes)
    return found


def shoot(
    plans: Sequence[Plan], seed: int, scenes: Sequence[Scene], processes: int | None = None
) -> list[Pairs]:
    """Render the onset's and the apex's face of some clips in each of some scenes.

    A face is painted once for all scenes, and painting takes most of the time.

    Args:
      plans: clips with a label; those of a subject beside each other are rendered sooner.
      seed: that of the plans.
      scenes: how the clips are shown.
      processes: how many to use; one a core if None.

    Raises:
      ValueError: no plan, or one without a label.
    """
    plans, scenes = list(plans), list(scenes)
    if not plans or any(plan.label is None for plan in plans):
        raise ValueError("pairs are of one clip or more, and of clips with a label")
    task = functools.partial(_some, seed=seed, scenes=scenes)
    faces = [of_clip for some in crew.share(task, plans, processes) for of_clip in some]
    points = np.stack([_points(plan, seed) for plan in plans])
    labels = np.asarray([plan.label for plan in plans])
    return [
        Pairs(
            np.stack([of_clip[n][0] for of_clip in faces]),
            np.stack([of_clip[n][1] for of_clip in faces]),
            points,
            labels,
        )
        for n in range(len(scenes))
    ]


_Faces = tuple[UInt8[np.ndarray, "224 224"], UInt8[np.ndarray, "224 224"]]


def _some(plans: list[Plan], seed: int, scenes: list[Scene]) -> list[list[_Faces]]:
    """The two faces of each clip in each scene."""
    return [[_pair(plan, seed, scene) for scene in scenes] for plan in plans]


def _pair(plan: Plan, seed: int, scene: Scene) -> _Faces:
    if scene.amplitude is not None:
        performance = dataclasses.replace(plan.performance, amplitude=scene.amplitude)
        plan = dataclasses.replace(plan, performance=performance)
    apex = plan.apex if scene.frame_rate is None else _seen(plan, seed, scene.frame_rate)
    onset, apex = motion.play(plan, seed, scene.disturbances, (plan.onset, apex)).frames
    return _face(plan, onset, scene), _face(plan, apex, scene)


def _seen(plan: Plan, seed: int, frame_rate: int | float) -> float:
    """The moment, as a frame number, at which a slower camera sees the clip nearest to its apex."""
    phase = generator(seed, plan.database, plan.number, plan.clip, "phase").uniform(-0.5, 0.5)
    moment = plan.apex + phase * DATABASES[plan.database].fps / frame_rate
    return float(np.clip(moment, plan.onset, plan.offset))


def _face(
    plan: Plan, frame: UInt8[np.ndarray, "H W *channels"], scene: Scene
) -> UInt8[np.ndarray, "224 224"]:
    """The face of a frame, by way of its file."""
    box = CAMERAS[plan.database].face if plan.database == "samm" else None
    if scene.face_width is not None:
        frame, box = motion.crop(frame, plan.database), None
        height, width = frame.shape[:2]
        if scene.face_width < width:
            size = scene.face_width, round(scene.face_width * height / width)
            frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    path = pathlib.Path(trees.frame_name(plan, plan.onset))
    if scene.jpeg is None:
        content = trees.encode(path, frame)
    else:
        path = path.with_suffix(".jpg")
        content = trees.encode(path, frame, scene.jpeg)
    return frames.cut(frames.read_grey(path, content), box, path)


def _points(plan: Plan, seed: int) -> Float32[np.ndarray, "5 2"]:
    """The five points of `Pairs`."""
    marks = motion.subject(seed, plan.database, plan.number).marks
    x = marks.middle
    face = [
        (x - marks.eye_apart, marks.eye),
        (x + marks.eye_apart, marks.eye),
        (x, marks.nose),
        (x - marks.mouth_half, marks.mouth),
        (x + marks.mouth_half, marks.mouth),
    ]
    camera = CAMERAS[plan.database]
    frame = (np.asarray(face) - camera.window[:2] + 0.5) * camera.scale - 0.5
    left, top, width, height = camera.face
    return ((frame - (left, top) + 0.5) * frames.SIZE / (width, height) - 0.5).astype(np.float32)
