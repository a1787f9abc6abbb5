import concurrent.futures
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import types

import cv2
import numpy as np
import openpyxl
import pytest
from PIL import Image
from scipy import ndimage

import flow.algorithms
import flow.build.local
import flow.faces.points
from flow import shards
from flow.__main__ import main
from flow.algorithms import Farneback, TvL1
from flow.build import Build, build
from flow.build.job import Job
from flow.build.products import FLOW_IMAGES, FRAMES
from flow.color import flow_to_color
from flow.databases import read
from flow.disk import manifest
from flow.disk.lock import hold
from flow.errors import InputError
from flow.faces.frames import read_face
from flow.tvl1 import tvl1

ANNOTATION = {"label", "database", "subject", "clip", "onset", "apex", "offset", "box"}
RECORD = ANNOTATION | {"image", "flow", "points"}
"""All that a record of flow images holds: no frame."""
FRAMES_RECORD = ANNOTATION | {"frames", "motion"}


def _frames(seed, n, size=32):
    """A texture on a bright ground that moves right for two frames, then back."""
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.normal(size=(size, size)), 2)
    texture = 128 + 100 * texture / np.abs(texture).max()
    shifts = np.interp(np.arange(n), [0, 2, n], [0, 0.25, 0])
    return [
        ndimage.shift(texture, (0, s), order=1, mode="nearest").astype(np.uint8) for s in shifts
    ]


def _workbook(path, rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four clips of CASME II and one of SMIC in their owners' layouts."""
    source = tmp_path_factory.mktemp("source")
    header = ["Subject", "Filename", "ApexFrame", "OnsetFrame", "OffsetFrame"]
    rows = [[*header, "Action Units", "Estimated Emotion"]]
    for i, emotion in enumerate(["happiness", "disgust", "surprise", "repression"]):
        subject, clip = f"{1 + i // 2:02}", f"EP01_0{i}"
        rows.append([subject, clip, 13, 11, 15, "4", emotion])
        folder = source / "CASME2" / "Cropped" / f"sub{subject}" / clip
        folder.mkdir(parents=True)
        for number, image in enumerate(_frames(i, 5), 11):
            cv2.imwrite(str(folder / f"reg_img{number}.png"), image)
    _workbook(source / "CASME2" / "CASME2-coding-20140508.xlsx", rows)
    folder = source / "SMIC_all_cropped" / "HS" / "s1" / "micro" / "negative" / "s1_ne_01"
    folder.mkdir(parents=True)
    for number, image in enumerate(_frames(9, 4), 559757):
        cv2.imwrite(str(folder / f"reg_image{number}.bmp"), image)
    return source


@pytest.fixture
def source(made, tmp_path):
    return shutil.copytree(made, tmp_path / "source")


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


def _cheapen(patch):
    """Put in a flow that costs nothing and depends on every pixel; returns the pairs seen."""
    pairs = []

    def cheap(onsets, apexes, parameters, backend):
        pairs.extend(onsets)
        difference = apexes.astype(np.float32) - onsets
        return np.stack([difference, onsets.astype(np.float32)], -1)

    patch.setattr(flow.algorithms, "tvl1", cheap)
    return pairs


@pytest.fixture
def quick(monkeypatch):
    return _cheapen(monkeypatch)


@pytest.fixture(scope="module")
def built_once(made, tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        _cheapen(patch)
        build("casme2", made, data_dir, backend="opencv")
    return data_dir


@pytest.fixture
def built(built_once, data_dir):
    """CASME II as the quick flow and the OpenCV backend make it."""
    return shutil.copytree(built_once, data_dir)


def _records(dataset, data_dir, data_set=shards.FlowImages):
    digests = []
    for record in shards.open_shards(dataset, data_dir, data_set):
        digest = hashlib.sha256()
        for name in sorted(record):
            digest.update(np.asarray(record[name]).tobytes())
        digests.append((record["subject"], record["clip"], digest.hexdigest()))
    return digests


def test_a_record_holds_the_flow_between_onset_and_apex(source, data_dir):
    lines = build("casme2", source, data_dir, backend="opencv")
    assert lines == [f"casme2: 4 clips, written to {data_dir}/flow_images/casme2/1.1.0"]
    opened = shards.open_shards("casme2", data_dir)
    assert [record["clip"] for record in opened] == ["EP01_00", "EP01_01", "EP01_02", "EP01_03"]
    assert [record["label"] for record in opened] == [1, 0, 2, 0]

    record = opened[2]
    assert set(record) == RECORD
    assert (record["onset"], record["apex"], record["offset"]) == (11, 13, 15)
    assert (record["database"], record["subject"]) == ("casme2", "sub02")
    assert record["box"].tolist() == [0, 0, 0, 0]
    folder = source / "CASME2" / "Cropped" / "sub02" / "EP01_02"
    onset, apex = (read_face(folder / f"reg_img{number}.png", None) for number in (11, 13))
    (wanted,) = tvl1(onset[None], apex[None], backend="opencv")
    assert np.array_equal(record["flow"], wanted)
    assert np.array_equal(record["image"], flow_to_color(wanted))
    assert (record["points"] == 0).all()  # a texture is no face

    metadata = opened.metadata["casme2"]
    assert metadata["backend"] == "opencv"
    assert metadata["made_by"].startswith("opencv 5")
    assert metadata["parameters"]["nscales"] == 5
    assert metadata["parameters"]["apex_preset"] == "balanced"
    assert metadata["clips"] == 4
    assert len(metadata["fingerprint"]) == 64
    assert sorted(path.name for path in data_dir.iterdir()) == [".lock", "flow_images"]


def test_the_apex_of_smic_is_found(source, data_dir, quick):
    build("smic", source, data_dir, backend="opencv")
    (record,) = shards.open_shards("smic", data_dir)
    assert (record["onset"], record["apex"], record["offset"]) == (559757, 559759, 559760)


def test_frames_that_are_not_cropped_take_the_box_of_the_file(
    source, data_dir, quick, quick_follow, monkeypatch
):
    monkeypatch.setattr(flow.footage, "find_face", lambda image: None)
    shutil.move(source / "CASME2" / "Cropped", source / "CASME2" / "CASME2_RAW_selected")
    for path in (source / "CASME2").glob("CASME2_RAW_selected/*/*/*.png"):
        image = np.full((60, 90), 7, np.uint8)
        image[20:52, 40:72] = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path.with_name(path.name.removeprefix("reg_"))), image)
        path.unlink()
    boxes = source / "face_boxes.csv"
    header = "database,subject,clip,left,top,width,height\n"
    rows = [f"casme2,sub{1 + i // 2:02},EP01_0{i},40,20,32,32\n" for i in range(4)]

    boxes.write_text(header + "".join(rows[:3]))
    with pytest.raises(InputError, match=r"img11\.png: no face found.*--boxes.*clip EP01_03"):
        build("casme2", source, data_dir, backend="opencv")
    boxes.write_text(header + "".join(rows))
    build("casme2", source, data_dir, backend="opencv")
    record = shards.open_shards("casme2", data_dir)[0]
    assert record["box"].tolist() == [40, 20, 32, 32]
    assert record["flow"][..., 1].min() > 7  # nothing but the face was seen
    build("casme2", source, data_dir, backend="opencv", frames=True)
    record = shards.open_shards("casme2", data_dir, shards.Frames)[0]
    assert record["box"].tolist() == [40, 20, 32, 32]
    assert record["frames"].min() > 7

    elsewhere = boxes.rename(source.parent / "mine.csv")
    boxes.write_text(header)
    assert Build("casme2", source, data_dir, elsewhere, "opencv").run() == 0  # the same boxes


def test_a_stopped_build_continues_and_gives_the_same_records(
    source, built, tmp_path, quick, monkeypatch
):
    data_dir = tmp_path / "stopped"
    cheap = flow.algorithms.tvl1

    def stop(*arguments):
        if len(quick) == 2:
            raise KeyboardInterrupt
        return cheap(*arguments)

    monkeypatch.setattr(flow.algorithms, "tvl1", stop)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with pytest.raises(KeyboardInterrupt):
        build("casme2", source, data_dir, backend="opencv")
    with pytest.raises(InputError, match="no data set"):
        shards.open_shards("casme2", data_dir)

    monkeypatch.setattr(flow.algorithms, "tvl1", cheap)
    build("casme2", source, data_dir, backend="opencv")
    assert len(quick) == 4
    assert _records("casme2", data_dir) == _records("casme2", built)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "of another clip"])
def test_a_damaged_record_of_a_stopped_build_is_made_again(
    source, built, tmp_path, quick, monkeypatch, caplog, damage
):
    data_dir = tmp_path / "stopped"
    monkeypatch.setattr(shards, "write", _full)
    with pytest.raises(OSError, match="full"):
        build("casme2", source, data_dir, backend="opencv")
    monkeypatch.undo()
    _cheapen(monkeypatch)
    path, other, *_ = sorted((data_dir / ".building" / "casme2").glob("*.npz"))
    content = path.read_bytes()
    half = len(content) // 2
    flipped = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
    path.write_bytes(
        {
            "flipped": flipped,
            "cut": content[:half],
            "empty": b"",
            "of another clip": other.read_bytes(),
        }[damage]
    )
    build("casme2", source, data_dir, backend="opencv")
    assert f"{path}: damaged" in caplog.text
    assert _records("casme2", data_dir) == _records("casme2", built)


def _full(*arguments):
    raise OSError("full")


SLOW_COMMAND = """
import os, signal, sys, time
import numpy as np
import flow.algorithms
from flow.__main__ import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored

def slow(onsets, apexes, parameters, backend):
    time.sleep(0.3)
    difference = apexes.astype(np.float32) - onsets
    return np.stack([difference, onsets.astype(np.float32)], -1)

flow.algorithms.tvl1 = slow
os.sched_getaffinity = lambda _: {0}
sys.exit(main())
"""
"""`python -m flow` with a flow that takes its time and no processor."""


def test_a_killed_command_continues_and_gives_the_same_records(source, built, tmp_path):
    data_dir = tmp_path / "killed"
    command = [
        *(sys.executable, "-c", SLOW_COMMAND, "build", "--dataset=casme2", f"--source={source}"),
        *(f"--data_dir={data_dir}", "--backend=opencv"),
    ]

    def finished():
        return len(list(data_dir.glob(".building/casme2/*.npz")))

    def stop_at(clips, signal_number):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while finished() < clips and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(signal_number)
            error = process.stderr.read()
        return process.returncode, error

    code, error = stop_at(1, signal.SIGINT)
    assert code == 130
    assert "the same command continues" in error
    assert "Traceback" not in error
    code, _ = stop_at(finished() + 1, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert 2 <= finished() < 4

    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "casme2: 4 clips, written to" in done.stdout
    assert _records("casme2", data_dir) == _records("casme2", built)


def test_a_data_set_that_stands_is_kept_wherever_its_source_stands(source, built, quick):
    moved = source.rename(source.parent / "moved")
    for backend in ("opencv", "auto"):  # auto takes what any backend has made
        assert "already in" in build("casme2", moved, built, backend=backend)[0]
    assert not quick


def test_pairs_in_batches_give_the_same_records(source, built, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(flow.build.local, "batching", lambda product, algorithm: (3, 2))
    build("casme2", source, tmp_path / "batches", backend="opencv")
    assert _records("casme2", tmp_path / "batches") == _records("casme2", built)


def test_points_found_in_another_way_are_another_data_set(source, built, quick, monkeypatch):
    monkeypatch.setattr(flow.faces.points, "METHOD", "another")
    with pytest.raises(InputError, match="made with other parameters"):
        build("casme2", source, built, backend="opencv")
    build("casme2", source, built.parent / "new", backend="opencv")
    (metadata,) = shards.open_shards("casme2", built.parent / "new").metadata.values()
    assert metadata["parameters"]["points"] == "another"


def test_a_damaged_data_set_is_made_again(source, built, quick):
    records = _records("casme2", built)
    (shard,) = shards.folder("casme2", built).glob("*.array_record-*")
    shard.unlink()
    assert "written to" in build("casme2", source, built, backend="opencv")[0]
    assert _records("casme2", built) == records


def test_a_data_set_of_other_frames_is_refused_and_left(source, built):
    records = _records("casme2", built)
    frame = source / "CASME2" / "Cropped" / "sub01" / "EP01_00" / "reg_img13.png"
    cv2.imwrite(str(frame), _frames(77, 1)[0])
    with pytest.raises(InputError, match="made with other frames, annotations or boxes"):
        build("casme2", source, built)
    assert _records("casme2", built) == records


def test_a_data_set_of_another_backend_is_refused_where_one_is_asked_for(
    source, built, monkeypatch
):
    monkeypatch.setattr(flow.algorithms, "resolve_backend", lambda backend: backend)
    monkeypatch.setattr(flow.algorithms, "describe_backend", lambda backend: "jax")
    with pytest.raises(InputError, match=r"another backend \(opencv there\)"):
        build("casme2", source, built, backend="jax")


def test_a_truncated_frame_is_named_and_what_was_done_is_kept(source, data_dir, quick):
    frame = source / "CASME2" / "Cropped" / "sub02" / "EP01_03" / "reg_img13.png"
    whole = frame.read_bytes()
    frame.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"EP01_03/reg_img13\.png"):
        build("casme2", source, data_dir, backend="opencv")
    done = len(quick)
    frame.write_bytes(whole)
    build("casme2", source, data_dir, backend="opencv")
    assert len(quick) == 4
    assert done <= 3


@pytest.fixture
def quick_follow(monkeypatch):
    """Put in a flow through a clip that costs nothing; returns the frames seen."""
    seen = []

    def cheap(frames, preset, backend):
        assert (preset, backend) == ("balanced", "opencv")
        for frame in frames[1:]:
            seen.append(frame)
            yield np.stack([frame.astype(np.float32) - frames[0], frame / np.float32(64)], -1)

    monkeypatch.setattr(flow.algorithms, "follow", cheap)
    return seen


def test_frames_are_those_round_the_apex_and_motion_is_that_of_blocks(
    source, data_dir, quick_follow
):
    """Against Pillow and a loop over blocks, on frames in colour that need no resizing."""
    folder = source / "CASME2" / "Cropped" / "sub02" / "EP01_02"
    (whole,) = _frames(5, 1, size=240)
    random = np.random.default_rng(5)
    for shift, number in enumerate(range(11, 16)):
        image = np.dstack([whole[4:228, shift : shift + 224] // part for part in (1, 2, 3)])
        image += random.integers(0, 2, image.shape, np.uint8)
        cv2.imwrite(str(folder / f"reg_img{number}.png"), image)
    workbook = source / "CASME2" / "CASME2-coding-20140508.xlsx"
    book = openpyxl.load_workbook(workbook)
    book.active["C4"] = 12  # the apex, right after the onset
    book.active.delete_rows(5)
    book.active.delete_rows(2, 2)
    book.save(workbook)

    lines = build("casme2", source, data_dir, backend="opencv", frames=True)
    assert lines == [f"casme2: 1 clips, written to {data_dir}/frames/casme2/1.0.0"]
    (record,) = shards.open_shards("casme2", data_dir, shards.Frames)
    assert set(record) == FRAMES_RECORD
    assert (record["onset"], record["apex"], record["offset"]) == (11, 12, 15)
    assert (record["subject"], record["clip"], record["label"]) == ("sub02", "EP01_02", 2)

    images = {n: Image.open(folder / f"reg_img{n}.png").convert("RGB") for n in range(11, 16)}
    for frame, number in zip(record["frames"], (11, 11, 12, 13, 14), strict=True):
        assert np.array_equal(frame, images[number])

    greys = [np.asarray(image.convert("L"), float) for image in images.values()]
    wanted = np.zeros((64, 128))
    for step, grey in enumerate(greys[1:], 32):  # the onset is step 31, and zeros
        for row in range(8):
            for column in range(8):
                block = np.s_[28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
                u, v = (grey - greys[0])[block].mean(), (grey / 64)[block].mean()
                wanted[step, 8 * row + column] = np.arctan2(v, u)
                wanted[step, 64 + 8 * row + column] = np.hypot(u, v)
    assert abs(record["motion"] - wanted).max() < 1e-4


def test_frames_have_the_apex_of_the_flow_images_without_a_second_search(
    source, data_dir, quick, monkeypatch
):
    build("smic", source, data_dir, backend="opencv")
    (image,) = shards.open_shards("smic", data_dir)
    monkeypatch.setattr(flow.images, "find_apex", None)
    build("smic", source, data_dir, backend="opencv", frames=True)
    (record,) = shards.open_shards("smic", data_dir, shards.Frames)
    assert record["apex"] == image["apex"] == 559759
    folder = source / "SMIC_all_cropped" / "HS" / "s1" / "micro" / "negative" / "s1_ne_01"
    for frame, number in zip(record["frames"], (57, 58, 59, 60, 60), strict=True):
        face = read_face(folder / f"reg_image5597{number}.bmp", None)
        assert all(np.array_equal(frame[..., channel], face) for channel in range(3))
    moving = np.flatnonzero(record["motion"].any(1))
    assert moving.tolist() == [31, 32, 33]  # step 30 is the onset
    assert 2 + record["motion"][:, 64:].mean(1).argmax() == 34


def test_a_stopped_build_of_frames_continues_and_gives_the_same_records(
    source, built, tmp_path, quick_follow, monkeypatch
):
    build("casme2", source, tmp_path / "whole", backend="opencv", frames=True)
    wanted = _records("casme2", tmp_path / "whole", shards.Frames)
    images = _records("casme2", built)
    quick_follow.clear()
    cheap = flow.algorithms.follow

    def stop(*arguments):
        if len(quick_follow) == 8:  # two clips
            raise KeyboardInterrupt
        return cheap(*arguments)

    monkeypatch.setattr(flow.algorithms, "follow", stop)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with pytest.raises(KeyboardInterrupt):
        build("casme2", source, built, backend="opencv", frames=True)
    assert len(list(built.glob(".building/frames_casme2/*.npz"))) == 2
    assert "already in" in build("casme2", source, built, backend="opencv")[0]
    with pytest.raises(InputError, match="no data set"):
        shards.open_shards("casme2", built, shards.Frames)

    monkeypatch.setattr(flow.algorithms, "follow", cheap)
    build("casme2", source, built, backend="opencv", frames=True)
    assert len(quick_follow) == 16
    assert _records("casme2", built, shards.Frames) == wanted
    assert _records("casme2", built) == images
    assert sorted(path.name for path in built.iterdir()) == [".lock", "flow_images", "frames"]


def test_frames_change_nothing_outside_their_own_folder(source, built, quick_follow):
    def others():
        files = [path for path in built.rglob("*") if path.is_file() and path.name != ".lock"]
        return {path: path.read_bytes() for path in files if "frames" not in path.parts}

    before = others()
    build("casme2", source, built, backend="opencv", frames=True)
    assert others() == before
    assert all(set(record) == RECORD for record in shards.open_shards("casme2", built))


def test_frames_that_stand_are_kept_and_those_of_other_frames_refused(source, built, quick_follow):
    build("casme2", source, built, backend="opencv", frames=True)
    before = len(quick_follow)
    (line,) = build("casme2", source, built, frames=True)
    assert line == f"casme2: 4 clips, already in {built}/frames/casme2/1.0.0"
    frame = source / "CASME2" / "Cropped" / "sub01" / "EP01_00" / "reg_img14.png"
    cv2.imwrite(str(frame), _frames(77, 1)[0])
    with pytest.raises(InputError, match=r"frames/casme2/1\.0\.0: made with other frames"):
        build("casme2", source, built, frames=True)
    assert len(quick_follow) == before
    assert "already in" in build("casme2", source, built)[0]  # which reads onset and apex only


@pytest.mark.parametrize("product", [FLOW_IMAGES, FRAMES])
def test_an_apex_that_is_not_among_the_frames_is_named(source, data_dir, product):
    clip = read("casme2", source).clips[0]
    del clip.frames[13]
    with pytest.raises(InputError, match=r"EP01_00: frame 13 is missing: copy the clip again"):
        product.read_of(clip)


def test_the_disk_must_hold_frames_of_their_size(source, data_dir, monkeypatch):
    needed = 2 * 4 * (5 * 224 * 224 * 3 + 4 * 64 * 128)
    disk = types.SimpleNamespace(free=needed - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk)
    with pytest.raises(InputError, match="5 MiB are needed and 5 MiB are free"):
        build("casme2", source, data_dir, backend="opencv", frames=True)


def test_two_builds_do_not_write_to_one_folder(source, data_dir):
    with hold(data_dir), pytest.raises(InputError, match="in use by process"):
        build("casme2", source, data_dir)


def test_too_small_a_disk_is_told_before_anything_is_computed(source, data_dir, monkeypatch, quick):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=0))
    with pytest.raises(InputError, match="0 MiB are free"):
        build("casme2", source, data_dir, backend="opencv")
    assert not quick


def test_two_workers_may_put_down_the_same_record(source, data_dir, monkeypatch):
    (clip,) = read("smic", source).clips
    job = Job.plan(clip, {}, data_dir, {}, TvL1("opencv"))
    both = threading.Barrier(2)
    monkeypatch.setattr(os, "fsync", lambda descriptor: both.wait(10))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(job.save, [{"label": 1}, {"label": 1}]))
    assert job.record() == {"label": 1}
    assert list(data_dir.iterdir()) == [job.path]


def test_beam_that_is_not_installed_is_told(tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    there = lambda name: None if name == "apache_beam" else find_spec(name)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", there)
    with pytest.raises(InputError, match=r"pip install 'mjfn-jax\[beam\]'"):
        Build("smic", tmp_path, runner="DirectRunner").run()


def test_options_of_beam_take_a_runner(tmp_path):
    with pytest.raises(InputError, match=r"^--parallelism=2: .*--runner"):
        Build("smic", tmp_path, beam_options=("--parallelism=2",)).run()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["check", "build"]),
        (["build"], ["--data_dir", "--frames", "It shows faces", "--runner", "After --"]),
    ],
)
def test_the_help_names_the_flags(arguments, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["flow", *arguments, "--help"])
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr().out
    assert all(word in printed for word in words)


def test_a_foreseen_failure_is_one_line_and_a_non_zero_exit(tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["flow", "build", "--dataset=smic", f"--source={tmp_path / 'none'}"]
    )
    with pytest.raises(SystemExit, match=r"^error: .*no such folder"):
        main()


def test_another_algorithm_makes_another_data_set_that_says_so(source, data_dir, tmp_path):
    build("casme2", source, data_dir, algorithm="farneback")
    opened = shards.open_shards("casme2", data_dir)
    folder = source / "CASME2" / "Cropped" / "sub02" / "EP01_02"
    onset, apex = (read_face(folder / f"reg_img{number}.png", None) for number in (11, 13))
    assert np.array_equal(opened[2]["flow"], Farneback().flow(onset, apex))
    metadata = opened.metadata["casme2"]
    assert (metadata["algorithm"], metadata["backend"]) == ("farneback", "opencv")
    assert metadata["parameters"]["winsize"] == 15
    assert metadata["made_by"].startswith("opencv 5")

    assert "already in" in build("casme2", source, data_dir, algorithm="farneback")[0]
    said = r"another algorithm \(farneback there\) and other parameters of the flow; choose"
    with pytest.raises(InputError, match=said):
        build("casme2", source, data_dir)
    build("casme2", source, data_dir, algorithm="dis", frames=True)
    frames = shards.open_shards("casme2", data_dir, shards.Frames)
    assert frames.metadata["casme2"]["parameters"] == {"preset": "medium"}


def test_other_settings_of_the_algorithm_are_told_apart(source, built, monkeypatch):
    other = property(lambda self: {"apex_preset": "fast"})
    monkeypatch.setattr(TvL1, "following", other)
    with pytest.raises(InputError, match="made with other parameters of the flow; choose"):
        build("casme2", source, built, backend="opencv")


def test_a_data_set_that_names_no_algorithm_is_of_tvl1(source, built, quick):
    path = shards.folder("casme2", built)
    metadata = json.loads((path / "metadata.json").read_text())
    assert metadata.pop("algorithm") == "tvl1"
    (path / "metadata.json").write_text(json.dumps(metadata))
    manifest.write(path)
    assert "already in" in build("casme2", source, built, backend="opencv")[0]


def test_the_command_takes_an_algorithm(source, data_dir, monkeypatch, capsys):
    flags = ["--dataset=smic", f"--source={source}", f"--data_dir={data_dir}", "--algorithm=dis"]
    monkeypatch.setattr(sys, "argv", ["flow", "build", *flags])
    assert main() == 0
    printed = capsys.readouterr()
    assert "smic: 1 clips, written to" in printed.out
    assert "flow_images (dis, opencv): 100%" in printed.err


def test_progress_is_called_back_and_the_library_shows_nothing(source, built, quick, capfd):
    shutil.rmtree(built / "flow_images")
    told = []
    build("casme2", source, built, backend="opencv", on_progress=lambda *at: told.append(at))
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    build("casme2", source, built, backend="opencv", on_progress=lambda *at: told.append(at))
    assert len(told) == 5  # it stands: nothing was to be done
    assert not capfd.readouterr().err


def test_the_fingerprint_is_that_of_the_clips_digests(source, built):
    digests = []
    for clip in read("casme2", source).clips:
        annotation = [*clip.key, clip.label, clip.onset, clip.apex, clip.offset, None]
        sha = hashlib.sha256(json.dumps(annotation).encode())
        for number in (clip.onset, clip.apex):
            content = clip.frames[number].read_bytes()
            sha.update(f"{number} {len(content)}\n".encode() + content)
        digests.append(sha.hexdigest())
    wanted = hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()
    assert shards.read_metadata("casme2", built)["fingerprint"] == wanted
