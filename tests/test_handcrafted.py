"""The handcrafted methods: their folds, regions and time."""

import dataclasses
import types

import cv2
import numpy as np
import pytest
import scripts

import flow.algorithms
from flow.clips import Clip
from flow.errors import InputError
from flow.faces.landmarks import LANDMARKS_HEADER
from mjfn_jax.folds import leave_one_subject_out
from mjfn_jax.handcrafted import HANDCRAFTED, features, svm, timing
from mjfn_jax.handcrafted.graph_sc import GraphSC
from mjfn_jax.runs import trials

FLOWS = scripts.FLOWS
KEYS = FLOWS.keys

_MACHINE = {"machine": svm.Svm(kernels=("linear",), costs=(1.0,), inner_folds=2)}
SMALL = {name: dataclasses.replace(method, **_MACHINE) for name, method in HANDCRAFTED.items()}
SMALL["sparse-mdmo"] = dataclasses.replace(
    SMALL["sparse-mdmo"],
    coding=GraphSC(words=6, sparsities=(0.1,), smoothnesses=(0.2,), rounds=2, steps=5),
)
"""The methods with few choices."""


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
    with pytest.MonkeyPatch.context() as patch:
        reading = types.SimpleNamespace(clips=clips[::-1])  # in another order
        patch.setattr(features, "read", lambda dataset, source, follow_links: reading)
        patch.setattr(flow.algorithms, "follow", lambda faces, preset, backend: drawn(faces))
        patch.setattr(flow.algorithms, "tvl1", lambda onsets, *_: drawn(onsets)[:1])
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


FOLDS, HELD_OUT = leave_one_subject_out(FLOWS.databases, FLOWS.subjects)


def opened(name, source):
    return features.open_source(SMALL[name], FLOWS.keys, "3db", source)


def load(name, source, cache):
    method, clips = SMALL[name], opened(name, source)
    return features.load(method, FLOWS, clips, cache), clips.regions(method)


def predict(name, source, tmp_path):
    """Every fold's results in a run of its own."""
    clips, _ = load(name, source, tmp_path / "features")
    (trial,) = trials.run(name, SMALL[name], clips, "3db", FOLDS, HELD_OUT, tmp_path / "out")
    return trial


def kept(cache):
    return {path.name for path in cache.iterdir()}


@pytest.mark.parametrize("name", HANDCRAFTED)
def test_every_method_predicts_every_clip_and_keeps_its_folds(name, source, tmp_path, monkeypatch):
    trial = predict(name, source, tmp_path)
    predictions = [p for result in trial.results for p in result.predictions]
    assert [p.key for p in predictions] == sorted(KEYS)
    assert [p.label for p in predictions] == FLOWS.labels.tolist()
    assert all(p.probabilities is None for p in predictions)
    assert {path.name for path in (trial.out / "folds").iterdir()} == {
        f"{fold.database}_{fold.subject}" for fold in FOLDS
    }
    monkeypatch.setattr(svm, "fit", None)
    again = predict(name, source, tmp_path)  # it is read, not fitted
    assert [r.predictions for r in again.results] == [r.predictions for r in trial.results]
    assert [r.seconds for r in again.results] == [r.seconds for r in trial.results]


def test_the_folds_are_those_of_an_svm_that_is_fitted_without_the_subject(source, tmp_path):
    trial = predict("lbp-top", source, tmp_path)
    clips, _ = load("lbp-top", source, tmp_path / "features")
    for result, mask in zip(trial.results, HELD_OUT, strict=True):
        inner = [clips.inputs[~mask]], clips.labels[~mask], clips.people[~mask]
        machine = svm.fit(*inner, SMALL["lbp-top"].machine)
        wanted = machine.decisions(clips.inputs[mask]).argmax(1)
        assert [p.prediction for p in result.predictions] == wanted.tolist()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lbp-top", {"machine.costs": (2.0,)}),
        ("lbp-top", {"feature.blocks": 4}),
        ("mdmo", {"beta": 0.5}),
        ("sparse-mdmo", {"coding.words": 5}),
    ],
)
def test_another_setting_of_features_or_machine_is_another_run(
    name, settings, source, tmp_path, monkeypatch
):
    before = predict(name, source, tmp_path)
    monkeypatch.setitem(SMALL, name, SMALL[name].configured(**settings))
    after = predict(name, source, tmp_path)
    assert after.out != before.out
    assert len(list((after.out / "folds").iterdir())) == len(FOLDS)


def test_the_regions_of_a_row_are_said_as_they_are(source, tmp_path, landmark_file):
    for name, regions in (
        ("lbp-top", "grid 5x5"),
        ("bi-woof", "grid 5x5"),
        ("mdmo", "grid"),
        ("sparse-mdmo", "grid"),
    ):
        assert opened(name, source).regions(SMALL[name]) == regions
    landmark_file([*KEYS[2:6], ("smic", "s1", "no_such_clip")])
    for name in ("mdmo", "sparse-mdmo"):
        regions = opened(name, source).regions(SMALL[name])
        assert regions == "landmarks for 4 of 11 clips, else grid"
    assert opened("lbp-top", source).regions(SMALL["lbp-top"]) == "grid 5x5"
    landmark_file(KEYS)
    assert opened("mdmo", source).regions(SMALL["mdmo"]) == "landmarks"


def test_a_landmark_file_changes_mdmos_features_and_not_lbp_tops(source, tmp_path, landmark_file):
    clips = {name: load(name, source, tmp_path / name)[0] for name in ("lbp-top", "mdmo")}
    before = {name: kept(tmp_path / name) for name in ("lbp-top", "mdmo")}
    landmark_file(KEYS[2:6])
    after = {name: load(name, source, tmp_path / name)[0] for name in ("lbp-top", "mdmo")}
    assert kept(tmp_path / "lbp-top") == before["lbp-top"]
    assert len(kept(tmp_path / "mdmo") - before["mdmo"]) == 4
    assert clips["lbp-top"].digest() == after["lbp-top"].digest()
    assert clips["mdmo"].digest() != after["mdmo"].digest()  # so its folds are fitted again
    changed = (clips["mdmo"].inputs != after["mdmo"].inputs).any(1)
    assert changed.tolist() == [key in KEYS[2:6] for key in KEYS]


def test_a_bad_landmark_file_stops_the_rows_that_read_it(source, tmp_path, landmark_file):
    path = landmark_file(KEYS[:1])
    path.write_text(path.read_text() * 2)
    for name in ("mdmo", "sparse-mdmo"):
        with pytest.raises(InputError, match=r"landmarks\.csv, line 3"):
            opened(name, source)
    opened("lbp-top", source)


def test_a_clip_that_is_not_in_the_source_is_named(source):
    with pytest.raises(InputError, match=r"no clip smic/s1/other, which the flow images have"):
        features.open_source(SMALL["mdmo"], [("smic", "s1", "other")], "3db", source)


@pytest.mark.parametrize("name", ["bi-woof", "mdmo", "sparse-mdmo"])
def test_the_time_is_the_median_of_clips_one_at_a_time_from_empty_folders(
    name, source, tmp_path, monkeypatch
):
    clips, _ = load(name, source, tmp_path)
    now, alone = [0.0], []
    extracted, decisions = features.Source.extracted, svm.Classifier.decisions

    def slow_extracted(self, method, chosen, cache):
        (clip,) = chosen
        number = KEYS.index(clip.key)
        now[0] += number**2 if number in alone else 1000  # at first it is compiled
        alone.append(number)
        assert not any(cache.iterdir())
        return extracted(self, method, chosen, cache)

    def slow_decisions(self, rows):
        now[0] += 7
        assert rows.shape == (1, len(self.mean))
        return decisions(self, rows)

    monkeypatch.setattr(features.Source, "extracted", slow_extracted)
    monkeypatch.setattr(svm.Classifier, "decisions", slow_decisions)
    clock = types.SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr(timing, "time", clock)
    took = timing.milliseconds(SMALL[name], clips, opened(name, source))
    assert took == 1e3 * (5**2 + 7)
    assert set(alone) == {0, 2, 5, 8, 10}
