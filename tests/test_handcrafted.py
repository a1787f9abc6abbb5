"""`experiments/handcrafted.py`: predictions, regions and time of the handcrafted rows."""

import json
import types

import cv2
import numpy as np
import pytest
import scripts

import flow.algorithms
from flow.clips import Clip
from flow.errors import InputError
from flow.faces.landmarks import LANDMARKS_HEADER
from mjfn_jax.commands import table3
from mjfn_jax.folds import leave_one_subject_out
from mjfn_jax.handcrafted import graph_sc, svm
from mjfn_jax.handcrafted import rows as handcrafted

FLOWS = scripts.FLOWS
KEYS = list(zip(FLOWS.databases, FLOWS.subjects, FLOWS.clips, strict=True))


def drawn(faces):
    """Flows of noise, the same for the same faces."""
    return np.random.default_rng(int(faces.sum())).normal(size=(2, 224, 224, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Three frames of noise a clip; drawn flows in the place of TV-L1's, few choices of SVMs."""
    folder = tmp_path_factory.mktemp("frames")
    random = np.random.default_rng(0)
    clips = []
    for number, (key, label) in enumerate(zip(KEYS, FLOWS.labels, strict=True)):
        frames = {t: folder / f"{number}_{t}.png" for t in (1, 2, 3)}
        for path in frames.values():
            assert cv2.imwrite(str(path), random.integers(0, 256, (16, 16), np.uint8))
        clips.append(Clip(*key, "", int(label), 1, 2, 3, frames, 100, cropped=True))
    settings = svm.Svm(kernels=("linear",), costs=(1.0,), inner_folds=2)
    coding = graph_sc.GraphSC(words=6, sparsities=(0.1,), smoothnesses=(0.2,), rounds=2, steps=5)
    with pytest.MonkeyPatch.context() as patch:
        reading = types.SimpleNamespace(clips=clips[::-1])  # in another order
        patch.setattr(handcrafted, "read", lambda dataset, source: reading)
        patch.setattr(flow.algorithms, "follow", lambda faces, preset, backend: drawn(faces))
        patch.setattr(flow.algorithms, "tvl1", lambda onsets, *_: drawn(onsets)[:1])
        fit, loso, encoder = svm.fit, svm.leave_one_subject_out, graph_sc.encoder
        patch.setattr(svm, "fit", lambda *inputs: fit(*inputs[:3], settings))
        patch.setattr(svm, "leave_one_subject_out", lambda *inputs: loso(*inputs, settings))
        patch.setattr(graph_sc, "encoder", lambda clips: encoder(clips, coding))
        patch.setattr(graph_sc, "GraphSC", lambda: coding)
        yield folder


@pytest.fixture
def landmark_file(source):
    """Writes the landmarks of some clips; gone after the test."""
    path = source / "landmarks.csv"

    def write(keys):
        random = np.random.default_rng(1)
        rows = [[*key, *random.uniform(0, 15, 136).round(2)] for key in keys]
        path.write_text(
            "".join(",".join(map(str, row)) + "\n" for row in [LANDMARKS_HEADER, *rows])
        )
        return path

    yield write
    path.unlink(missing_ok=True)


def predict(name, source, cache):
    return handcrafted.predict(name, FLOWS, "3db", source, cache)


def kept(cache):
    return {path.name for path in cache.iterdir()}


def test_every_method_predicts_every_clip_in_its_order(source, tmp_path):
    for name in handcrafted.TITLES:
        row = predict(name, source, tmp_path)
        assert [(p.database, p.subject, p.clip) for p in row.predictions] == KEYS
        assert [p.label for p in row.predictions] == FLOWS.labels.tolist()
        assert 0 < row.milliseconds < 60_000


def test_the_regions_of_a_row_are_said_as_they_are(source, tmp_path, landmark_file):
    for name, regions in (
        ("lbp-top", "grid 5x5"),
        ("bi-woof", "grid 5x5"),
        ("mdmo", "grid"),
        ("sparse-mdmo", "grid"),
    ):
        assert predict(name, source, tmp_path).regions == regions
    landmark_file([*KEYS[2:6], ("smic", "s1", "no_such_clip")])
    for name in ("mdmo", "sparse-mdmo"):
        regions = predict(name, source, tmp_path).regions
        assert regions == "landmarks for 4 of 11 clips, else grid"
    assert predict("lbp-top", source, tmp_path).regions == "grid 5x5"
    landmark_file(KEYS)
    assert predict("mdmo", source, tmp_path).regions == "landmarks"


def test_a_landmark_file_changes_mdmos_features_and_not_lbp_tops(source, tmp_path, landmark_file):
    for name in ("lbp-top", "mdmo"):
        predict(name, source, tmp_path / name)
    before = {name: kept(tmp_path / name) for name in ("lbp-top", "mdmo")}
    landmark_file(KEYS[2:6])
    for name in ("lbp-top", "mdmo"):
        predict(name, source, tmp_path / name)
    assert kept(tmp_path / "lbp-top") == before["lbp-top"]
    new = kept(tmp_path / "mdmo") - before["mdmo"]
    assert len(new) == 4
    features = {name: np.load(tmp_path / "mdmo" / name) for name in kept(tmp_path / "mdmo")}
    for name in new:
        assert all((features[name] != features[other]).any() for other in before["mdmo"])


def test_a_bad_landmark_file_stops_the_rows_that_read_it(source, tmp_path, landmark_file):
    path = landmark_file(KEYS[:1])
    path.write_text(path.read_text() * 2)
    for name in ("mdmo", "sparse-mdmo"):
        with pytest.raises(InputError, match=r"landmarks\.csv, line 3"):
            predict(name, source, tmp_path)
    predict("lbp-top", source, tmp_path)


@pytest.mark.parametrize("name", ["bi-woof", "mdmo", "sparse-mdmo"])
def test_the_time_is_the_median_of_clips_one_at_a_time_from_empty_folders(
    name, source, tmp_path, monkeypatch
):
    now, alone = [0.0], []
    extract, decisions = handcrafted.extract, svm.Classifier.decisions

    def slow_extract(method, clips, cache, *files):
        if len(clips) == 1:
            number = KEYS.index(clips[0].key)
            now[0] += number**2 if number in alone else 1000  # at first it is compiled
            alone.append(number)
            assert not any(cache.iterdir())
        return extract(method, clips, cache, *files)

    def slow_decisions(self, features):
        now[0] += 7
        assert features.shape == (1 if alone else len(features), len(self.mean))
        return decisions(self, features)

    monkeypatch.setattr(handcrafted, "extract", slow_extract)
    monkeypatch.setattr(svm.Classifier, "decisions", slow_decisions)
    clock = types.SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr(handcrafted, "time", clock)
    assert predict(name, source, tmp_path).milliseconds == 1e3 * (5**2 + 7)
    assert set(alone) == {0, 2, 5, 8, 10}


def test_a_row_of_table3_that_was_kept_without_regions_is_computed_again(
    source, tmp_path, monkeypatch
):
    flags = types.SimpleNamespace(dataset="3db", source=source)
    folds, _ = leave_one_subject_out(FLOWS.databases, FLOWS.subjects)
    (tmp_path / "mdmo").mkdir()
    kept = {"seconds": 1.0, "predictions": []}
    (tmp_path / "mdmo" / "predictions.json").write_text(json.dumps(kept))
    row = table3._handcrafted("mdmo", flags, FLOWS, folds, tmp_path)
    assert row["regions"] == "grid" and row["milliseconds_a_clip"] > 0
    assert len(row["predictions"]["0"]) == len(KEYS)
    monkeypatch.setattr(handcrafted, "predict", None)
    assert table3._handcrafted("mdmo", flags, FLOWS, folds, tmp_path) == row
