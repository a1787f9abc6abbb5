import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python import array_record_module

from flow import shards
from flow.disk import manifest
from flow.errors import InputError


def _records(n, database="casme2"):
    rng = np.random.default_rng(n)
    for i in range(n):
        yield {
            "image": rng.integers(0, 256, (224, 224, 3), np.uint8),
            "flow": rng.normal(size=(224, 224, 2)).astype(np.float32),
            "points": rng.normal(size=(5, 2)).astype(np.float32),
            "label": i % 3,
            "database": database,
            "subject": f"sub{9 - i // 2:02}",  # not in alphabetical order
            "clip": f"EP{i:02}",
            "onset": 10 + i,
            "apex": 20 + i,
            "offset": 30 + i,
            "box": np.array([1, 2, 3, i], np.int32),
        }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    shards.write("casme2", _records(5), {"backend": "none"}, data_dir, data_dir / "scratch")
    shards.write("smic", _records(3, "smic"), {}, data_dir, data_dir / "scratch")
    shards.write("samm", _records(2, "samm"), {}, data_dir, data_dir / "scratch")
    return data_dir


@pytest.fixture
def data_dir(made, tmp_path):
    return shutil.copytree(made, tmp_path / "data")


def _same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert np.array_equal(a[name], b[name]), name


def test_records_come_back_as_they_were_and_in_order(data_dir):
    opened = shards.open_shards("casme2", data_dir)
    assert len(opened) == 5
    for record, wanted in zip(opened, _records(5), strict=True):
        _same(record, wanted)
    assert opened[np.int64(3)]["clip"] == "EP03"
    assert opened[0]["image"].dtype == np.uint8
    assert opened[0]["flow"].dtype == np.float32
    assert opened.metadata == {"casme2": {"backend": "none"}}


def test_3db_is_the_three_databases_one_after_another(data_dir):
    opened = shards.open_shards("3db", data_dir)
    assert [record["database"] for record in opened] == 3 * ["smic"] + 5 * ["casme2"] + 2 * ["samm"]


def test_tfds_reads_it_without_this_package(data_dir):
    code = """
import sys, tensorflow_datasets as tfds
one = tfds.data_source("flow_images/casme2", data_dir=sys.argv[1], split="clips")
two = tfds.builder_from_directory(sys.argv[1] + "/flow_images/casme2/1.1.0").as_data_source("clips")
print(len(one), len(two), two[4]["clip"].decode(), "flow" in sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-I", "-c", code, data_dir], capture_output=True, text=True, cwd="/"
    )
    assert run.stdout == "5 5 EP04 False\n", run.stderr


def _frames(n):
    for record in _records(n):
        rng = np.random.default_rng(record.pop("label"))
        del record["image"], record["flow"], record["points"]
        yield record | {
            "label": 1,
            "frames": rng.integers(0, 256, (5, 224, 224, 3), np.uint8),
            "motion": rng.normal(size=(64, 128)).astype(np.float32),
        }


def test_frames_are_a_data_set_of_their_own_beside_the_flow_images(data_dir):
    before = {path: path.stat().st_mtime_ns for path in data_dir.glob("flow_images/**/*")}
    path = shards.write(
        "casme2", _frames(3), {"made": 1}, data_dir, data_dir / "scratch", shards.Frames
    )
    assert path == data_dir / "frames" / "casme2" / "1.0.0"
    assert shards.folder("casme2", data_dir, shards.Frames) == path
    assert shards.read_metadata("casme2", data_dir, shards.Frames) == {"made": 1}
    opened = shards.open_shards("casme2", data_dir, shards.Frames)
    for record, wanted in zip(opened, _frames(3), strict=True):
        _same(record, wanted)
    stock = tfds.builder_from_directory(path).as_data_source("clips")
    assert np.array_equal(stock[2]["frames"], list(_frames(3))[2]["frames"])
    after = {path: path.stat().st_mtime_ns for path in data_dir.glob("flow_images/**/*")}
    assert after == before


def test_flow_images_have_no_feature_for_a_frame():
    assert set(shards.FlowImages.arrays) == {"image", "flow", "points"}


def test_flow_images_without_points_are_not_read_as_such(data_dir):
    path = shards.folder("smic", data_dir)
    path.rename(path.with_name("1.0.0"))
    with pytest.raises(InputError, match=r"smic/1\.1\.0: no data set; make it by"):
        shards.open_shards("smic", data_dir)


def test_frames_that_are_not_there_are_named_with_the_command_that_makes_them(data_dir):
    command = f"python -m flow build --frames --dataset=smic --source=DIR --data_dir={data_dir}"
    with pytest.raises(InputError, match=f"frames/smic/1.0.0: no data set; make it by: {command}"):
        shards.open_shards("3db", data_dir, shards.Frames)


def test_tfds_reads_it_with_this_package(data_dir):
    source = tfds.data_source("flow_images/casme2", data_dir=data_dir, split="clips")
    assert len(source) == 5


@pytest.mark.parametrize("damage", [os.remove, lambda path: _flip(path, 100_000)])
def test_a_missing_or_altered_shard_is_named_with_the_command_that_makes_it(data_dir, damage):
    (shard,) = shards.folder("smic", data_dir).glob("*.array_record-*")
    damage(shard)
    with pytest.raises(InputError) as error:
        shards.open_shards("3db", data_dir)
    assert str(shard) in str(error.value)
    assert f"python -m flow build --dataset=smic --source=DIR --data_dir={data_dir}" in str(
        error.value
    )


def _flip(path, position):
    with open(path, "r+b") as file:
        file.seek(position)
        value = file.read(1)[0]
        file.seek(position)
        file.write(bytes([value ^ 1]))


def test_a_shard_that_the_manifest_lost_is_named(data_dir):
    folder = shards.folder("smic", data_dir)
    (shard,) = folder.glob("*array_record*")
    hidden = shard.rename(folder / f".{shard.name}")
    manifest.write(folder)
    hidden.rename(shard)
    with pytest.raises(InputError, match="array_record-00000-of-00001: not in the manifest"):
        shards.open_shards("smic", data_dir)


def test_a_data_set_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no data set; make it by: python -m flow build"):
        shards.open_shards("casme2", tmp_path)


def test_an_unknown_data_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="choose one of smic, casme2, samm, 3db"):
        shards.open_shards("casme3", tmp_path)


def test_a_writer_that_fails_leaves_the_earlier_data_set(data_dir):
    def failing():
        yield from _records(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        shards.write("casme2", failing(), {}, data_dir, data_dir / "scratch")
    assert len(shards.open_shards("casme2", data_dir)) == 5
    shards.write("casme2", _records(4), {}, data_dir, data_dir / "scratch")
    assert len(shards.open_shards("casme2", data_dir)) == 4
    assert sorted(path.name for path in data_dir.iterdir()) == ["flow_images"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_a_full_disk_is_one_line(data_dir, monkeypatch):
    writer = array_record_module.ArrayRecordWriter
    monkeypatch.setattr(
        array_record_module, "ArrayRecordWriter", lambda path, options: writer("/dev/full", options)
    )
    with pytest.raises(InputError, match="No space left on device: free some space"):
        shards.write("casme2", _records(5), {}, data_dir, data_dir / "scratch")
    assert len(shards.open_shards("casme2", data_dir)) == 5


def test_it_imports_neither_opencv_nor_jax():
    code = """
import sys
sys.modules["cv2"] = sys.modules["jax"] = None  # importing them fails
import flow.shards, flow.disk.manifest
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_data_set_of_one_database_in_anothers_place_is_refused(data_dir):
    theirs = shards.folder("casme2", data_dir)
    shutil.rmtree(theirs, ignore_errors=True)
    shutil.copytree(shards.folder("smic", data_dir), theirs)
    with pytest.raises(InputError, match=r"the data set flow_images/smic/1\.1\.0 in another's"):
        shards.open_shards("3db", data_dir)


@pytest.mark.parametrize("lost", ["dataset_info.json", "features.json", "metadata.json"])
def test_a_file_that_the_manifest_does_not_list_is_noticed(data_dir, lost):
    path = shards.folder("smic", data_dir)
    content = (path / lost).read_bytes()
    (path / lost).unlink()
    manifest.write(path)  # whole, by its own last line
    (path / lost).write_bytes(content)
    with pytest.raises(InputError, match=f"{lost}: not in the manifest"):
        shards.open_shards("smic", data_dir)


def test_features_that_name_other_code_are_refused_and_nothing_is_imported(data_dir):
    path = shards.folder("smic", data_dir)
    features = path / "features.json"
    features.write_text(
        features.read_text().replace("tensorflow_datasets.core.features.scalar", "antigravity", 1)
    )
    manifest.write(path)
    with pytest.raises(InputError, match=r"features\.json: other features"):
        shards.open_shards("smic", data_dir)
    assert "antigravity" not in sys.modules
