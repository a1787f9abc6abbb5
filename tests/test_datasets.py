"""What an experiment makes before it opens a dataset: flow images, and frames of stand-ins only."""

import pytest
from scripts import FLOWS, write_shards

from flow.errors import InputError
from mjfn_jax.commands import datasets


@pytest.fixture
def made(monkeypatch):
    """Puts in a build and a renderer that take no time; returns what they were asked for."""
    calls = []

    def build(dataset, source, data_dir, on_progress, frames=False, follow_links=False):
        calls.append(("build", dataset, source.name, frames))
        write_shards(data_dir, frames=frames)

    def render(out, size, seed, on_progress):
        calls.append(("render", out.name))

    monkeypatch.setattr(datasets, "build", build)
    monkeypatch.setattr(datasets, "render", render)
    return calls


def test_frames_of_a_real_database_are_never_made_by_an_experiment(tmp_path, made):
    with pytest.raises(InputError, match=r"python -m flow build --frames --dataset=smic"):
        datasets.load("3db", tmp_path, tmp_path, "apex")
    assert not made


def test_frames_that_stand_are_opened(tmp_path, made):
    write_shards(tmp_path, frames=True)
    frames = datasets.load("3db", tmp_path, None, "frames")
    assert frames.clips == FLOWS.clips
    assert frames.inputs.shape == (11, 5, 224, 224, 3)
    assert not made


def test_frames_of_the_stand_ins_are_made_where_flow_images_stand_already(tmp_path, made):
    datasets.load("synthetic", tmp_path, None)
    for _ in range(2):
        apexes, motion = datasets.load("synthetic", tmp_path, None, "apex_motion").inputs
        assert len(apexes) == len(motion) == 11
    assert made == [
        ("render", "mini"),
        ("build", "3db", "mini", False),
        ("render", "mini"),
        ("build", "3db", "mini", True),
    ]


def test_the_stand_ins_that_are_rendered_here_take_no_source(tmp_path, made):
    with pytest.raises(InputError, match=r"--source=.*renders its own.*--dataset=3db"):
        datasets.load("synthetic", tmp_path, tmp_path)
    assert not made
