"""What a network has learnt from drawn motion: made once, kept, and the start of every fold."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flow.disk.lock import hold
from flow.drawn import draw
from flow.errors import InputError
from mjfn_jax import models, train
from mjfn_jax.drawn import pretrain, taught, views
from mjfn_jax.drawn.pretrain import Lessons
from mjfn_jax.models.network import Network, stretch

pytestmark = pytest.mark.usefixtures("quickly_compiled")


class Small(Network):
    """Batch norm and a dense layer on u, v and strain."""

    takes = "uv_strain"
    batch_size = 32
    learning_rate = 0.01

    dropout: float = 0.5

    @nn.compact
    def __call__(self, flows, train=False):
        x = nn.BatchNorm(use_running_average=not train, name="bn")(stretch(flows))
        uniform = nn.initializers.lecun_uniform()
        x = nn.Dense(3, kernel_init=uniform, name="fc")(x.reshape(len(x), -1))
        return nn.log_softmax(x)


METHOD = Small()
SHORT = Lessons(clips=16, epochs=2)


@pytest.fixture(scope="module", autouse=True)
def small_fields():
    """Strain of 28x28, which compiles in a moment."""
    with pytest.MonkeyPatch.context() as patch:
        small = views.View(28, views.CROP, views.uv_strain)
        patch.setitem(views.VIEWS, "uv_strain", small)
        yield


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    seen = []
    digest, variables = taught.weights(
        "small", METHOD, data_dir, SHORT, lambda done, total: seen.append((done, total))
    )
    assert seen == [(0, 32), (16, 32), (32, 32)]
    return data_dir, digest, variables


def test_weights_are_made_once_and_found_again(kept, monkeypatch):
    data_dir, digest, variables = kept
    monkeypatch.setattr(taught, "pretrain", None)
    again, read = taught.weights("small", METHOD, data_dir, SHORT)
    assert again == digest
    jax.tree.map(np.testing.assert_array_equal, read, variables)


def test_training_starts_from_all_that_was_learnt_in_every_fold(kept):
    _, _, variables = kept
    fresh = train.init_variables(METHOD, jax.random.key(0))
    assert jax.tree.structure(fresh) == jax.tree.structure(variables)
    kernel = variables["params"]["fc"]["kernel"]
    assert (kernel != fresh["params"]["fc"]["kernel"]).any()
    state = train.init(METHOD, train.runs_of(np.array([0, 4])), variables)
    for fold in range(2):
        np.testing.assert_array_equal(state.params["params"]["fc"]["kernel"][fold], kernel)
        mean = variables["batch_stats"]["bn"]["mean"]
        np.testing.assert_array_equal(state.statistics["batch_stats"]["bn"]["mean"][fold], mean)


def test_other_lessons_or_settings_are_other_weights(kept, monkeypatch):
    data_dir, digest, _ = kept
    made = []

    def noted(method, seeds, lessons, on_epoch):
        made.append((method, lessons))
        runs = train.runs_of(np.zeros(1, int))
        return jax.device_get(train.init(method, runs).variables)

    monkeypatch.setattr(taught, "pretrain", noted)
    other = Lessons(clips=16, epochs=3)
    calmer = METHOD.configured(dropout=0.25)
    assert taught.weights("small", METHOD, data_dir, other)[0] != digest
    taught.weights("small", calmer, data_dir, SHORT)
    assert made == [(METHOD, other), (calmer, SHORT)]
    assert len(list((data_dir / "drawn").iterdir())) == 3


def test_an_altered_file_is_refused_and_one_that_is_being_made_is_waited_for(tmp_path, monkeypatch):
    def fresh(method, seeds, lessons, on_epoch):
        return jax.device_get(train.init(method, train.runs_of(np.zeros(1, int))).variables)

    monkeypatch.setattr(taught, "pretrain", fresh)
    taught.weights("small", METHOD, tmp_path, SHORT)
    (home,) = (tmp_path / "drawn").iterdir()
    content = (home / "weights.safetensors").read_bytes()
    (home / "weights.safetensors").write_bytes(content[:-1] + b"\1")
    with pytest.raises(InputError, match=r"weights.safetensors: altered .*delete that folder"):
        taught.weights("small", METHOD, tmp_path, SHORT)
    (home / "weights.safetensors").write_bytes(content)
    record = json.loads((home / "made_by.json").read_text())
    assert record["lessons"]["clips"] == 16
    (home / "MANIFEST.sha256").unlink()  # as when the making was stopped
    with hold(home), pytest.raises(InputError, match="in use by"):
        taught.weights("small", METHOD, tmp_path, SHORT)
    assert taught.weights("small", METHOD, tmp_path, SHORT)[1]["params"]


def test_each_network_that_can_be_taught_has_at_least_a_thousand_steps_or_thousands_of_clips():
    for name, method in models.NETWORKS.items():
        if method.takes in views.VIEWS:
            lessons = taught.lessons_of(method)
            clips = lessons.clips * lessons.epochs
            steps = lessons.epochs * lessons.passes * -(-lessons.clips // method.batch_size)
            assert clips >= (8_000 if method.takes == "image" else 25_600), name
            assert steps >= 250, name


def test_drawn_motion_teaches_to_tell_the_classes_of_clips_that_were_not_seen():
    losses = []
    variables = pretrain.pretrain(
        METHOD, [0, 1], Lessons(256, 5, passes=2), lambda _, loss: losses.append(loss)
    )
    assert len(losses) == 5
    view = views.view_of(METHOD)
    fresh = draw(jax.random.key(1), 256, view.size, window=view.window)
    seen, every = np.asarray(view.see(fresh.flow)), np.tile(np.arange(256), (2, 1))
    guessed = train.predict(METHOD, variables, seen, every, 256).argmax(-1)
    assert (guessed == np.asarray(fresh.labels)).mean(1).min() > 0.5


def test_a_loss_that_is_not_finite_is_one_line(monkeypatch):
    sick = views.View(28, views.CROP, lambda flows: views.uv_strain(flows) * jnp.nan)
    with pytest.raises(InputError, match="the loss of epoch 1 on drawn motion is not finite"):
        pretrain.pretrain(METHOD, [0], SHORT, view=sick)
