"""The build as an Apache Beam pipeline."""

import os
import pathlib
import shutil
import subprocess
import sys

import apache_beam
import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from skimage.data import astronaut

import flow.algorithms
import flow.images
from flow import shards
from flow.__main__ import main
from flow.build import build
from flow.build.job import Job
from flow.disk.manifest import NAME
from flow.errors import InputError

PIPELINE = ["--runner=DirectRunner", "--prism_location=none"]
"""Without a location the DirectRunner would look for Beam's Prism on the internet."""

CLIPS = ["s1_ne_01", "s1_ne_02", "s1_po_01"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three clips of SMIC in its owners' layout; one shows a face."""
    source = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    for clip in CLIPS:
        emotion = {"ne": "negative", "po": "positive"}[clip[3:5]]
        folder = source / "SMIC_all_cropped" / "HS" / "s1" / "micro" / emotion / clip
        folder.mkdir(parents=True)
        texture = cv2.resize(rng.integers(0, 255, (6, 6), np.uint8), (32, 32))
        if clip == CLIPS[1]:
            texture = cv2.cvtColor(astronaut()[61:175, 179:272], cv2.COLOR_RGB2GRAY)
        for number, share in ((10, 0), (11, 0.2)):  # of one px to the right
            frame = (1 - share) * texture + share * np.roll(texture, 1, axis=1)
            cv2.imwrite(str(folder / f"reg_image{number}.bmp"), frame.astype(np.uint8))
    return source


@pytest.fixture
def source(made, tmp_path):
    return shutil.copytree(made, tmp_path / "source")


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def quick(monkeypatch):
    """Put in a flow that costs nothing, and an apex; returns the pairs seen."""
    pairs = []

    def flows(onsets, apexes):
        difference = apexes.astype(np.float32) - onsets
        return np.stack([difference, onsets.astype(np.float32)], -1)

    def cheap(onsets, apexes, parameters, backend):
        pairs.extend(onsets)
        return flows(onsets, apexes)

    def follow(frames, preset, backend):
        return flows(np.stack(len(frames[1:]) * [frames[0]]), frames[1:])

    def last(flows):
        count = len(list(flows))
        return flow.apex.Apex(count, np.zeros(count + 1))

    monkeypatch.setattr(flow.algorithms, "tvl1", cheap)
    monkeypatch.setattr(flow.algorithms, "follow", follow)
    monkeypatch.setattr(flow.images, "find_apex", last)
    return pairs


def _damage(source, clip):
    (frame,) = source.glob(f"SMIC_all_cropped/HS/s1/micro/*/{clip}/reg_image11.bmp")
    frame.write_bytes(frame.read_bytes()[:500])


def _same(data_dir, wanted_dir, data_set=shards.FlowImages):
    """Whether two builds have the same metadata and the same records, to the bit."""
    folders = data_dir, wanted_dir
    opened, wanted = (shards.open_shards("smic", folder, data_set) for folder in folders)
    assert opened.metadata == wanted.metadata
    for a, b in zip(opened, wanted, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert np.array_equal(a[name], b[name]), name


def test_it_equals_the_plain_build_record_by_record(source, tmp_path, quick):
    build("smic", source, tmp_path / "plain", backend="opencv")
    build("smic", source, tmp_path / "beam", backend="opencv", beam=PIPELINE)
    _same(tmp_path / "beam", tmp_path / "plain")
    found = [record["points"].all() for record in shards.open_shards("smic", tmp_path / "beam")]
    assert found == [False, True, False]
    one, two = (shards.folder("smic", tmp_path / name) for name in ("plain", "beam"))
    assert sorted(os.listdir(one)) == sorted(os.listdir(two))
    for name in ("dataset_info.json", "features.json", "metadata.json", NAME):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    stock = tfds.builder_from_directory(two).as_data_source("clips")
    assert [record["clip"].decode() for record in stock] == ["s01_ne_01", "s01_ne_02", "s01_po_01"]
    assert sorted(os.listdir(tmp_path / "beam")) == [".lock", "flow_images"]


def test_frames_equal_those_of_the_plain_build(source, tmp_path, quick):
    build("smic", source, tmp_path / "plain", backend="opencv", frames=True)
    build("smic", source, tmp_path / "beam", backend="opencv", beam=PIPELINE, frames=True)
    _same(tmp_path / "beam", tmp_path / "plain", shards.Frames)


def test_a_data_set_that_stands_is_kept(source, data_dir, quick):
    build("smic", source, data_dir, backend="opencv")
    (line,) = build("smic", source, data_dir, backend="opencv", beam=PIPELINE)
    assert "already in" in line
    assert len(quick) == 3


def test_each_clip_that_fails_is_one_line_and_the_others_are_kept(
    source, data_dir, quick, made, caplog, capfd
):
    for clip in CLIPS[:2]:
        _damage(source, clip)
    with pytest.raises(InputError, match=r"s1_ne_01/reg_image11\.bmp: unreadable.*archive$"):
        build("smic", source, data_dir, backend="opencv", beam=PIPELINE)
    (message,) = caplog.messages
    assert "s1_ne_02/reg_image11.bmp: unreadable" in message
    assert "Traceback" not in capfd.readouterr().err
    with pytest.raises(InputError, match="no data set"):
        shards.open_shards("smic", data_dir)

    shutil.copytree(made, source, dirs_exist_ok=True)
    build("smic", source, data_dir, backend="opencv", beam=PIPELINE)
    assert len(quick) == 3
    assert len(shards.open_shards("smic", data_dir)) == 3


def test_a_worker_of_another_kind_is_refused(source, data_dir, quick, monkeypatch):
    create = apache_beam.Create

    def switch(jobs):  # the pipeline is about to run
        monkeypatch.setattr(flow.algorithms, "describe_backend", lambda backend: "opencv 6")
        return create(jobs)

    monkeypatch.setattr(apache_beam, "Create", switch)
    with pytest.raises(InputError, match=r"this worker computes with opencv 6, .* with opencv 5"):
        build("smic", source, data_dir, backend="opencv", beam=PIPELINE)
    assert not quick


def test_a_folder_that_workers_do_not_share_is_told(source, data_dir, quick, monkeypatch):
    monkeypatch.setattr(Job, "save", lambda job, record: None)
    with pytest.raises(InputError, match="not there when the pipeline had ended"):
        build("smic", source, data_dir, backend="opencv", beam=PIPELINE)


def _raising(error):
    def save(job, record):
        raise error

    return save


def test_a_full_disk_is_one_line(source, data_dir, quick, monkeypatch):
    full = OSError(28, os.strerror(28), str(data_dir))
    monkeypatch.setattr(Job, "save", _raising(full))
    with pytest.raises(InputError, match="No space left on device: free some space"):
        build("smic", source, data_dir, backend="opencv", beam=PIPELINE)


def test_ctrl_c_ends_the_pipeline(source, data_dir, quick, monkeypatch):
    monkeypatch.setattr(Job, "save", _raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        build("smic", source, data_dir, backend="opencv", beam=PIPELINE)


def test_what_beam_does_not_know_is_told_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="--runner=Typo: Unexpected pipeline runner"):
        build("smic", tmp_path / "none", tmp_path, beam=["--runner=Typo"])


def test_the_command_with_relative_paths_and_workers_in_processes(source, tmp_path):
    command = [
        *(sys.executable, "-m", "flow", "build", "--dataset=smic", "--source=source"),
        *("--data_dir=data", "--backend=opencv", "--runner=DirectRunner", "--", PIPELINE[1]),
        *("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
    ]
    root = pathlib.Path(flow.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"smic: 3 clips, written to {tmp_path}/data/flow_images/smic/1.1.0\n"
    build("smic", source, tmp_path / "plain", backend="opencv")
    _same(tmp_path / "data", tmp_path / "plain")


def test_a_clip_that_fails_is_one_line_of_the_command(source, data_dir, quick, monkeypatch, capfd):
    _damage(source, CLIPS[2])
    flags = ["--dataset=smic", f"--source={source}", f"--data_dir={data_dir}", "--backend=opencv"]
    monkeypatch.setattr(sys, "argv", ["flow", "build", *flags, PIPELINE[0], "--", PIPELINE[1]])
    with pytest.raises(SystemExit, match=r"^error: .*s1_po_01/reg_image11\.bmp: .*archive$"):
        main()
    assert capfd.readouterr().err.count("\n") == 1
    assert len(quick) == 2
