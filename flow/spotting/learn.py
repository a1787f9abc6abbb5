"""Learns from rendered videos what tells an expression from everything else.

    python -m flow.spotting OUT.json

The faces are invented, the films are rendered as they are watched, and none is kept. Spotting is
reported on other films (`mjfn spotting`), whose seeds are none of these.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float64
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from flow.drawn import Settings as DrawnSettings
from flow.drawn import draw
from flow.errors import InputError
from flow.faces.alignment import Aligner
from flow.faces.detector import find_faces
from flow.faces.points import find_mesh, points_of_mesh
from flow.footage import Frame
from flow.spotting.candidates import PATTERN, SIGNS, Candidate, Candidates
from flow.spotting.events import likeliest
from flow.spotting.judge import NEVER, Judge
from flow.spotting.moments import Moment, moments
from flow.spotting.regions import centres
from flow.synthetic.long import Event, film
from flow.synthetic.screenplay import Disturbances, Expressions

SECONDS, FPS = 30, 30
"""Of a film."""
PARTS = 6
"""Into which the films are split: what is said of one is learnt from the others."""
FALSE = 0.15
"""Events a minute that are no expressions, at most, of faces that move as usual: .2 are wanted, and
what is chosen here does worse elsewhere."""
CLIPS = 256
"""Of drawn motion."""
COST, GAMMA = 3.0, 0.01
"""Of the support vector machines."""
MORE = ("evenness", "drawn", "above", "rise")
LESS = ("spread", "step", "unrest", "turns", "lids", "common", "rise", "change", "shifts", "nods")
"""Signs of which an expression has no less, or no more, than those that were seen; a machine with
a Gaussian kernel knows nothing of what is far from all that it learnt from."""
ROOM = 0.6
"""How far they may lie outside, spreads."""
LOOKS = 0.2
"""How much each number of the pattern counts, where every other sign counts 1."""

_USUAL = Disturbances.of(1.0)
_MOVING = dataclasses.replace(_USUAL, drift=3.0, posture=3.0, nod=3.0, turn=3.0)
_SOME, _NONE = Expressions(), Expressions(micro=0, macro=0)
_NO = (0.0, 0.0)
_DRAWN = DrawnSettings(head=_NO, noise=_NO, rim=_NO, blink=_NO, gaze=_NO)
_EYES, _MOUTH = ((0.22, 0.25), (0.78, 0.25)), (0.5, 0.66)  # in the crop of drawn motion


@dataclasses.dataclass(frozen=True)
class Film:
    """A rendered video to learn from."""

    seed: int
    group: str
    disturbances: Disturbances
    expressions: Expressions = _SOME


FILMS = (
    *(Film(seed, "usual", _USUAL) for seed in (*range(9), *range(40, 60))),
    *(Film(seed, "moving", _MOVING) for seed in (*range(20, 26), *range(140, 160, 2))),
    *(Film(seed, "usual", _USUAL, _NONE) for seed in (*range(10, 16), *range(242, 260, 3))),
    *(Film(seed, "moving", _MOVING, _NONE) for seed in range(340, 360, 4)),
    *(Film(seed, "usual", _USUAL, _NONE) for seed in range(600, 606)),
)
"""What the shipped judges were learnt from. A head that is `moving` does so three times as far."""


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A candidate of a film."""

    film: Film
    candidate: Candidate
    true: Event | None
    """The expression that it overlaps by half of their union or more."""


def watch(what: Film, drawn: Float64[np.ndarray, "K D"]) -> tuple[list[Example], tuple[Event, ...]]:
    """Render a film and watch it: its candidates, and its expressions."""
    truth, images = film(what.seed, FPS, SECONDS, what.disturbances, what.expressions)
    frames = (Frame(n, n / FPS, "film", image) for n, image in enumerate(images))
    return examples(what, moments(frames), truth.events, drawn), truth.events


def examples(
    what: Film,
    seen: Iterable[Moment],
    true: Sequence[Event],
    drawn: Float64[np.ndarray, "K D"],
) -> list[Example]:
    """The candidates of a film, by its moments and its truth."""
    source = Candidates(drawn=drawn)
    found = [each for moment in seen for each in source.push(moment)] + source.finish()
    return [
        Example(what, each, next((e for e in true if _is_same(each, e)), None)) for each in found
    ]


def _is_same(found: Candidate, true: Event) -> bool:
    (onset, _, offset), ours = true.times, (found.onset_time, found.offset_time)
    both = min(offset, ours[1]) - max(onset, ours[0])
    either = max(offset, ours[1]) - min(onset, ours[0])
    return found.kind == true.kind and both >= either / 2


def record(
    drawn: Float64[np.ndarray, "K D"],
    films: Sequence[Film],
    watched: Sequence[tuple[Sequence[Example], Sequence[Event]]],
) -> dict[str, Any]:
    """What `flow.spotting.judge` reads, learnt from films and what was seen in them."""
    judges = {}
    for kind in ("micro", "macro"):
        found = [e for seen, _ in watched for e in seen if e.candidate.kind == kind]
        true = {
            each: sum(event.kind == kind for event in events)
            for each, (_, events) in zip(films, watched, strict=True)
        }
        judges[kind] = judge(found, films, true)
    return {"judges": judges, "drawn": drawn.tolist()}


def judge(found: Sequence[Example], films: Sequence[Film], true: dict[Film, int]) -> dict[str, Any]:
    """Learn to judge candidates of one kind.

    Args:
      found: the candidates.
      films: where they were looked for.
      true: how many expressions of this kind each film has.

    Returns:
      The judge's record, see `flow.spotting.judge`, and what its threshold gives on films that it
      has not seen: F1 and false events a minute, of usual faces and of moving ones.

    Raises:
      InputError: there are too few to learn from.
    """
    signs = np.array([each.candidate.signs for each in found])
    right = np.array([each.true is not None for each in found])
    if min(right.sum(), (~right).sum()) < PARTS:
        raise InputError(f"{right.sum()} right candidates of {len(found)}: render more films")
    part = np.array([films.index(each.film) % PARTS for each in found])
    unseen = np.empty(len(found))
    for k in range(PARTS):
        if (part == k).any():
            learnt = _fit(signs[part != k], right[part != k])
            unseen[part == k] = [learnt.evidence(each) for each in signs[part == k]]
    # A logistic curve from what is said of films that were not seen to a probability.
    asked = unseen > -NEVER
    curve = LogisticRegression(C=1e6).fit(unseen[asked][:, None], right[asked])
    slope, offset = float(curve.coef_[0, 0]), float(curve.intercept_[0])
    likely = np.where(asked, 1 / (1 + np.exp(-(slope * unseen + offset))), 0)
    tried = [(_scores(found, likely, t, films, true), t) for t in np.arange(0.1, 0.81, 0.025)]

    def worth(scores):
        usual, moving = scores["usual"], scores["moving"]
        return usual["false_a_minute"] <= FALSE, (usual["f1"] + moving["f1"]) / 2

    scores, threshold = max(tried, key=lambda each: worth(each[0]))
    final = _fit(signs, right)
    return {
        **{
            name: {
                sign: _short(value)
                for sign, value in zip(SIGNS, getattr(final, name), strict=True)
                if np.isfinite(value)
            }
            for name in ("means", "spreads", "lowest", "highest")
        },
        "examples": [[round(float(sign), 3) for sign in each] for each in final.examples],
        "weights": [_short(slope * weight) for weight in final.weights],
        "bias": _short(slope * final.bias + offset),
        "gamma": GAMMA,
        "threshold": round(float(threshold), 3),
        "unseen": scores,
    }


def _short(number: float) -> float:
    return float(f"{number:.5g}")


def _fit(signs: np.ndarray, right: np.ndarray) -> Judge:
    means, spreads = signs.mean(0), signs.std(0) + 1e-9
    spreads[PATTERN] /= LOOKS
    fit = SVC(C=COST, gamma=GAMMA).fit((signs - means) / spreads, right)
    (weights,), (bias,) = fit.dual_coef_, fit.intercept_
    room = ROOM * spreads
    lowest = np.where(np.isin(SIGNS, MORE), signs[right].min(0) - room, -np.inf)
    highest = np.where(np.isin(SIGNS, LESS), signs[right].max(0) + room, np.inf)
    return Judge(
        *(means, spreads, fit.support_vectors_, weights, float(bias), GAMMA, 0.5, lowest, highest)
    )


def _scores(
    found: Sequence[Example],
    probabilities: np.ndarray,
    threshold: float,
    films: Sequence[Film],
    true: dict[Film, int],
) -> dict[str, dict[str, float]]:
    """By group of films."""
    kept: dict[Film, list[tuple[float, Candidate]]] = {each: [] for each in films}
    of = {}
    for each, probability in zip(found, probabilities, strict=True):
        of[each.candidate] = each.true
        if probability >= threshold:
            kept[each.film].append((float(probability), each.candidate))
    out = {}
    for group in ("usual", "moving"):
        mine = [each for each in films if each.group == group]
        events = [[of[c] for _, c in likeliest(kept[each])] for each in mine]
        spotted = sum(map(len, events))
        matched = sum(len({id(e) for e in found if e is not None}) for found in events)
        f1 = 2 * matched / max(1, spotted + sum(true[each] for each in mine))
        false = (spotted - matched) / (len(mine) * SECONDS / 60)
        out[group] = {"f1": round(f1, 3), "false_a_minute": round(false, 2)}
    return out


def drawn_motion(films: Sequence[Film]) -> Float64[np.ndarray, "K D"]:
    """What `flow.spotting.judge.DRAWN` holds, where the faces of some films have their regions."""
    places = np.mean([_places(each) for each in films], axis=0)
    middles, points = places[:-5], places[-5:]
    eyes, mouth = points[:2], points[3:].mean(0)
    level = eyes[:, 1].mean()
    wide = (_EYES[1][0] - _EYES[0][0]) / (eyes[1, 0] - eyes[0, 0])
    high = (_MOUTH[1] - _EYES[0][1]) / (mouth[1] - level)
    x = _EYES[0][0] + (middles[:, 0] - eyes[0, 0]) * wide
    y = _EYES[0][1] + (middles[:, 1] - level) * high
    flows = np.asarray(draw(jax.random.key(0), CLIPS, settings=_DRAWN).flow, np.float64)
    side = flows.shape[1]
    columns, rows = (np.rint(np.clip(side * at - 0.5, 1, side - 2)).astype(int) for at in (x, y))
    moved = np.stack(
        [
            flows[:, r - 1 : r + 2, c - 1 : c + 2].mean((1, 2))
            for r, c in zip(rows, columns, strict=True)
        ],
        axis=1,
    )
    moved = (moved - np.median(moved, axis=1, keepdims=True)).reshape(len(flows), -1)
    sizes = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.round(moved[sizes[:, 0] > 0] / sizes[sizes > 0][:, None], 3)


def _places(what: Film) -> Float64[np.ndarray, "25 2"]:
    """Where a film's first face has its regions and its five points."""
    _, images = film(what.seed, FPS, 1, what.disturbances, what.expressions)
    image = next(iter(images))
    mesh = Aligner(image, find_mesh(image, find_faces(image)[0])).mesh
    return np.concatenate([centres(mesh), points_of_mesh(mesh)])
