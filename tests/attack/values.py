"""Values that cannot be, in the data of one subject, in weights, and in a saved state.

What a fold makes of its training clips is the same to the bit, whatever its held-out clips hold;
NaN and infinity are refused where data are read, by the clip's name.
"""

import dataclasses
import json
import logging
import pathlib
import shutil
import warnings
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from attack import runs
from attack.trial import Trial, outcome

import mjfn_jax
from mjfn_jax import pretrained, train
from mjfn_jax.data import Dataset
from mjfn_jax.drawn import weights
from mjfn_jax.fitted import Fitted
from mjfn_jax.handcrafted import Handcrafted
from mjfn_jax.handcrafted.sparse_mdmo import SparseMdmo
from mjfn_jax.inputs import KINDS
from mjfn_jax.methods import METHODS
from mjfn_jax.models import Network
from mjfn_jax.runs import checkpoints, results
from mjfn_jax.train import Clips, Recipe

VALUES = {
    "NaN": np.nan, "infinity": np.inf, "zeros": 0.0, "a constant": 7.0, "1e30": 1e30,
}  # fmt: skip
_FIRST = ("ststnet", "mirror-svm", "mdmo", "off-apexnet")
"""Quickly compiled, so that a few trials take seconds."""

SUBJECTS = np.repeat(np.arange(4), 3)
LABELS = np.tile(np.arange(3), 4)
HELD_OUT = np.arange(4)[:, None] == SUBJECTS
PEOPLE = np.array([f"casme2/s{subject}" for subject in SUBJECTS])


def attack(count: int, seed: int, folder: pathlib.Path) -> Iterator[Trial]:
    """Weights and states, then every method with every value."""
    logging.getLogger().setLevel(logging.ERROR)
    yield from [_state(folder), _weights(folder), _trunk(folder), _load(folder)]
    names = [*_FIRST, *(name for name in METHODS if name not in _FIRST)]
    left = max(count - 4, 1)
    for name in names:
        method = METHODS[name]
        make = _network if isinstance(method, Network) else _fitted
        for trial in make(name, method, seed):
            yield trial
            left -= 1
            if not left:
                return


def _network(name: str, method: Network, seed: int) -> Iterator[Trial]:
    """The first fold's parameters, optimiser and statistics after an epoch; the others learn from
    its clips."""
    random = np.random.default_rng(seed)

    def inputs(part):
        shape = (len(LABELS), *part.shape[1:])
        if part.dtype == np.uint8:
            return random.integers(0, 256, shape, np.uint8)
        return random.normal(size=shape).astype(part.dtype)

    clean = jax.tree.map(inputs, KINDS[method.takes].example)
    before = _trained(method, clean)
    for value in VALUES:
        poisoned = jax.tree.map(lambda part, value=value: _poisoned(part, value), clean)
        if poisoned is None:
            continue
        after = _trained(method, poisoned)
        same = all(
            a[0].tobytes() == b[0].tobytes()
            for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
        )
        yield Trial(
            f"a held-out subject's clips, {value}: {method.title}",
            same,
            _front(name, value, poisoned),
        )


def _poisoned(part: np.ndarray, value: str) -> np.ndarray:
    part = part.copy()
    if part.dtype == np.uint8:  # has no NaN: the ends of what it has
        part[HELD_OUT[0]] = {"zeros": 0, "a constant": 7}.get(value, 255)
    elif part.dtype == object:
        for n in np.flatnonzero(HELD_OUT[0]):
            part[n] = np.full_like(part[n], VALUES[value])
    else:
        part[HELD_OUT[0]] = VALUES[value]
    return part


def _trained(method: Network, inputs) -> train.State:
    two = HELD_OUT[:2]
    about = train.runs_of(np.arange(2))
    clips = jax.tree.map(jnp.asarray, Clips(inputs, LABELS, np.zeros(len(LABELS), int)))
    recipe = Recipe(1, 3)
    state, _ = train.train_epoch(
        method, recipe, 3, train.init(method, about), about, jnp.asarray(two), clips, jnp.asarray(0)
    )
    return jax.device_get(state)


def _fitted(name: str, method: Fitted, seed: int) -> Iterator[Trial]:
    """The scores of a held-out clip, when the other held-out clips are others."""
    clean = _features(method, np.random.default_rng(seed))
    if hasattr(method, "placed"):  # 32 clips of a database are needed to look for a crop
        method = dataclasses.replace(method, placed=False)
    before = _asked(method, clean)
    for value in VALUES:
        poisoned = _poisoned(clean, value)
        said = _front(name, value, poisoned)
        if np.isfinite(VALUES[value]):
            kept_one = poisoned.copy()
            kept_one[0] = clean[0]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                held = _asked(method, kept_one)[0].tobytes() == before[0].tobytes()
        else:
            held = said != ""
        yield Trial(f"a held-out subject's clips, {value}: {method.title}", held, said)


def _features(method: Fitted, random: np.random.Generator) -> np.ndarray:
    if isinstance(method, SparseMdmo):
        clips = np.empty(len(LABELS), object)
        clips[:] = [random.normal(size=(6, 72)) for _ in LABELS]
        return clips
    if isinstance(method, Handcrafted):
        return random.normal(size=(len(LABELS), 12))
    return random.normal(size=(len(LABELS), 28, 28, 2)).astype(np.float32)


def _asked(method: Fitted, inputs: np.ndarray) -> np.ndarray:
    (scores,) = method.decide(inputs, LABELS, PEOPLE, [HELD_OUT[0]])
    return np.asarray(scores)


def _front(name: str, value: str, inputs) -> str:
    """What is said where such data are read: nothing if they can be."""
    subjects = tuple(f"s{subject}" for subject in SUBJECTS)
    clips = tuple(map(str, range(len(LABELS))))
    data = Dataset(inputs, LABELS, ("casme2",) * len(LABELS), subjects, clips, {})
    with outcome() as found:
        data.check()
    return found.refused or ""


def _state(folder: pathlib.Path) -> Trial:
    """NaN in one fold's optimiser, in a state that is whole."""
    kind = "NaN in a fold's optimiser, in a saved state"
    wanted, out = runs.run(folder / "undisturbed"), folder / "state"
    runs.stopped(out, 1)
    (home,) = out.glob("state/*/1")
    record = json.loads((home / "state.json").read_bytes())
    tree = checkpoints.ocp.load(home)
    names = [json.loads(name)[1] for name in record["names"]]
    sick = names.index("samm/6")

    def nan(leaf):
        leaf = np.array(leaf)
        if leaf.dtype == np.float32:
            leaf[sick] = np.nan
        return leaf

    tree["state"]["optimizer"] = jax.tree.map(nan, tree["state"]["optimizer"])
    checkpoints.save(home, tree, {"epochs_done": 1}, {"state.json": json.dumps(record)})
    with outcome() as found:
        found.value = runs.run(out)
    if found.value is None:
        return found.trial(kind, False)
    failed = [each.fold.name for each in found.value if each.failed_at is not None]
    others = [runs.bits([a]) == runs.bits([b]) for a, b in zip(found.value, wanted, strict=True)
              if a.fold.name != "samm/6"]  # fmt: skip
    no_score = results.summarise(runs.CLIPS, found.value, {})["scores"] is None
    held = failed == ["samm/6"] and all(others) and no_score
    return found.trial(kind, held)


def _weights(folder: pathlib.Path) -> Trial:
    from attack.damage import _two_networks

    variables, record = _two_networks()
    leaves, structure = jax.tree.flatten(variables)
    leaves[0] = np.full_like(leaves[0], np.nan)
    weights.write(folder / "weights", jax.tree.unflatten(structure, leaves), record)
    with outcome() as found:
        weights.read(folder / "weights")
    return found.trial("NaN in the recogniser's weights", "not finite" in (found.refused or ""))


def _trunk(folder: pathlib.Path) -> Trial:
    method = METHODS["capsulenet"]
    shapes = jax.eval_shape(lambda: train.init_variables(method, jax.random.key(0)))
    from flax import traverse_util

    trunk = {
        "/".join(names[1:]): np.full(leaf.shape, np.inf, np.float32)
        for part in shapes.values()
        for names, leaf in traverse_util.flatten_dict(part).items()
        if names[0] == pretrained.TRUNK
    }
    np.savez(folder / "trunk.npz", **trunk)
    with outcome() as found:
        pretrained.load(folder / "trunk.npz", method)
    return found.trial(
        "infinity in weights to start from", "is not finite" in (found.refused or "")
    )


def _load(folder: pathlib.Path) -> Trial:
    """A trained network that is asked of a clip that is not finite."""
    method = METHODS["ststnet"]
    variables = jax.device_get(train.init_variables(method, jax.random.key(0)))
    about = {"method": {"name": "ststnet", "settings": method.settings}}
    checkpoints.save(folder / "model", variables, about)
    clips = np.ones((3, 28, 28, 3), np.float32)
    clips[1, 3, 4] = np.nan
    with outcome() as found:
        mjfn_jax.load(folder / "model")(clips)
    shutil.rmtree(folder / "model")
    said = found.refused or ""
    return found.trial("NaN in a clip that a network is asked of", "clip 1" in said)
