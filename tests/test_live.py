"""The page on 127.0.0.1: who may ask, what is answered, and that nothing is left behind."""

import contextlib
import functools
import http.client
import http.server
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow import footage
from flow.color import flow_to_color
from flow.errors import InputError
from flow.spotting.events import Event
from flow.spotting.moments import Moment
from flow.spotting.regions import REGIONS
from flow.synthetic import long
from flow.synthetic.screenplay import Disturbances, Expressions
from flow.synthetic.view import Camera
from flow.tvl1 import tvl1
from mjfn_jax.commands import live
from mjfn_jax.live import server, uploads
from mjfn_jax.live.server import Server
from mjfn_jax.live.session import FULL, Sessions, event, picture, warmed
from mjfn_jax.live.uploads import Upload
from mjfn_jax.recognise import Answer, Look, Watch, tables
from mjfn_jax.recognise.labels import Label
from mjfn_jax.recognise.recording import record

WIDTH, HEIGHT = 64, 48
FRAME = bytes(WIDTH * HEIGHT)

SURPRISE = Answer(
    0,
    Event("micro", 2, 5, 9, 0.1, 0.2, 0.35, 0.61234, "upper lip", False, 2.5),
    Label(np.array([0.1, 0.2, 0.7], np.float32), True, {"1L": 0.75}),
    np.zeros((224, 224, 2), np.float32),
    np.zeros((2, 224, 224), np.float32),
    (),
)


class Seer(Watch):
    """Sees an expression on every third frame, and one at the end; dark frames show no face."""

    def __init__(self):
        self.images = []

    def look(self, frame):
        self.images.append(frame.image)
        answers = [SURPRISE] if len(self.images) % 3 == 0 else []
        if not frame.image.any():
            return [Look(0, Moment(frame.number, frame.time, None), answers)]
        seen = Moment(
            *(frame.number, frame.time, np.ones((len(REGIONS), 2)), 1.0, np.zeros(6)),
            *(np.eye(2, 3), 0.9, None, np.zeros((224, 224, 2), np.float32)),
        )
        return [Look(0, seen, answers)]

    def finish(self):
        return [SURPRISE]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary files lie."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextlib.contextmanager
def serving(sessions, **about):
    with Server(0, sessions, about) as site:
        thread = threading.Thread(target=site.serve_forever, args=[0.02])
        thread.start()
        try:
            yield site
        finally:
            site.shutdown()
            thread.join()


@pytest.fixture
def site(folder):
    with serving(Sessions(Seer), model="a model") as site:
        yield site


def ask(site, method, path, body=None, **headers):
    """The status, the headers and the content of an answer; headers that are None are left out."""
    headers = {"Host": site.host, "Origin": f"http://{site.host}"} | headers
    connection = http.client.HTTPConnection(site.host, timeout=10)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        if body is not None:
            headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def get(site, path, **headers):
    return ask(site, "GET", f"/{site.token}/{path}", **headers)


def post(site, path, body=b"", **headers):
    status, _, content = ask(site, "POST", f"/{site.token}/{path}", body, **headers)
    return status, json.loads(content)


def opened(site):
    status, content = post(site, "open")
    assert status == 201
    return content["session"]


def frame(site, session, number=1, body=FRAME, microseconds=None, width=WIDTH, height=HEIGHT):
    time = number * 33333 if microseconds is None else microseconds
    query = f"session={session}&number={number}&microseconds={time}&width={width}&height={height}"
    return post(site, f"frame?{query}", body)


# Who may ask


def test_the_page_is_served_with_a_policy_that_lets_nothing_else_in(site):
    for path in ("", "live.js", "live.css"):
        status, headers, content = get(site, path)
        assert status == 200 and content
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy and "*" not in policy and "http" not in policy
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in headers
    page = get(site, "")[2].decode()
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?! src=)|https?:", page)


def test_a_path_without_the_token_leads_to_nothing(site):
    other = "A" * len(site.token)
    for path in (
        "/",
        "/live.js",
        f"/{other}/",
        f"/{other}/about",
        f"/{site.token}",
        "/%C3%A9/",
        "*",
    ):
        assert ask(site, "GET", path)[0] == 404
    assert get(site, "../../flow/errors.py")[0] == get(site, "session.py")[0] == 404
    assert len(site.token) >= 43


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": None},
        {"Host": "localhost"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
    ],
)
def test_another_site_gets_nothing_even_with_the_token(site, headers):
    assert get(site, "about", **headers)[0] == 403
    assert get(site, "live.js", **headers)[0] == 403
    assert post(site, "open", **headers)[0] == 403
    assert len(site.sessions) == 0


def test_what_changes_something_needs_an_origin_and_what_is_read_needs_none(site):
    assert post(site, "open", Origin=None)[0] == 403
    assert get(site, "about", Origin=None)[0] == 200
    assert get(site, "open")[0] == 404 and post(site, "about")[0] == 404


def test_a_link_may_open_the_page_but_no_site_may_frame_it(site):
    link = {"Origin": None, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert get(site, "", **link, **{"Sec-Fetch-Dest": "document"})[0] == 200
    assert get(site, "", **link, **{"Sec-Fetch-Dest": "iframe"})[0] == 403


def test_the_server_listens_on_this_machine_and_asks_for_no_name(folder, monkeypatch):
    monkeypatch.setattr(socket, "getfqdn", lambda name: pytest.fail(f"{name} is looked up"))
    with Server(0, Sessions(Seer), {}) as site:
        assert site.server_address[0] == "127.0.0.1"
        assert site.address == f"http://127.0.0.1:{site.server_address[1]}/{site.token}/"


def test_a_port_in_use_is_one_line_with_the_cure(site):
    port = site.server_address[1]
    with pytest.raises(InputError, match=rf"--port={port}: Address already in use: give another"):
        Server(port, Sessions(Seer), {})
    with pytest.raises(InputError, match="--port=70000: no port has this number"):
        Server(70000, Sessions(Seer), {})


def test_the_token_is_in_no_log(site, capfd):
    get(site, "about")
    get(site, "nothing")
    assert capfd.readouterr() == ("", "")


# Frames


def test_a_frame_arrives_without_loss_and_is_answered(site):
    session = opened(site)
    image = np.random.default_rng(0).integers(1, 256, (HEIGHT, WIDTH), np.uint8)
    status, seen = frame(site, session, 7, image.tobytes())
    assert status == 200
    (here,) = site.sessions.find(session)._watch.images
    assert np.array_equal(here, image)
    assert (seen["number"], seen["time"]) == (7, 0.2333)
    (face,) = seen["faces"]
    assert face["success"] and face["confidence"] == 0.9 and len(face["motion"]) == len(REGIONS)
    assert seen["picture"].startswith("data:image/bmp;base64,") and seen["events"] == []
    assert seen["milliseconds"] >= 0


def test_a_frame_without_a_face_is_an_answer_too(site):
    _, seen = frame(site, opened(site))
    assert seen["faces"] == [{"face": 0, "success": False, "confidence": 0.0}]
    assert seen["picture"] is None


def test_events_come_with_the_frame_that_makes_them_certain_and_at_the_end(site):
    session = opened(site)
    found = [frame(site, session, number)[1]["events"] for number in (1, 2, 3)]
    assert found[:2] == [[], []]
    (one,) = found[2]
    assert one == event(SURPRISE)
    assert (one["label"], one["surprise"], one["apex_frame"]) == ("surprise", 0.7, 5)
    assert one["picture"].startswith("data:image/bmp;base64,")
    assert post(site, f"finish?session={session}") == (200, {"events": [one]})
    status, said = post(site, f"finish?session={session}")
    assert status == 409 and "ended already" in said["error"]
    assert frame(site, session, 9)[0] == 409


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"body": FRAME[:-1]}, 400),
        ({"body": FRAME + b"x"}, 413),
        ({"width": 0}, 400),
        ({"width": 1921}, 400),
        ({"height": "48.0"}, 400),
        ({"number": -1}, 400),
        ({"microseconds": 10**17}, 400),
        ({"microseconds": "1e5"}, 400),
        ({"session": "nobody"}, 410),
    ],
)
def test_a_frame_that_is_none_is_refused_with_a_sentence(site, change, status):
    session = opened(site)
    answer, said = frame(site, **{"session": session} | change)
    assert answer == status and said["error"].endswith(".")
    assert frame(site, session, 2)[0] == 200


def test_frames_that_are_not_later_than_the_last_are_refused(site):
    session = opened(site)
    assert frame(site, session, 5)[0] == 200
    for number, microseconds in ((5, 10**7), (4, 10**7), (6, 5 * 33333)):
        status, said = frame(site, session, number, microseconds=microseconds)
        assert status == 400 and "not later than frame 5" in said["error"]


def test_one_frame_of_a_session_is_looked_at_a_time(site):
    session = opened(site)
    site.sessions.find(session)._turn.acquire()
    status, said = frame(site, session)
    assert status == 409 and "one at a time" in said["error"]


def test_the_flow_image_is_the_flow_in_the_middlebury_colours_at_half_its_sides():
    flow = np.zeros((224, 224, 2), np.float32)
    flow[:112, :, 0] = FULL
    with urllib.request.urlopen(picture(flow)) as file:
        image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(image, flow_to_color(flow[::2, ::2], FULL))
    assert picture(None) is None


# Sessions


def test_a_fifth_page_is_told_so_and_waits_for_one_that_is_forgotten(site):
    sessions = [opened(site) for _ in range(4)]
    for _ in range(46):
        status, said = post(site, "open")
        assert status == 503 and said["error"].startswith("4 pages are watching already")
    assert post(site, f"forget?session={sessions[0]}")[0] == 200
    assert frame(site, sessions[0])[0] == 410
    assert opened(site) not in sessions
    assert post(site, "forget?session=nobody")[0] == 200


def test_a_session_that_nobody_asks_for_is_dropped(folder):
    with serving(Sessions(Seer, idle=0.3)) as site:
        session = opened(site)
        until = time.monotonic() + 10
        while len(site.sessions) and time.monotonic() < until:
            time.sleep(0.02)
        assert frame(site, session)[0] == 410


# Files


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for grey in (90, 100, 110, 120):
        writer.write(np.full((48, 64, 3), grey, np.uint8))
    writer.release()
    return path.read_bytes()


def read(site, session):
    """What is said when the file is read to its end."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        status, _, content = get(site, f"progress?session={session}&events=0&moment=-1")
        seen = json.loads(content)
        if status != 200 or seen["done"]:
            return seen
        time.sleep(0.02)
    pytest.fail("the file is not read to its end")


def test_a_file_goes_through_the_same_watch_and_nothing_of_it_is_left(site, video, folder):
    session = opened(site)
    assert post(site, f"upload?session={session}", video) == (202, {})
    seen = read(site, session)
    assert seen["frames"] == 4 and seen["error"] is None
    assert [(each["number"], each["time"]) for each in seen["moments"]] == [
        *((0, 0.0), (1, 0.04), (2, 0.08), (3, 0.12)),
    ]
    assert seen["events"] == [event(SURPRISE)] * 2
    assert len(seen["moments"]) == 4 and seen["picture"]
    later = json.loads(get(site, f"progress?session={session}&events=1&moment=2")[2])
    assert len(later["events"]) == len(later["moments"]) == 1
    assert list(folder.iterdir()) == []
    assert post(site, f"upload?session={session}", video)[0] == 409
    assert frame(site, session)[0] == 409


@pytest.mark.parametrize("content", [b"no video " * 100, b"\0" * 1000, b"#EXTM3U\n/etc/passwd\n"])
def test_a_file_that_is_no_video_is_said_without_our_path(site, content, folder):
    session = opened(site)
    assert post(site, f"upload?session={session}", content)[0] == 202
    said = read(site, session)["error"]
    assert said.startswith("The file cannot be read: the file: not a video that OpenCV reads")
    assert "proc" not in said and "tmp" not in said and list(folder.iterdir()) == []


def test_three_gigabytes_are_refused_before_they_are_read(site, folder):
    session = opened(site)
    status, said = post(
        site, f"upload?session={session}", b"x" * 10**6, **{"Content-Length": str(3 * 10**9)}
    )
    assert status == 413 and said["error"].startswith("3000000000 bytes are more than 2000000000")
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_said_with_the_cure(site, folder, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("", (), {"free": 10**6}))
    status, said = post(site, f"upload?session={opened(site)}", b"x" * 1000)
    assert status == 507 and "free some space, or set TMPDIR" in said["error"]
    assert list(folder.iterdir()) == []


def test_a_file_that_is_cut_off_leaves_nothing(site, folder):
    session = opened(site)
    connection = socket.create_connection(site.server_address)
    head = f"POST /{site.token}/upload?session={session} HTTP/1.1\r\nHost: {site.host}\r\n"
    head += f"Origin: http://{site.host}\r\nContent-Length: 1000\r\n\r\n"
    connection.sendall(head.encode() + b"x" * 500)
    connection.shutdown(socket.SHUT_WR)
    with connection.makefile("rb") as answer:
        assert b" 400 " in answer.readline()
    connection.close()
    assert list(folder.iterdir()) == []


def test_forgetting_stops_the_reading_of_a_file(site, video, monkeypatch):
    seen, go_on = threading.Event(), threading.Event()

    def look(self, frame):
        seen.set()
        assert go_on.wait(10)
        assert frame.number == 0
        return [Look(0, Moment(frame.number, frame.time, None), [])]

    monkeypatch.setattr(Seer, "look", look)
    session = opened(site)
    post(site, f"upload?session={session}", video)
    assert seen.wait(10)
    thread = site.sessions.find(session)._reading._thread
    post(site, f"forget?session={session}")
    go_on.set()
    thread.join(10)
    assert not thread.is_alive()


KILLED = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from mjfn_jax.live.uploads import Upload
upload = Upload(nameless=sys.argv[2] == "nameless")
parts = iter([b"a face", b""])
upload.fill(lambda size: next(parts), 100)
print(open(upload.path, "rb").read().decode(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["nameless", "named"])
def test_a_file_of_a_process_that_was_killed_is_gone_after_the_next_start(folder, how):
    if how == "nameless" and not pathlib.Path("/proc/self/fd").is_dir():
        pytest.skip("this system opens no file without a name")
    command = [sys.executable, "-c", KILLED, str(folder), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "a face\n"
        left = list(folder.iterdir())
        uploads.sweep()
        assert list(folder.iterdir()) == left and len(left) == (how == "named")
        process.send_signal(signal.SIGKILL)
    with Upload(nameless=False) as ours:
        uploads.sweep()
        assert list(folder.iterdir()) == [ours.path.parent]
    assert list(folder.iterdir()) == []


# The command


def test_what_a_first_frame_needs_is_made_before_it_comes(monkeypatch):
    monkeypatch.setattr("mjfn_jax.live.session.tvl1", functools.partial(tvl1, backend="opencv"))
    asked = []

    def label(flow, points):
        asked.append((flow.shape, points.shape, bool(flow.any())))
        return SURPRISE.label

    assert warmed(label, "fast") is label
    assert asked == [((224, 224, 2), (5, 2), True)]
    with pytest.raises(InputError, match="preset 'none' is unknown"):
        warmed(label, "none")


def test_the_command_prints_the_address_that_opens_the_page(monkeypatch, capsys, folder):
    seen = []

    def serve(site):
        thread = threading.Thread(target=http.server.HTTPServer.serve_forever, args=[site, 0.02])
        thread.start()
        seen.append(json.loads(get(site, "about")[2]))
        site.shutdown()
        thread.join()
        assert capsys.readouterr().out == f"{site.address}\nCtrl-C ends it\n"

    monkeypatch.setattr(Server, "serve_forever", serve)
    monkeypatch.setattr(live, "labeller", lambda model: model)
    monkeypatch.setattr(live, "warmed", lambda label, preset: label)
    live.Live(preset="fast").run()
    assert (seen[0]["model"], seen[0]["preset"]) == ("drawn", "fast")
    assert seen[0]["regions"] == list(REGIONS)


# Messages that are none


def sent(site, message):
    """What comes back until the server closes."""
    with socket.create_connection(site.server_address, timeout=30) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
        answer = bytearray()
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(2**16):
                answer += part
        return bytes(answer)


text = st.text(st.characters(max_codepoint=255), max_size=30)
lines = st.sampled_from(["frame", "upload", "open", "finish", "forget", "progress", "about", ""])
names = st.sampled_from(
    ["Host", "Origin", "Content-Length", "Transfer-Encoding", "Expect", "Connection", "Cookie"]
)
values = st.one_of(
    text, st.integers(-(2**70), 2**70).map(str), st.sampled_from(["chunked", "100-continue"])
)


@settings(max_examples=150)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "get"]) | text,
    door=lines | text,
    query=st.dictionaries(
        st.sampled_from(["session", "number", "microseconds", "width", "height", "events"]) | text,
        values,
        max_size=5,
    ),
    version=st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9", ""]),
    headers=st.lists(st.tuples(names | text, values), max_size=5),
    ours=st.booleans(),
    real=st.booleans(),
    body=st.binary(max_size=200),
)
def test_no_message_stops_the_server_or_leaves_anything(
    fuzzed, method, door, query, version, headers, ours, real, body
):
    site, folder = fuzzed
    if real:
        query |= {"session": site.sessions.open().name}
    head = f"{method} /{site.token}/{door}?"
    head += "&".join(f"{name}={value}" for name, value in query.items()) + f" {version}\r\n"
    if ours:
        head += f"Host: {site.host}\r\nOrigin: http://{site.host}\r\n"
        head += f"Content-Length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
    for status in re.findall(rb"HTTP/1.1 (\d+)", sent(site, head.encode("latin-1") + body)):
        assert int(status) < 500 or int(status) in (501, 503, 505)
    assert get(site, "about")[0] == 200
    site.sessions.close()
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        with serving(Sessions(Seer)) as site:
            yield site, folder


@settings(max_examples=30)
@given(st.binary(max_size=400))
def test_bytes_that_are_no_message_are_answered_or_ended(fuzzed, message):
    site, _ = fuzzed
    answer = sent(site, message)
    assert not answer or re.search(rb'HTTP/1.1 [45]|^\{"error"', answer)
    assert get(site, "about")[0] == 200


def test_a_fault_of_ours_is_a_500_and_the_next_frame_is_answered(site, monkeypatch, caplog):
    session = opened(site)
    monkeypatch.setattr(Seer, "look", lambda self, frame: 1 / 0)
    status, said = frame(site, session)
    assert status == 500 and said["error"] == "A fault of ours: the terminal says more."
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    assert frame(site, session, 2)[0] == 200


def test_more_connections_than_there_may_be_are_closed(site, monkeypatch):
    waiting = [socket.create_connection(site.server_address) for _ in range(64)]
    try:
        until = time.monotonic() + 10
        while site._free._value and time.monotonic() < until:
            time.sleep(0.01)
        assert sent(site, b"") == b""
        with pytest.raises((http.client.HTTPException, OSError)):
            get(site, "about")
    finally:
        for connection in waiting:
            connection.close()
    until = time.monotonic() + 10
    while not site._free._value and time.monotonic() < until:
        time.sleep(0.01)
    assert get(site, "about")[0] == 200


def test_a_connection_that_says_nothing_is_closed(folder, monkeypatch):
    monkeypatch.setattr(server._Handler, "timeout", 0.1)
    with serving(Sessions(Seer)) as site:
        assert sent_slowly(site, f"POST /{site.token}/open HTTP/1.1\r\n".encode()) == b""


def sent_slowly(site, message):
    with socket.create_connection(site.server_address, timeout=10) as connection:
        connection.sendall(message)
        return connection.recv(100)


# In a browser

FPS, SECONDS, CODE = 20, 4, 8
"""Of the film; each frame says its number in blocks of `CODE` px at its upper edge."""

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
    *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--window-size=1000,1400"),
)


class Watched(Watch):
    """Notes the frames that it is shown."""

    def __init__(self, frames, beside=None):
        def label(flow, points):
            share = np.exp(-np.abs(flow).mean((0, 1)))
            return Label(np.array([*share / 4, 1 - share.sum() / 4], np.float32), True, {})

        super().__init__(label, preset="fast", beside=beside)
        self._frames = frames

    def look(self, frame):
        self._frames[frame.number] = frame.image
        return super().look(frame)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A face with one micro-expression, as frames and as a file that a camera can play."""
    camera = Camera((-140, -40, 420, 380), 320, 240, grey=True, margin=48)
    expression = Expressions(micro=1, macro=0, micro_px=(1.2, 1.6))
    _, shown = long.film(29, FPS, SECONDS, Disturbances(), expression, camera=camera)
    frames = np.stack(list(shown))
    for number, image in enumerate(frames):
        image[:CODE] = 16
        for bit in range(8):
            image[:CODE, bit * CODE :][:, :CODE] = 235 if number >> bit & 1 else 16
    path = tmp_path_factory.mktemp("film") / "film.y4m"
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W320 H240 F{FPS}:1 Ip A1:1 C420mpeg2\n".encode())
        for image in frames:
            file.write(b"FRAME\n" + image.tobytes() + bytes([128]) * (image.size // 2))
    return frames, path


@pytest.fixture(scope="module")
def watching(tmp_path_factory):
    """A server that really watches, and what each of its sessions was shown."""
    shown = []

    def make():
        shown.append({})
        return Watched(shown[-1], beside)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as beside:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        # Without the program that JAX compiles for it.
        patch.setattr("mjfn_jax.recognise.watch.tvl1", functools.partial(tvl1, backend="opencv"))
        with serving(Sessions(make), model="drawn", preset="fast") as site:
            yield site, shown


@pytest.fixture(scope="module")
def browser(tmp_path_factory, film):
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("chromium or chromedriver is not on this machine: apt-get install "
                    "chromium chromium-driver")  # fmt: skip
    from selenium import webdriver

    folder = tmp_path_factory.mktemp("chromium")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in (
        *(*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={folder / 'net'}"),
        f"--use-file-for-fake-video-capture={film[1]}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    driver.get("about:blank")
    driver.folder = folder
    yield driver
    with contextlib.suppress(Exception):
        driver.quit()


def code(image):
    """The number in a film's frame."""
    bits = image[CODE // 2, CODE // 2 :: CODE][:8] > 128
    return int((bits << np.arange(8)).sum())


def until(browser, script, what, seconds=60):
    """What a script gives as soon as that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := browser.execute_script(f"return {script}"):
            return found
        time.sleep(0.1)
    error = browser.execute_script("return document.getElementById('error').textContent")
    pytest.fail(f"{what}: not within {seconds} s; the page says: {error}")


def seen_whole(browser, shown):
    """The first expression about which no frame was left out: the film goes round and round."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        for one in browser.execute_script("return events"):
            about = range(one["onset_frame"] - 5, one["offset_frame"] + 6)
            codes = [code(shown[number]) for number in about if number in shown]
            steps = np.diff(codes) % (FPS * SECONDS)
            if len(codes) == len(about) and (steps == 1).all():
                return one
        time.sleep(0.2)
    pytest.fail(f"no expression was seen whole; the page says: {text_of(browser, 'error')}")


def text_of(browser, name):
    return browser.execute_script(f"return document.getElementById('{name}').textContent")


@pytest.fixture(scope="module")
def by_file(film):
    """The expressions that the command line finds in the film."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mjfn_jax.recognise.watch.tvl1", functools.partial(tvl1, backend="opencv"))
        return record(footage.frames(film[1]), Watched({})).answers


@pytest.fixture(scope="module")
def page(browser, watching):
    """The page, where everyone has agreed by the keyboard."""
    from selenium.webdriver.common.keys import Keys

    site, _ = watching
    browser.get_log("browser")
    browser.get(site.address)
    until(browser, "about", "the page's start")
    assert browser.find_element("id", "camera").is_enabled() is False
    keys = browser.switch_to.active_element
    for _ in range(20):
        keys.send_keys(Keys.TAB)
        keys = browser.switch_to.active_element
        if keys.get_attribute("id") == "consent":
            break
    keys.send_keys(Keys.SPACE)
    return browser


def test_a_camera_shows_an_expression_within_a_frame_of_the_command_line(
    page, watching, film, by_file
):
    from selenium.webdriver.common.keys import Keys

    truth = tables.event(*by_file)
    frames, _ = film
    page.find_element("id", "consent").send_keys(Keys.TAB)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    until(page, "run", "the start")
    shown = watching[1][-1]
    found = seen_whole(page, shown)
    assert (found["kind"], found["region"]) == (truth["kind"], truth["region"])
    for part in ("onset_frame", "apex_frame", "offset_frame"):
        assert abs(code(shown[found[part]]) - truth[part]) <= 1, part
    seen = dict(shown)  # more frames come
    assert list(seen) == sorted(seen)
    for image in seen.values():  # the camera's planes, without loss
        assert np.array_equal(image, frames[code(image)])
    until(page, "run.shown.length > 5 && run.latencies.length > 5", "figures")
    assert "px" in until(page, "document.getElementById('curves-text').textContent", "words")
    assert page.find_element("css selector", "#events li img").is_displayed()
    assert page.find_element("id", "flow").is_displayed()
    live = page.find_element("id", "events").get_attribute("aria-live")
    assert live == "polite" and "micro" in text_of(page, "events")
    page.switch_to.active_element.send_keys(Keys.ENTER)
    until(page, "ending && !run", "its end")
    page.execute_async_script("ending.then(arguments[0])")
    assert text_of(page, "camera") == "Start the camera"
    assert page.get_log("browser") == []


def test_a_file_shows_the_same_as_the_command_line_and_can_be_saved_and_forgotten(
    page, watching, film, by_file
):
    page.find_element("id", "file").send_keys(str(film[1]))
    until(page, "document.getElementById('state').textContent.includes('deleted')", "the end")
    assert page.execute_script("return events") == [event(answer) for answer in by_file]
    assert text_of(page, "error") == ""
    for name in ("json", "csv"):
        page.find_element("id", name).click()
        saved = page.folder / f"events.{name}"
        end = time.monotonic() + 20
        while not saved.exists() and time.monotonic() < end:
            time.sleep(0.05)
    saved = json.loads((page.folder / "events.json").read_text())
    assert saved["events"] == [tables.event(answer) for answer in by_file]
    assert saved["frames"] == len(film[0])
    rows = tables.separated(tables.EVENTS, tables.events(by_file))
    assert (page.folder / "events.csv").read_text() == rows
    page.find_element("id", "forget").click()
    until(page, "!events.length && !moments.length", "the end")
    assert len(watching[0].sessions) == 0
    assert list(pathlib.Path(tempfile.gettempdir()).glob("mjfn-live-*")) == []
    assert page.get_log("browser") == []


def test_three_gigabytes_are_refused_on_the_page_and_not_sent(page, watching, tmp_path):
    large = tmp_path / "large.avi"
    with open(large, "wb") as file:
        file.truncate(3 * 10**9)
    page.find_element("id", "file").send_keys(str(large))
    until(page, "!document.getElementById('error').hidden", "a sentence")
    assert text_of(page, "error").startswith("large.avi has 3.0 GB, more than 2.0: cut it")
    assert len(watching[0].sessions) == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NotAllowedError", "The camera may not be used: allow it"),
        ("SecurityError", "This browser gives this page no camera: open it in"),
        ("NotFoundError", "There is no camera: plug one in"),
        ("NotReadableError", "The camera is busy: close the program"),
        ("StrangeError", r"The camera cannot be used \(StrangeError\): try another"),
    ],
)
def test_a_camera_that_does_not_start_is_one_sentence(page, watching, name, said):
    refuse = """
        navigator.mediaDevices.getUserMedia = () =>
          Promise.reject(new DOMException("", arguments[0]));
    """
    page.execute_script(refuse, name)
    page.find_element("id", "camera").click()
    until(page, "!document.getElementById('error').hidden", "a sentence")
    page.execute_script("delete navigator.mediaDevices.getUserMedia")
    assert re.match(said, text_of(page, "error"))
    assert len(watching[0].sessions) == 0


def test_a_camera_that_is_pulled_out_and_a_fifth_page_are_told(page, watching):
    site, _ = watching
    page.find_element("id", "camera").click()
    until(page, "run?.frames", "a frame")
    page.execute_script("run.stream.getVideoTracks()[0].dispatchEvent(new Event('ended'))")
    page.execute_async_script("ending.then(arguments[0])")
    assert text_of(page, "error").startswith("The camera was pulled out or taken away: plug")
    others = [opened(site) for _ in range(4)]
    page.find_element("id", "camera").click()
    until(page, "!document.getElementById('error').hidden", "a sentence")
    assert text_of(page, "error").startswith("4 pages are watching already")
    (line,) = page.get_log("browser")
    assert (
        "/open - Failed to load resource: the server responded with a status of 503"
        in (line["message"])
    )
    for session in others:
        post(site, f"forget?session={session}")


def test_where_frames_come_too_fast_every_second_one_is_left_out(page):
    sent = """
        const here = { waiting: Array(arguments[0]), number: -1, dropped: 0 };
        return [[1, 2, 3, 4].map(() => wanted(here)), here.dropped, here.number];
    """
    assert page.execute_script(sent, 1) == [[True] * 4, 0, 3]
    assert page.execute_script(sent, 2) == [[True, False] * 2, 2, 3]
    assert page.execute_script(sent, 15) == [[False] * 4, 4, 3]


def test_without_planes_the_camera_is_painted(page, watching):
    page.execute_script("window.MediaStreamTrackProcessor = undefined")
    page.find_element("id", "camera").click()
    until(page, "run?.frames > 3", "a frame")
    page.find_element("id", "camera").click()
    until(page, "!run", "the end")
    *_, image = watching[1][-1].values()
    assert image.shape == (240, 320) and image.std() > 20


@pytest.mark.parametrize("width", [320, 390, 1000])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_width_and_its_words_stand_out(page, width, scheme):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        contrasts = page.execute_script(CONTRASTS)
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(contrasts) > 20 and min(contrasts) >= 4.5


CONTRASTS = """
const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
  const share = part / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
}).reduce((sum, part, n) => sum + part * [0.2126, 0.7152, 0.0722][n], 0);
const behind = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const { backgroundColor } = getComputedStyle(one);
    if (backgroundColor !== "rgba(0, 0, 0, 0)") return backgroundColor;
  }
};
const shown = (element) => element.checkVisibility()
  && !element.closest(":disabled, [aria-disabled=true]")
  && [...element.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
return [...document.querySelectorAll("body *")].filter(shown).map((element) => {
  const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
});
"""


def test_everything_that_is_used_has_a_name(page):
    nameless = """
        return [...document.querySelectorAll("button, input, img, canvas, video, progress")]
          .filter((one) => one.ariaHidden !== "true")
          .filter((one) => !(one.textContent.trim() || one.labels?.[0]?.textContent.trim()
            || one.getAttribute("aria-label") || one.alt)).map((one) => one.outerHTML);
    """
    assert page.execute_script(nameless) == []
    heads = "return [...document.querySelectorAll('h1, h2')].map((one) => one.textContent)"
    assert page.execute_script(heads)[0] == "Micro-expressions, live"


def test_a_server_that_has_ended_is_said(page, watching):
    page.execute_script("window.fetch = () => Promise.reject(new TypeError())")
    page.find_element("id", "camera").click()
    until(page, "!document.getElementById('error').hidden", "a sentence")
    assert text_of(page, "error").startswith("The program does not answer: start mjfn live again")
    assert page.get_log("browser") == []


def test_nothing_was_connected_to_but_this_machine(page, watching):
    site, _ = watching
    page.quit()
    log = (page.folder / "net").read_text()
    kind = re.search(r'"TCP_CONNECT_ATTEMPT":(\d+)', log)[1]
    attempts = [line for line in log.splitlines() if f'"type":{kind}}}' in line]
    addresses = [found[1] for line in attempts if (found := re.search(r'"address":"(.+?)"', line))]
    assert site.host in addresses
    assert {address.rpartition(":")[0] for address in addresses} == {"127.0.0.1"}
