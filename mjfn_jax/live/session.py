"""What one page watches: the frames of a camera, or a file, and what was seen in them."""

import base64
import collections
import io
import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import Float32, UInt8

from flow import footage
from flow.color import flow_to_color
from flow.errors import InputError
from flow.faces.crop import MEAN_PLACES
from flow.faces.points import find_mesh
from flow.footage import Frame
from flow.tvl1 import Stream, tvl1
from mjfn_jax.live.uploads import Upload
from mjfn_jax.recognise import Answer, Look, Watch, tables
from mjfn_jax.recognise.labels import Labeller

logger = logging.getLogger(__name__)

FULL = 1.0
"""px of motion that a flow image shows in full colour."""

_KEPT = 900  # moments of a file that wait to be asked for


class Refusal(Exception):
    """A request that is not answered as asked: the message is one sentence for the page."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status
        """Of HTTP."""


class Session:
    """Footage that is watched.

    Args:
      watch: fresh.
    """

    def __init__(self, watch: Watch):
        self.name = secrets.token_urlsafe(16)
        self.used = time.monotonic()
        """When it was asked for last."""
        self._watch = watch
        self._turn = threading.Lock()
        self._last: Frame | None = None
        self._ended = False
        self._reading: _Reading | None = None

    def look(self, number: int, seconds: float, image: UInt8[np.ndarray, "H W"]) -> dict[str, Any]:
        """What the camera's next frame shows.

        Args:
          number: counted by the camera's page; those that were dropped are left out.
          seconds: when it was taken, from any moment on.
          image: its luma plane.

        Raises:
          Refusal: another frame of this session is being looked at, the frame is not later than
            the last one, or the session reads a file or has ended.
        """
        if not self._turn.acquire(blocking=False):
            raise Refusal(409, "Another frame is being looked at: send one at a time.")
        try:
            if self._reading or self._ended:
                raise Refusal(409, "This session takes no more frames: start a new one.")
            last = self._last
            if last is not None and not (number > last.number and seconds > last.time):
                raise Refusal(
                    400, f"Frame {number} is not later than frame {last.number}: number them."
                )
            since = time.perf_counter()
            frame = self._last = Frame(number, seconds, f"frame {number}", image)
            looks = self._watch.look(frame)
            seen = _moment(frame, looks)
            seen["picture"] = picture(looks[0].moment.flow)
            seen["events"] = [event(answer) for look in looks for answer in look.answers]
            seen["milliseconds"] = round(1000 * (time.perf_counter() - since), 1)
            return seen
        finally:
            self._turn.release()

    def finish(self) -> list[dict[str, Any]]:
        """The events that the end of the camera's footage leaves open; it takes no more frames.

        Raises:
          Refusal: it has ended already, or reads a file.
        """
        with self._turn:
            if self._reading or self._ended:
                raise Refusal(409, "This session has ended already: start a new one.")
            self._ended = True
            return [event(answer) for answer in self._watch.finish()]

    def read(self, upload: Upload) -> None:
        """Begin to read a file, in a thread of its own. The upload is closed at its end."""
        with self._turn:
            if self._reading or self._ended or self._last is not None:
                upload.close()
                raise Refusal(409, "This session has footage already: start a new one.")
            self._reading = _Reading(self._watch, upload)

    def progress(self, events: int, moment: int) -> dict[str, Any]:
        """How far the file is read.

        Args:
          events: how many of its events are known to who asks.
          moment: number of the last moment that is known to them.

        Raises:
          Refusal: the session reads no file.
        """
        if self._reading is None:
            raise Refusal(409, "This session reads no file.")
        return self._reading.progress(events, moment)

    def close(self) -> None:
        """Stop reading, and let go of what was seen."""
        self._ended = True
        if self._reading:
            self._reading.stop()


class _Reading:
    """A file that is read through a watch."""

    def __init__(self, watch: Watch, upload: Upload):
        self._watch, self._upload = watch, upload
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._moments: collections.deque[dict[str, Any]] = collections.deque(maxlen=_KEPT)
        self._events: list[dict[str, Any]] = []
        self._flow: np.ndarray | None = None
        self._frames, self._since = 0, time.perf_counter()
        self._error: str | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def progress(self, events: int, moment: int) -> dict[str, Any]:
        done = not self._thread.is_alive()  # first: what it adds at its end is then in the answer
        with self._lock:
            flow = self._flow
            seen = {
                "frames": self._frames,
                "seconds": round(time.perf_counter() - self._since, 2),
                "done": done,
                "error": self._error,
                "moments": [each for each in self._moments if each["number"] > moment],
                "events": self._events[events:],
            }
        return seen | {"picture": picture(flow)}

    def stop(self) -> None:
        self._stopped.set()

    def _read(self) -> None:
        try:
            with self._upload as upload:
                for frame in footage.frames(upload.path):
                    if self._stopped.is_set():
                        return
                    looks = self._watch.look(frame)
                    answers = [event(answer) for look in looks for answer in look.answers]
                    with self._lock:
                        self._frames += 1
                        self._moments.append(_moment(frame, looks))
                        self._flow = looks[0].moment.flow
                        self._events += answers
            answers = [event(answer) for answer in self._watch.finish()]
            with self._lock:
                self._events += answers
        except InputError as error:
            # The path is ours, and says nothing to who sent the file.
            said = str(error).replace(os.fspath(self._upload.path), "the file")
            self._fail(f"The file cannot be read: {said}.")
        except Exception:
            logger.exception("a fault while a file was read")
            self._fail("A fault of ours while the file was read: the terminal says more.")

    def _fail(self, sentence: str) -> None:
        with self._lock:
            self._error = sentence


class Sessions:
    """The sessions of a server.

    Args:
      make: a fresh watch.
      most: how many there may be at a time.
      idle: seconds after which one that nobody asks for is dropped. A browser lets a page that is
        not seen ask once a minute.
    """

    def __init__(self, make: Callable[[], Watch], most: int = 4, idle: float = 150.0):
        self._make, self.most, self._idle = make, most, idle
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def open(self) -> Session:
        """A new one.

        Raises:
          Refusal: there are as many as there may be.
        """
        with self._lock:
            if len(self._sessions) >= self.most:
                raise Refusal(
                    503,
                    f"{self.most} pages are watching already, which is as many as may: stop one of "
                    "them, then start again.",
                )
            session = Session(self._make())
            self._sessions[session.name] = session
            return session

    def find(self, name: str) -> Session:
        """One by its name.

        Raises:
          Refusal: there is none.
        """
        with self._lock:
            session = self._sessions.get(name)
            if session is None:
                raise Refusal(410, "This session is over: start again.")
            session.used = time.monotonic()
            return session

    def forget(self, name: str) -> None:
        """Drop one, with all that was seen; nothing happens if there is none."""
        with self._lock:
            session = self._sessions.pop(name, None)
        if session is not None:
            session.close()

    def sweep(self) -> None:
        """Drop those that nobody has asked for in a while."""
        before = time.monotonic() - self._idle
        with self._lock:
            idle = [session.name for session in self._sessions.values() if session.used < before]
        for name in idle:
            self.forget(name)

    def close(self) -> None:
        """Drop all."""
        with self._lock:
            names = list(self._sessions)
        for name in names:
            self.forget(name)

    def __len__(self) -> int:
        return len(self._sessions)


def warmed(labeller: Labeller, preset: str) -> Labeller:
    """The labeller, after networks were loaded and programs compiled for a first frame, so that no
    camera waits for them.

    Raises:
      InputError: an unknown preset.
    """
    ramp = np.add.outer(np.arange(224), np.arange(224)).astype(np.float32) / 2
    Stream(ramp, preset).flow(ramp)
    tvl1(ramp[None], ramp[None])
    grey = np.full((240, 320), 128, np.uint8)
    Watch(labeller, preset=preset).look(Frame(0, 0.0, "a first frame", grey))
    find_mesh(grey, (80, 40, 160, 160))
    flow = np.stack([ramp, -ramp], -1) / 224
    labeller(flow, (MEAN_PLACES * 224).astype(np.float32))
    return labeller


def event(answer: Answer) -> dict[str, Any]:
    """The record of an expression, with a flow image from onset to apex."""
    return tables.event(answer) | {"picture": picture(answer.flow)}


def picture(flow: Float32[np.ndarray, "224 224 2"] | None) -> str | None:
    """The flow image as a bitmap in a data address, of half its sides; full colour is
    :data:`FULL` px."""
    if flow is None:
        return None
    means = (flow[::2, ::2] + flow[1::2, ::2] + flow[::2, 1::2] + flow[1::2, 1::2]) / 4
    file = io.BytesIO()
    PIL.Image.fromarray(flow_to_color(means, FULL)).save(file, "BMP")  # PNG takes a millisecond
    return "data:image/bmp;base64," + base64.b64encode(file.getvalue()).decode()


def _moment(frame: Frame, looks: list[Look]) -> dict[str, Any]:
    return {
        "number": frame.number,
        "time": round(frame.time, 4),
        "faces": [_face(look) for look in looks],
    }


def _face(look: Look) -> dict[str, Any]:
    moment = look.moment
    if moment.motion is None:
        return {"face": look.face, "success": False, "confidence": 0.0}
    return {
        "face": look.face,
        "success": True,
        "confidence": round(float(moment.agreement), 3),
        "motion": np.round(moment.motion, 3).tolist(),
        "eyes": None if math.isnan(moment.eyes) else round(moment.eyes, 2),
        "head": np.round(moment.head, 3).tolist(),
        "place": np.round(moment.place, 3).tolist(),
        "reference": moment.reference,
    }
