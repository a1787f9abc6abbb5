"""The server of the page: this machine only, and only for who knows the address.

An address carries a token of 32 random bytes; every other path is unknown. What a browser says of
where a request comes from (`Host`, `Origin`, `Sec-Fetch-Site`) must be this page, so that no other
site can ask, even one whose name leads to 127.0.0.1.
"""

import contextlib
import http.server
import importlib.resources
import json
import logging
import re
import secrets
import socket
import socketserver
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from flow.clips import CLASSES
from flow.errors import InputError
from flow.spotting.regions import REGIONS
from mjfn_jax.live import uploads
from mjfn_jax.live.session import FULL, Refusal, Sessions
from mjfn_jax.live.uploads import Upload
from mjfn_jax.recognise import tables

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"

MOST_WIDE, MOST_HIGH = 1920, 1080
"""Sides of a camera's frame, px."""
LEAST = 32
"""The same, at least."""

MOST_UPLOAD = 2 * 10**9
"""Bytes of a file."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PAGE = {
    "": ("index.html", "text/html; charset=utf-8"),
    "live.js": ("live.js", "text/javascript; charset=utf-8"),
    "live.css": ("live.css", "text/css; charset=utf-8"),
}
_CONNECTIONS = 64
_PATIENCE = 20  # seconds without a byte, after which a connection is closed
_LINGER = 2.0  # seconds in which what was sent in vain is read, so that the answer arrives


class Server(http.server.ThreadingHTTPServer):
    """Serves the page and what it asks for.

    Args:
      port: 0 takes any free one.
      sessions: what the pages watch.
      about: said on the page: `model` and `preset`.

    Raises:
      InputError: the port is in use, or may not be used.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, port: int, sessions: Sessions, about: dict[str, Any]):
        self.sessions = sessions
        self.token = secrets.token_urlsafe(32)
        folder = importlib.resources.files("mjfn_jax.live") / "page"
        self.page = {
            path: (folder.joinpath(name).read_bytes(), kind) for path, (name, kind) in _PAGE.items()
        }
        self.about = about | {
            "regions": tuple(REGIONS),
            "classes": CLASSES,
            "columns": tables.EVENTS,
            "sessions": sessions.most,
            "upload_bytes": MOST_UPLOAD,
            "frame": {"width": MOST_WIDE, "height": MOST_HIGH},
            "flow_px": FULL,
        }
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        uploads.sweep()
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            said = getattr(error, "strerror", None) or "no port has this number"
            raise InputError(
                f"--port={port}: {said}: give another one, or 0 for any that is free"
            ) from None
        self.host = f"{ADDRESS}:{self.server_address[1]}"

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{self.host}/{self.token}/"

    def server_bind(self) -> None:
        """As the base class, which asks for the machine's name besides, over the network."""
        socketserver.TCPServer.server_bind(self)

    def service_actions(self) -> None:
        self.sessions.sweep()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is a thread for one more connection."""
        return self._free.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no fault; another error keeps its traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        self.sessions.close()


class _Answer(NamedTuple):
    content: bytes
    kind: str = "application/json"
    status: int = 200


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._respond({"about": self._about, "progress": self._progress} | dict.fromkeys(_PAGE))

    def do_POST(self) -> None:
        self._respond(
            {
                "open": self._open,
                "frame": self._frame,
                "finish": self._finish,
                "upload": self._upload,
                "forget": self._forget,
            }
        )

    # What is asked for

    def _about(self) -> _Answer:
        return _json(self.server.about)

    def _open(self) -> _Answer:
        self._body(0, 0)
        return _json({"session": self.server.sessions.open().name}, 201)

    def _frame(self) -> _Answer:
        session = self.server.sessions.find(self._text("session"))
        width = self._number("width", LEAST, MOST_WIDE)
        height = self._number("height", LEAST, MOST_HIGH)
        number = self._number("number", 0, 2**53)
        seconds = self._number("microseconds", 0, 2**53) / 1e6
        body = self._body(width * height, width * height)
        image = np.frombuffer(body, np.uint8).reshape(height, width)
        return _json(session.look(number, seconds, image))

    def _finish(self) -> _Answer:
        session = self.server.sessions.find(self._text("session"))
        self._body(0, 0)
        return _json({"events": session.finish()})

    def _upload(self) -> _Answer:
        session = self.server.sessions.find(self._text("session"))
        length = self._length(1, MOST_UPLOAD)
        upload = Upload()

        def read(size: int) -> bytes:
            session.used = time.monotonic()
            return self.rfile.read(size)

        try:
            whole = upload.fill(read, length)
        except InputError as error:
            upload.close()
            raise Refusal(507, f"The file was not taken: {error}.") from None
        except BaseException:
            upload.close()
            raise
        if not whole:
            upload.close()
            raise Refusal(400, "The file ended before it was whole: send it again.")
        self._unread = 0
        session.read(upload)
        return _json({}, 202)

    def _progress(self) -> _Answer:
        session = self.server.sessions.find(self._text("session"))
        events = self._number("events", 0, 2**53)
        moment = self._number("moment", -1, 2**53)
        return _json(session.progress(events, moment))

    def _forget(self) -> _Answer:
        self._body(0, 0)
        self.server.sessions.forget(self._text("session"))
        return _json({})

    # How it is asked for

    def _respond(self, doors: dict[str, Callable[[], _Answer] | None]) -> None:
        self._unread: int | None = None  # bytes of the body; None: not known
        try:
            answer = self._admitted(doors)
        except Refusal as refusal:
            answer = _json({"error": str(refusal)}, refusal.status)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
            return
        except Exception:
            logger.exception("a fault while a page was answered")
            answer = _json({"error": "A fault of ours: the terminal says more."}, 500)
        self._send(answer)

    def _admitted(self, doors: dict[str, Callable[[], _Answer] | None]) -> _Answer:
        self._unread = self._announced()
        if self.headers.get_all("Host") != [self.server.host]:
            raise Refusal(403, "This address is not the page's own.")
        origins = self.headers.get_all("Origin", [])
        page = f"http://{self.server.host}"
        if any(origin != page for origin in origins) or (self.command == "POST" and not origins):
            raise Refusal(403, "Another site asks: it gets nothing.")
        site, mode, kind = (
            self.headers.get(f"Sec-Fetch-{name}") for name in ("Site", "Mode", "Dest")
        )
        # A terminal may be a site itself: its link opens the page, which no site can look into.
        opened = self.command == "GET" and (mode, kind) == ("navigate", "document")
        if site not in (None, "same-origin", "none") and not opened:
            raise Refusal(403, "Another site asks: it gets nothing.")
        try:
            parts = urllib.parse.urlsplit(self.path)
            self._query = urllib.parse.parse_qs(parts.query, strict_parsing=bool(parts.query))
        except ValueError:
            raise Refusal(400, "This address cannot be read.") from None
        _, token, *rest = parts.path.split("/") if parts.path.startswith("/") else ("", "", "")
        known = secrets.compare_digest(token.encode(), self.server.token.encode())
        name = "/".join(rest)
        if not known or not rest or name not in doors:
            raise Refusal(404, "There is nothing at this address.")
        door = doors[name]
        if door is not None:
            return door()
        content, kind = self.server.page[name]
        return _Answer(content, kind)

    def _announced(self) -> int:
        """Bytes of the body."""
        if self.headers.get_all("Transfer-Encoding"):
            raise Refusal(411, "Say how long the body is (Content-Length).")
        lengths = self.headers.get_all("Content-Length", [])
        if not lengths:
            return 0
        if len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,15}", lengths[0], re.ASCII):
            raise Refusal(400, "The length of the body cannot be read.")
        return int(lengths[0])

    def _length(self, least: int, most: int) -> int:
        if self._unread > most:
            raise Refusal(413, f"{self._unread} bytes are more than {most}: send less.")
        if self._unread < least:
            raise Refusal(400, f"{self._unread} bytes are fewer than {least}.")
        return self._unread

    def _body(self, least: int, most: int) -> bytes:
        length = self._length(least, most)
        body = self.rfile.read(length)
        if len(body) < length:
            raise Refusal(400, "The body ended before it was whole.")
        self._unread = 0
        return body

    def _text(self, name: str) -> str:
        values = self._query.get(name, [])
        if len(values) != 1:
            raise Refusal(400, f"Give one {name}.")
        return values[0]

    def _number(self, name: str, least: int, most: int) -> int:
        text = self._text(name)
        if not re.fullmatch(r"-?[0-9]{1,16}", text, re.ASCII) or not least <= int(text) <= most:
            raise Refusal(400, f"{name} is a whole number from {least} to {most}.")
        return int(text)

    def _send(self, answer: _Answer) -> None:
        last = self._unread != 0  # what follows on this connection would be the body
        self.close_connection = self.close_connection or last
        try:
            self.send_response(answer.status)
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.content)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer.content)
            if last:
                self._linger()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _linger(self) -> None:
        """Read on for a moment: a connection that is closed with bytes unread takes the answer
        with it."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER)
            until = time.monotonic() + _LINGER
            while time.monotonic() < until and self.connection.recv(2**16):
                pass

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class says of a request that is none, in the form of all answers."""
        self._unread = None
        short = http.HTTPStatus(code).phrase
        self._send(_json({"error": f"This request cannot be answered: {short}."}, code))

    def version_string(self) -> str:
        return "mjfn"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: an address would tell the token."""


def _json(content: Any, status: int = 200) -> _Answer:
    return _Answer(json.dumps(content, allow_nan=False).encode(), status=status)
