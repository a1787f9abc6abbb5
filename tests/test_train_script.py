"""`experiments/train.py`, from shards to a network that can be handed over."""

import json
import shutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import numpy_layers
import pytest
import scripts
import tyro
from orbax.checkpoint import v1 as ocp
from tiny import Tiny

import mjfn_jax
from flow.errors import one_line
from mjfn_jax import methods
from mjfn_jax import train as training
from mjfn_jax.commands import train as script
from mjfn_jax.runs import checkpoints, chunk

FLOWS = scripts.FLOWS
SHORT = ("--dataset=3db", "--epochs=2", "--batch_size=4", "--learning_rate=0.01")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return scripts.write_shards(tmp_path_factory.mktemp("data"))


@pytest.fixture
def tiny_network(monkeypatch):
    """A network of two layers in the place of each method's."""
    monkeypatch.setitem(methods.METHODS, "mjfn", Tiny())


def run(*flags):
    with one_line():
        tyro.cli(script.Train, args=[str(flag) for flag in flags]).run()


def refused(*flags):
    """The one line that a run ends with."""
    with pytest.raises(SystemExit) as caught:
        run(*flags)
    assert str(caught.value).startswith("error: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def trained_on_all():
    """The parameters that training on every clip ends with, by a loop over epochs."""
    recipe = training.Recipe(epochs=2, batch_size=4)
    nobody = jnp.zeros((1, len(FLOWS.labels)), bool)
    runs = training.runs_of(np.zeros(1, int), learning_rate=0.01)
    state = training.init(Tiny(), runs)
    clips = chunk.clips_of(FLOWS)
    for epoch in range(2):
        state, _ = training.train_epoch(
            Tiny(), recipe, 3, state, runs, nobody, clips, jnp.asarray(epoch)
        )
    return jax.tree.map(lambda leaf: np.asarray(leaf[0]), state.params)


def test_a_checkpoint_of_all_subjects_is_written_with_its_configuration(
    tiny_network, data_dir, tmp_path, capsys
):
    flags = (*SHORT, f"--data_dir={data_dir}", f"--out={tmp_path}")
    run(*flags)
    assert capsys.readouterr().out.startswith(f"written to {tmp_path / 'model'};")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".lock", "identity.json", "model", "run.log"}
    config = checkpoints.config_of(tmp_path / "model")
    assert config == json.loads((tmp_path / "identity.json").read_text())
    assert config["protocol"] == {"split": "all subjects"}
    assert config["method"]["settings"]["num_jfms"] == 3
    assert config["recipe"]["learning_rate"] == 0.01
    jax.tree.map(np.testing.assert_array_equal, ocp.load(tmp_path / "model"), trained_on_all())

    before = (tmp_path / "model" / "MANIFEST.sha256").stat()
    run(*flags)  # is there already
    assert (tmp_path / "model" / "MANIFEST.sha256").stat() == before
    assert "recipe.seed is 1 here and 0 there" in refused(*flags, "--seed=1")
    assert (tmp_path / "model" / "MANIFEST.sha256").stat() == before


def test_a_stopped_training_continues_with_the_same_bits(
    tiny_network, data_dir, tmp_path, monkeypatch
):
    flags = (*SHORT, f"--data_dir={data_dir}", f"--out={tmp_path}")
    save = chunk.Chunk._save

    def save_and_stop(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(chunk.Chunk, "_save", save_and_stop)
        clock = types.SimpleNamespace(monotonic=iter(range(0, 10**6, 1000)).__next__)
        patch.setattr(chunk, "time", clock)
        with pytest.raises(SystemExit) as caught:
            run(*flags)
        assert caught.value.code == 130
    assert (tmp_path / "state" / "all" / "1").is_dir()  # after the first of two epochs
    run(*flags)
    jax.tree.map(np.testing.assert_array_equal, ocp.load(tmp_path / "model"), trained_on_all())


def test_a_loss_that_is_not_finite_is_one_line_and_no_network(
    tiny_network, data_dir, tmp_path, monkeypatch
):
    init = training.init

    def sick(*arguments):
        state = init(*arguments)
        return state._replace(params=jax.tree.map(lambda leaf: leaf * jnp.nan, state.params))

    monkeypatch.setattr(training, "init", sick)
    message = refused(*SHORT, f"--data_dir={data_dir}", f"--out={tmp_path}")
    assert "the loss of all subjects (epoch 1) is not finite: lower --learning_rate" in message
    assert not (tmp_path / "model").exists()


def test_missing_shards_are_refused_with_the_command_that_makes_them(tmp_path):
    message = refused("--dataset=samm", f"--data_dir={tmp_path}", f"--out={tmp_path / 'out'}")
    assert "python -m flow build --dataset=samm" in message
    assert not (tmp_path / "out").exists()


def test_a_trained_mjfn_can_be_loaded_and_is_the_papers_network(tmp_path_factory, data_dir):
    """The real one, as a user starts it; its compilation takes most of the time."""
    out = tmp_path_factory.mktemp("real")
    flags = ("--dataset=3db", "--epochs=1", "--batch_size=4", f"--data_dir={data_dir}")
    printed, _ = scripts.finish(scripts.start("train.py", *flags, f"--out={out}"))
    assert printed == f"written to {out / 'model'}; mjfn_jax.load opens it\n"
    images = FLOWS.inputs[:2]
    probabilities = mjfn_jax.load(shutil.copytree(out / "model", out / "copy"))(images)
    params = ocp.load(out / "model")["params"]
    wanted = numpy_layers.mjfn(images, params, 3, "softmax")
    np.testing.assert_allclose(probabilities, wanted, atol=1e-5)
