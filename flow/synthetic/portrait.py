"""Paints an invented face: a height map under a lamp, skin with pores, drawn eyes and hair.

Everything is computed on a grid of two samples a pixel, so that motion of a fraction of a
pixel can be sampled from it without jagged edges.
"""

import dataclasses
import functools

import cv2
import numpy as np
from jaxtyping import Float32

from flow.synthetic.identity import Identity

OVERSAMPLING = 2
"""Samples of a portrait per pixel of a 280×340 face crop, each way."""

_Plane = Float32[np.ndarray, "H W"]
_Rows = Float32[np.ndarray, "h W"]


def paint(
    who: Identity,
    window: tuple[int, int, int, int],
    eyelids: float = 1.0,
    gaze: tuple[float, float] = (0.0, 0.0),
) -> Float32[np.ndarray, "H W 3"]:
    """Paint a face.

    Args:
      who: the subject.
      window: left, top, right, bottom of what is shown, in pixels of a 280×340 face crop
        whose upper left corner is the origin.
      eyelids: 1 for open eyes, 0 for closed.
      gaze: how far both irises lie to the right of and below the middle of their eyes, pixels of
        the face crop. The lids stay as they are.

    Returns:
      RGB, 0 to 1, with `OVERSAMPLING` samples a pixel.
    """
    return _face(who, window).portrait(eyelids, gaze)


@functools.lru_cache(maxsize=4)
def _face(who: Identity, window: tuple[int, int, int, int]) -> "_Face":
    left, top, right, bottom = window
    n = OVERSAMPLING
    xs = (np.arange((right - left) * n, dtype=np.float32) + 0.5) / n - 0.5 + left
    ys = (np.arange((bottom - top) * n, dtype=np.float32) + 0.5) / n - 0.5 + top
    return _Painter(who, *np.meshgrid(xs, ys)).face()


def _smooth(edge: _Plane, width: int | float) -> _Plane:
    """0 to 1 as `edge` goes from -width to width."""
    t = np.clip(edge / (2 * width) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _turned(plane: _Plane, gaze: tuple[float, float]) -> _Plane:
    """A plane that moves with the irises."""
    right, down = (OVERSAMPLING * each for each in gaze)
    if not (right or down):
        return plane
    shift = np.asarray([[1, 0, right], [0, 1, down]], np.float32)
    return cv2.warpAffine(plane, shift, plane.shape[::-1], borderMode=cv2.BORDER_REFLECT)


@dataclasses.dataclass(frozen=True, eq=False)
class _Face:
    """A face that is painted but for the eyes, which are drawn as they look."""

    who: Identity
    without_eyes: Float32[np.ndarray, "H W 3"]
    rows: slice
    """What eyes, lids and their shadow change. Of these rows:"""
    y: _Rows
    from_middle: _Rows
    below: Float32[np.ndarray, "h W 3"]
    """What is below brows and hair."""
    white: _Rows
    """Of the eyeball."""
    over: "_Over"
    flecks: _Plane
    """Of the irises, in all rows."""

    def portrait(self, eyelids: float, gaze: tuple[float, float]) -> Float32[np.ndarray, "H W 3"]:
        image = self.without_eyes.copy()
        image[self.rows] = self.over.cover(self._eyes(eyelids, gaze), self.who)
        return image

    def _eyes(self, eyelids: float, gaze: tuple[float, float]) -> Float32[np.ndarray, "h W 3"]:
        who, marks, image = self.who, self.who.marks, self.below
        from_middle, side = self.from_middle, np.abs(self.from_middle)
        # The eyeball's light, then lids and lashes over it; both eyes in mirrored coordinates.
        across = (side - marks.eye_apart) / who.eye_half  # -1 inner corner, 1 outer
        tilt = -who.tilt * across
        y = self.y - marks.eye - tilt
        t = np.clip(np.abs(across), 0, 1)
        arch = (1 - np.clip(np.abs(across + 0.12), 0, 1.2) ** 2.3).clip(0) ** 0.75
        sag = (1 - np.clip(np.abs(across - 0.1), 0, 1.2) ** 2.4).clip(0) ** 0.85
        low = 0.62 * who.eye_open * sag
        high = low - (low + 1.05 * who.eye_open * arch) * eyelids
        gap = _smooth(y - high, 0.7) * _smooth(low - y, 0.7) * _smooth(1 - np.abs(across), 0.04)

        # Mirrored, the two irises that turn to one side move apart in `side`.
        right, down = gaze
        iris_x = side - marks.eye_apart
        if right:
            iris_x = iris_x - np.sign(from_middle) * np.float32(right)
        iris_y = self.y - marks.eye + 1.0
        if down:
            iris_y = iris_y - np.float32(down)
        radius = np.hypot(iris_x, iris_y)
        white = 0.80 - 0.22 * t**2 - 0.30 * np.exp(-np.maximum(y - high, 0) / 2.4)
        white = white + self.white
        eye = white[..., None] * np.asarray((1.0, 0.95, 0.92), np.float32)
        caruncle = np.exp(-(((across + 0.93) / 0.10) ** 2))
        eye += (np.asarray((0.62, 0.38, 0.34), np.float32) - eye) * caruncle[..., None]
        size = 10.2
        angle = np.arctan2(iris_y, iris_x)
        flecks = _turned(self.flecks, gaze)[self.rows]
        spokes = 1 + 0.25 * np.sin(angle * 17 + 2 * np.sin(angle * 5)) + flecks
        iris = (
            np.asarray(who.iris, np.float32)
            * (spokes * (0.75 + 0.6 * (radius / size) ** 2))[..., None]
        )
        iris *= (1 - 0.6 * np.exp(-(((radius - size) / 1.3) ** 2)))[..., None]
        iris *= (1 - 0.95 * _smooth(4.2 - radius, 0.8))[..., None]
        iris *= (1 - 0.5 * np.exp(-np.maximum(y - high, 0) / 3.0))[..., None]
        eye += (iris - eye) * _smooth(size - radius, 0.8)[..., None]
        glint = np.hypot(
            from_middle - np.sign(from_middle) * marks.eye_apart - 6 * who.light[0],
            self.y - marks.eye + 4.0,
        )
        eye += 0.85 * _smooth(1.9 - glint, 0.9)[..., None]
        image = image + (eye - image) * gap[..., None]

        # Lashes thicken the upper edge outwards; the crease and lower edge are faint.
        near = _smooth(1.06 - np.abs(across), 0.05)
        thick = 1.1 + 0.8 * np.clip(across + 0.3, 0, 1.2)
        dark = 0.80 * np.exp(-(((y - high + 0.3) / thick) ** 2)) * near
        dark = np.maximum(dark, 0.30 * np.exp(-(((y - low - 0.5) / 0.9) ** 2)) * near)
        crease = high - 4.8 - 2.2 * who.crease - 1.5 * (1 - eyelids)
        line = (
            0.34
            * who.crease
            * np.exp(-(((y - crease) / 1.1) ** 2))
            * _smooth(1.1 - np.abs(across), 0.12)
        )
        shadow = (
            0.14 * np.exp(-(((y - crease + 2) / 4.5) ** 2)) * _smooth(1.15 - np.abs(across), 0.2)
        )
        hidden = 1 - (1 - dark) * (1 - line * (1 - gap)) * (1 - shadow * (1 - gap))
        return image * (1 - hidden)[..., None]


@dataclasses.dataclass(frozen=True, eq=False)
class _Over:
    """Brows and hair: their colours, and how far they cover what is below."""

    brows: Float32[np.ndarray, " 3"]
    by_brows: Float32[np.ndarray, "h W 1"]
    hair: Float32[np.ndarray, "h W 3"]
    by_hair: Float32[np.ndarray, "h W 1"]
    shade: Float32[np.ndarray, "h W 1"]
    """The light that the hair's shadow leaves."""

    def part(self, rows: slice) -> "_Over":
        by_brows, *of_hair = (
            plane[rows].copy() for plane in (self.by_brows, self.hair, self.by_hair, self.shade)
        )
        return _Over(self.brows, by_brows, *of_hair)

    def cover(
        self, image: Float32[np.ndarray, "h W 3"], who: Identity
    ) -> Float32[np.ndarray, "h W 3"]:
        """An image with them, as bright as the face is."""
        image = image + (self.brows - image) * self.by_brows
        image = image * self.shade
        image = image + (self.hair - image) * self.by_hair
        image = (image - 0.42) * who.contrast + 0.42
        return np.clip(image * who.brightness, 0, 1).astype(np.float32)


class _Painter:
    """The planes that the parts of a face share while it is painted."""

    def __init__(self, who: Identity, x: _Plane, y: _Plane):
        self.who, self.marks, self.x, self.y = who, who.marks, x, y
        self.from_middle = x - who.marks.middle
        self.side = np.abs(self.from_middle)
        self.rng = np.random.default_rng(who.seed)
        self.half = self._half_width(y)

    def face(self) -> _Face:
        behind = self._behind()
        below = behind + (self._skin() - behind) * self._head_mask()[..., None]
        white, flecks = self._noise((3, 0.02)), self._noise((1.5, 0.12))
        over = _Over(*self._brows(), *self._hair())
        near = np.flatnonzero(np.abs(self.y[:, 0] - self.marks.eye) < 60)
        rows = slice(near[0], near[-1] + 1) if len(near) else slice(0)
        planes = (self.y, self.from_middle, below, white)
        return _Face(
            *(self.who, over.cover(below, self.who), rows),
            *(plane[rows].copy() for plane in planes),
            *(over.part(rows), flecks),
        )

    # Outlines

    def _half_width(self, y: _Plane) -> _Plane:
        """Half the head's width at a height: round above, narrowing to the chin below."""
        marks, who = self.marks, self.who
        level = marks.eye + 18
        up = np.clip((level - y) / (level + 32), 0, 1)
        down = np.clip((y - level) / (marks.chin - level), 0, 1)
        skull = np.sqrt(np.maximum(1 - up**2.4, 0))
        jaw = np.sqrt(np.maximum(1 - down ** (1.9 + 1.1 * who.jaw), 0)) * (1 - 0.10 * down)
        return (who.face_half * np.where(y < level, skull, jaw)).astype(np.float32)

    def _head_mask(self) -> _Plane:
        across = (self.side - self.who.face_half - 1) / 11
        down = (self.y - self.marks.eye - 24) / 32
        ears = _smooth(1 - across**2 - (down + 0.25 * across) ** 2, 0.12)
        head = _smooth(self.half - self.side, 1.2) * _smooth(self.marks.chin - self.y, 1.0)
        return np.maximum(head, ears)

    # Surface

    def _bump(
        self,
        px: int | float,
        py: int | float,
        wide: int | float,
        high: int | float,
        mirrored: bool = True,
    ) -> _Plane:
        across = ((self.side if mirrored else self.from_middle) - px) / wide
        down = (self.y - py) / high
        return np.exp(-0.5 * (across * across + down * down))

    def _noise(self, *scales: tuple[int | float, float]) -> _Plane:
        """Sum of smooth random planes: (grain in pixels, strength)."""
        total = np.zeros(self.x.shape, np.float32)
        height, width = self.x.shape
        for grain, strength in scales:
            step = max(grain * OVERSAMPLING / 2, 1.0)
            rows, columns = int(height / step) + 3, int(width / step) + 3
            coarse = self.rng.standard_normal((rows, columns), np.float32)
            fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
            total += strength * fine
        return total

    def _lip_lines(self) -> tuple[_Plane, _Plane, _Plane]:
        """y of the upper edge, the line between and the lower edge of the lips."""
        who, marks = self.who, self.marks
        t = np.clip(self.side / marks.mouth_half, 0, 1)
        arc = (1 - t * t) ** 0.8
        bow = (
            1
            - 0.28 * np.exp(-((self.side / 5.0) ** 2))
            + 0.1 * np.exp(-(((self.side - 9) / 6.0) ** 2))
        )
        line = marks.mouth + 1.6 * np.cos(t * 4.2) * (1 - t) - 0.8 * t
        upper = line - who.lip_full * arc * bow
        lower = line + 1.25 * who.lip_full * (1 - t**2.4) ** 0.9
        return upper, line, lower

    def _height(self) -> _Plane:
        who, marks, bump = self.who, self.marks, self._bump
        age = who.age
        # The skull's own width, a little longer than the outline: else the chin gets a ridge.
        level = marks.eye + 18
        half = self._half_width(np.minimum(self.y, level + 0.88 * (self.y - level)))
        ratio = np.clip(self.side / np.maximum(half, 1), 0, 0.97)
        lengthwise = np.clip((self.y - 165) / 190, -1, 1)
        z = 62 * np.sqrt(1 - ratio**2.3) * np.sqrt(np.maximum(1 - 0.55 * lengthwise**2, 0.05))

        z -= 11 * bump(marks.eye_apart - 3, marks.eye - 2, 27, 15)
        z += 5.5 * bump(marks.eye_apart, marks.eye + 1, 17, 10)
        z -= 3.5 * bump(marks.eye_apart - 20, marks.eye + 1, 9, 10)
        z -= (1.2 + 1.6 * age) * bump(marks.eye_apart - 4, marks.eye + 18, 20, 4.5)
        z += 4.5 * bump(marks.eye_apart - 8, marks.brow + 2, 34, 9)
        z += 3.0 * bump(0, marks.brow - 4, 20, 12)
        z += 7.0 * bump(66, marks.eye + 46, 26, 22)
        z -= 5.0 * bump(74, marks.mouth + 2, 20, 34)
        z -= 4.0 * bump(92, marks.eye - 8, 14, 26)

        # The nose: a ridge that rises towards its tip, a ball, two wings.
        along = np.clip((self.y - marks.eye + 14) / (marks.nose - marks.eye + 8), 0, 1)
        ridge = (5 + 17 * along**1.3) * _smooth(marks.nose + 6 - self.y, 9)
        ridge *= _smooth(self.y - marks.eye + 16, 14)
        z += who.nose_high * ridge * np.exp(-0.5 * (self.side / (8 + 5 * along)) ** 2)
        z += who.nose_high * 9 * bump(0, marks.nose - 3, 10, 9)
        z += who.nose_high * 9 * bump(who.nose_half - 5, marks.nose + 1, 6.5, 7.5)
        z -= 4 * bump(who.nose_half + 5, marks.nose + 2, 4, 9)

        # The mouth on its muzzle.
        upper, line, lower = self._lip_lines()
        z += 8 * bump(0, marks.mouth - 2, 42, 34)
        z -= 2.6 * bump(0, marks.mouth - 20, 4.5, 10)
        z += 1.6 * bump(6.5, marks.mouth - 20, 3.5, 10)
        inside = _smooth(marks.mouth_half - self.side, 4)
        z += 3.4 * np.exp(-(((self.y - (upper + line) / 2) / (0.6 * who.lip_full)) ** 2)) * inside
        z += 5.0 * np.exp(-(((self.y - (line + lower) / 2) / (0.7 * who.lip_full)) ** 2)) * inside
        z -= 4.0 * np.exp(-(((self.y - line) / 2.0) ** 2)) * inside
        z -= 4.5 * bump(0, marks.mouth + 1.25 * who.lip_full + 9, 24, 5)
        z -= 1.6 * bump(marks.mouth_half + 4, marks.mouth + 1, 5, 6)
        z += 8.5 * bump(0, marks.chin - 24, 26, 17)

        # Folds: nose to mouth, forehead, between the brows.
        t = (self.y - marks.nose + 4) / (marks.mouth - marks.nose + 10)
        fold = (
            who.nose_half + 5 + (marks.mouth_half - who.nose_half + 12) * np.clip(t, 0, 1.3) ** 0.9
        )
        present = _smooth(t - 0.02, 0.12) * _smooth(1.15 - t, 0.3)
        z -= (1.2 + 3.0 * age) * np.exp(-0.5 * ((self.side - fold) / 3.4) ** 2) * present
        wave = self.y + 3 * np.cos(self.from_middle / 36)
        for k in range(3):
            z -= (
                1.5
                * age
                * np.exp(-0.5 * ((wave - marks.brow + 22 + 14 * k) / 1.6) ** 2)
                * np.exp(-((self.side / 62) ** 4))
            )
        z -= 1.6 * age * bump(7, marks.brow + 2, 1.4, 9)
        # Skin is never even: slow lumps, fine wrinkles, pores.
        z += self._noise((40, 0.7), (14, 0.11), (5, 0.03 + 0.04 * age), (1.6, 0.045))
        return z.astype(np.float32)

    def _skin(self) -> Float32[np.ndarray, "H W 3"]:
        who, marks, bump = self.who, self.marks, self._bump
        z = self._height()
        n = OVERSAMPLING
        dzdx = cv2.Sobel(z, cv2.CV_32F, 1, 0, ksize=3) * (n / 8)
        dzdy = cv2.Sobel(z, cv2.CV_32F, 0, 1, ksize=3) * (n / 8)
        length = np.sqrt(dzdx**2 + dzdy**2 + 1)
        nx, ny, nz = -dzdx / length, -dzdy / length, 1 / length
        lx, ly, lz = who.light
        lambert = np.maximum(nx * lx + ny * ly + nz * lz, 0)
        sky = 0.5 - 0.5 * ny
        # Hollows get less light from all around.
        hollow = sum(
            np.clip((cv2.GaussianBlur(z, (0, 0), s * n) - z) * k, -0.06, 0.3)
            for s, k in ((4, 0.045), (14, 0.022))
        )
        shade = (0.24 + 0.16 * sky + 0.78 * lambert**1.15) * (1 - hollow)
        halfway = float(np.hypot(np.hypot(lx, ly), lz + 1))
        gloss = np.maximum((nx * lx + ny * ly + nz * (lz + 1)) / halfway, 0) ** 28
        gloss *= 0.10 + 0.10 * bump(0, marks.nose - 10, 12, 40) + 0.05 * bump(0, 70, 60, 30)

        tone = 1 + self._noise((60, 0.02), (22, 0.022), (8, 0.018), (3, 0.020), (1.5, 0.022))
        for _ in range(who.freckles):
            px, py = self.rng.uniform(-75, 75), marks.eye + self.rng.uniform(10, 75)
            tone -= self.rng.uniform(0.03, 0.12) * bump(px, py, 1.3, 1.2, mirrored=False)
        for _ in range(who.moles):
            px, py = self.rng.uniform(-85, 85), self.rng.uniform(60, marks.chin - 15)
            size = self.rng.uniform(0.9, 2.0)
            tone -= self.rng.uniform(0.2, 0.5) * bump(px, py, size, size, mirrored=False)
        tone -= (0.05 + 0.09 * who.age) * bump(marks.eye_apart - 4, marks.eye + 15, 19, 7)
        albedo = tone[..., None] * np.asarray(who.skin, np.float32)

        flush = 0.07 * bump(60, marks.eye + 52, 26, 20) + 0.08 * bump(0, marks.nose, 16, 12)
        albedo *= 1 - flush[..., None] * np.asarray((0.1, 1.0, 0.9), np.float32)
        if who.stubble > 0:
            region = _smooth(self.y - marks.mouth + 26, 12)
            region *= np.maximum(
                _smooth(self.y - marks.mouth - 14, 12), _smooth(54 - self.side, 16)
            )
            grain = self._noise((1.4, 0.5), (4, 0.25))
            beard = who.stubble * region * np.clip(0.22 + 0.22 * grain, 0, 0.75)
            albedo *= 1 - beard[..., None] * np.asarray((1.0, 0.9, 0.8), np.float32)

        upper, line, lower = self._lip_lines()
        inside = _smooth(marks.mouth_half - self.side, 2.5)
        lips = _smooth(self.y - upper, 1.8) * _smooth(lower - self.y, 2.4) * inside
        creases = 1 + 0.10 * self._stripes(marks.mouth)
        red = np.asarray(who.skin, np.float32) * np.asarray((0.90, 0.66, 0.68), np.float32)
        strength = (0.45 + 0.5 * who.lip_red) * lips
        albedo += (red * creases[..., None] - albedo) * strength[..., None]
        mouth = np.exp(-(((self.y - line) / 1.15) ** 2)) * _smooth(
            marks.mouth_half + 1 - self.side, 2.5
        )
        nostril = np.exp(
            -(
                (
                    ((self.side - who.nose_half * 0.46) / 4.6) ** 2
                    + ((self.y - marks.nose - 8) / 2.6) ** 2
                )
                ** 1.5
            )
        )
        albedo *= (1 - 0.72 * mouth)[..., None] * (1 - 0.78 * nostril)[..., None]

        image = albedo * shade[..., None] + gloss[..., None] + 0.36 * (lips * gloss)[..., None]
        rim = np.clip(self.side / np.maximum(self.half, 1), 0, 1) ** 10
        return (image * (1 - 0.25 * rim)[..., None]).astype(np.float32)

    def _stripes(self, level: float) -> _Plane:
        """Fine vertical lines, as on lips."""
        width = self.x.shape[1]
        row = self.rng.standard_normal((1, width), np.float32)
        row = cv2.GaussianBlur(row, (0, 0), 1.6) * 2
        bend = (self.y - level) * np.sign(self.from_middle) * 0.25
        columns = np.clip(np.arange(width, dtype=np.float32)[None] - bend * 2, 0, width - 1)
        return cv2.remap(row, columns, np.zeros_like(columns), cv2.INTER_LINEAR)

    # Brows

    def _strokes(
        self, starts: np.ndarray, vectors: np.ndarray, bends: np.ndarray, thickness: int = 1
    ) -> _Plane:
        """Coverage of curved hairs, 0 to 1. Positions in face pixels."""
        mask = np.zeros(self.x.shape, np.uint8)
        n, x0, y0 = OVERSAMPLING, float(self.x[0, 0]), float(self.y[0, 0])
        steps = np.linspace(0, 1, 5)
        for start, vector, bend in zip(starts, vectors, bends, strict=True):
            normal = np.asarray((-vector[1], vector[0]))
            points = start + steps[:, None] * vector + (bend * steps**2)[:, None] * normal
            points = ((points - (x0, y0)) * n * 16).round().astype(np.int32)
            cv2.polylines(mask, [points], False, 255, thickness, cv2.LINE_AA, 4)
        return mask.astype(np.float32) / 255

    def _brows(self) -> tuple[Float32[np.ndarray, " 3"], Float32[np.ndarray, "H W 1"]]:
        """Their colour, and how far they cover what is below."""
        who, marks, rng = self.who, self.marks, self.rng
        inner, outer = marks.eye_apart - 29, marks.eye_apart + 32
        count = int(95 * who.brow_thick)
        masks = []
        for side in (-1, 1):
            t = rng.uniform(0, 1, count)
            spread = who.brow_thick * np.clip(np.minimum(0.6 + 3 * t, 1.25 - 0.95 * t), 0.1, 1)
            x = inner + (outer - inner) * t
            arch = who.brow_arch * np.sin(np.clip(t * 1.25, 0, 1.4) * 2.0) - 3.0 * np.maximum(
                t - 0.7, 0
            )
            y = marks.brow + 3 - arch + rng.normal(0, 0.42, count) * spread
            lean = np.radians(-62 + 75 * np.clip(t * 1.3, 0, 1) + rng.normal(0, 9, count))
            length = rng.uniform(5, 9.5, count) * (1 - 0.35 * t)
            vectors = np.stack([side * np.cos(lean) * length, np.sin(lean) * length], 1)
            starts = np.stack([marks.middle + side * x, y], 1)
            masks.append(self._strokes(starts, vectors, side * rng.uniform(0, 0.2, count)))
        cover = 1 - (1 - 0.85 * masks[0]) * (1 - 0.85 * masks[1])
        cover = np.maximum(cover, 0.75 * cv2.GaussianBlur(cover, (0, 0), 2.2))
        color = np.asarray(who.hair, np.float32) * 0.9 + 0.02
        return color, (0.88 * cover)[..., None]

    # Hair, neck, wall

    def _hair(self) -> tuple[Float32[np.ndarray, "H W 3"], np.ndarray, np.ndarray]:
        """Its colour, how far it covers what is below, and the light that its shadow leaves."""
        who, marks = self.who, self.marks
        part = marks.middle + 34 * who.parting
        away = np.abs(self.x - part)

        # Strands run away from the parting: noise sheared along the way they fall.
        strands = self.rng.standard_normal((64, 1024), np.float32)
        strands = cv2.GaussianBlur(strands, (0, 0), sigmaX=1.1, sigmaY=9) * 3
        bearing = np.arctan2(self.x - part, self.y + 60)
        u = (bearing / np.pi * 0.5 + 0.5) * 1023 * 1.6 % 1023
        v = np.clip(np.hypot(self.x - part, self.y + 60) / 6, 0, 63)
        texture = cv2.remap(strands, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
        ragged = 1.3 * texture + self._noise((26, 2.0))

        # Hair frames the forehead, falls beside the cheeks as far as the fringe goes.
        lean = 1 - 0.18 * who.fringe * (1 if who.parting > 0 else -1) * np.tanh(
            self.from_middle / 30
        )
        wide = who.face_half - 6 - 15 * who.fringe
        high = (marks.eye + 24 - who.hairline) / lean
        across = np.abs(self.from_middle) / wide
        above = np.maximum(marks.eye + 24 - self.y, 0) / high
        frame = (across**2.7 + above**2.7) ** (1 / 2.7)
        over = _smooth((frame - 1) * wide + ragged, 2.5)
        falls = marks.eye + 4 + 260 * max(who.fringe - 0.35, 0) + 2.5 * texture
        over *= _smooth(falls - self.y, 8)
        dome = np.sqrt(np.maximum(1 - (self.side / (who.face_half + 17)) ** 2, 0))
        top = marks.eye + 10 - (marks.eye + 46) * dome
        skull = _smooth(who.face_half + 12 + 9 * who.fringe - self.side + ragged, 3)
        cover = over * skull * _smooth(self.y - top + ragged, 3)
        light = 0.75 + 0.30 * texture + 0.55 * np.exp(-(((self.y - 8 - 0.002 * away**2) / 22) ** 2))
        color = np.asarray(who.hair, np.float32) * np.clip(light, 0.25, 2.4)[..., None] + 0.015
        # Its shadow on the forehead.
        shadow = cv2.GaussianBlur(cover, (0, 0), 5 * OVERSAMPLING)
        return color, cover[..., None], (1 - 0.35 * shadow * (1 - cover))[..., None]

    def _behind(self) -> Float32[np.ndarray, "H W 3"]:
        who, marks = self.who, self.marks
        wall = who.wall * (
            1 + 0.12 * self.from_middle / 280 * who.light[0] - 0.0004 * (self.y - 100)
        )
        wall = wall + self._noise((70, 0.006), (3, 0.006))
        image = wall[..., None] * np.asarray((1.0, 0.99, 0.96), np.float32)
        # Neck and shirt.
        neck = _smooth(62 + 0.05 * np.maximum(self.y - marks.chin, 0) ** 1.5 - self.side, 3)
        neck *= _smooth(self.y - marks.mouth, 10)
        round_off = np.sqrt(np.clip(1 - (self.side / 78) ** 2, 0, 1))
        under = 1 - 0.6 * np.exp(-np.maximum(self.y - marks.chin + 8, 0) / 26)
        tone = (0.25 + 0.55 * round_off) * under * (1 + self._noise((12, 0.03), (2, 0.02)))
        skin = np.asarray(who.skin, np.float32) * tone[..., None]
        image = image + (skin - image) * neck[..., None]
        slope = marks.chin + 16 + 0.12 * self.side + 34 * np.exp(-((self.side / 44) ** 2))
        shirt = _smooth(self.y - slope, 2.0) * _smooth(400 - self.side, 12)
        weave = 1 + self._noise((18, 0.08), (4, 0.05), (1.5, 0.05))
        cloth = np.asarray(who.shirt, np.float32) * (weave * 0.8)[..., None]
        return image + (cloth - image) * shirt[..., None]
