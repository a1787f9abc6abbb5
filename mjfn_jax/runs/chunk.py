"""A chunk: folds that are trained together, as one program, and resumed.

While a chunk trains, all that its next epoch depends on is saved in

    state/FOLDS/EPOCHS_DONE/    Orbax checkpoint, state.json with what is trained in it, manifest

A state is found again by what is trained in it, whichever chunks it is divided into next time.
"""

import dataclasses
import json
import logging
import math
import pathlib
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from flow.catalogue import DATABASES
from flow.disk import kept
from flow.errors import InputError
from mjfn_jax import train
from mjfn_jax.data import Dataset
from mjfn_jax.models.network import Network
from mjfn_jax.runs import checkpoints
from mjfn_jax.train import Recipe, Runs

OnEpoch = Callable[[int, float | None], None]
"""Called with the number of epochs of folds that were done since the last call, and the mean
loss of the folds in training: NaN for what an earlier run has done, None where there is none."""

_RECORD = "state.json"


def silent(done: int, loss: float | None) -> None:
    """An `OnEpoch` that shows nothing."""


class Trained(NamedTuple):
    """A chunk of F folds after training."""

    variables: Any
    """Parameters and other collections of the networks."""
    loss: Float[np.ndarray, "F epochs"]
    accuracy: Float[np.ndarray, "F epochs"]
    guesses: Int[np.ndarray, "F epochs T"] | None
    """See `FoldResult.guesses`; a fold with fewer clips repeats its last."""
    seconds: Float[np.ndarray, " F"]
    """See `FoldResult.seconds`."""


class Saved(NamedTuple):
    """A state of an earlier run, and which of its folds are wanted."""

    folder: pathlib.Path
    epochs_done: int
    names: tuple[str, ...]
    """What is trained in it."""
    rows: tuple[int, ...]
    """Places of the wanted ones."""
    longest: int
    """Held-out clips T of the fold that has the most."""


@dataclasses.dataclass(frozen=True, eq=False)
class Chunk:
    """F folds that are trained together to the last epoch."""

    method: Network
    clips: Dataset
    """All N clips."""
    recipe: Recipe
    runs: Runs
    """The folds, their seeds and learning rates."""
    held_out: Bool[np.ndarray, "F N"]
    steps: int
    """Steps of an epoch, see :func:`mjfn_jax.train.steps_per_epoch`."""
    names: tuple[str, ...]
    """What each fold is in a state: no two that could be mixed up have the same."""
    home: pathlib.Path
    """Where states are saved; the newest one stays when training ends."""
    saved: Saved | None = None
    """The state from which it goes on."""
    pretrained: Any = None
    """Weights to start from, see :func:`mjfn_jax.train.init`."""
    oracle: bool = False
    """Whether the held-out clips are predicted after each epoch too."""
    devices: int = 1
    """How many of this machine's devices share the folds."""
    save_every: float = 60.0
    """Seconds between saves."""

    def train(self, on_epoch: OnEpoch = silent) -> Trained:
        """Train to the last epoch, or until no fold has a finite loss any more."""
        start, tree = self._start()
        state, loss, accuracy = tree.pop("state"), tree["loss"], tree["accuracy"]
        number = len(self.held_out)
        on_epoch(start * number, math.nan)
        # Each device takes equally many folds; what is missing repeats the last one.
        wanted = np.minimum(np.arange(-(-number // self.devices) * self.devices), number - 1)
        clips = train.place(clips_of(self.clips), self.devices, by_fold=False)
        state, runs, masks = train.place(
            jax.tree.map(lambda leaf: leaf[wanted], (state, self.runs, self.held_out)),
            self.devices,
            by_fold=True,
        )
        saved = counted = time.monotonic()
        for epoch in range(start, self.recipe.epochs):
            state, progress = train.train_epoch(
                self.method, self.recipe, self.steps, state, runs, masks, clips,
                jnp.asarray(epoch), self.devices,
            )  # fmt: skip
            progress = jax.device_get(progress)
            loss[:, epoch], accuracy[:, epoch] = (part[:number] for part in progress)
            if self.oracle:
                probabilities = self.predict(_first(state.variables, number), clips.inputs)
                tree["guesses"][:, epoch] = probabilities.argmax(-1)
            sound = np.isfinite(loss[:, : epoch + 1]).all(1)
            on_epoch(number, float(loss[sound, epoch].mean()) if sound.any() else math.inf)
            now = time.monotonic()
            tree["seconds"] += (now - counted) / number
            counted = now
            last = epoch + 1 == self.recipe.epochs or not sound.any()
            if last or now - saved > self.save_every:
                self._save(epoch + 1, tree | {"state": _first(state, number)})
                saved = time.monotonic()
            if not sound.any():
                break
        variables = _first(state.variables, number)
        return Trained(variables, loss, accuracy, tree.get("guesses"), tree["seconds"])

    def predict(self, variables: Any, inputs: Any = None) -> Float[np.ndarray, "F T K"]:
        """Probabilities of the held-out clips; a fold with fewer than T clips repeats its last.

        `inputs` are those of all clips where they are on the device already.
        """
        held_out = [np.flatnonzero(mask) for mask in self.held_out]
        chosen = np.stack([np.pad(c, (0, self._longest - len(c)), mode="edge") for c in held_out])
        inputs = self.clips.inputs if inputs is None else inputs
        return train.predict(self.method, variables, inputs, chosen, self.recipe.batch_size)

    def _start(self) -> tuple[int, dict[str, Any]]:
        """The number of epochs that are done, and all that training changes."""
        tree = {"state": train.init(self.method, self.runs, self.pretrained)}
        folds, epochs = len(self.held_out), self.recipe.epochs
        unknown = np.full((folds, epochs), np.nan, np.float32)
        tree |= {"loss": unknown, "accuracy": unknown.copy(), "seconds": np.zeros(folds)}
        if self.oracle:
            tree["guesses"] = np.full((folds, epochs, self._longest), -1, np.int32)
        if self.saved is None:
            return 0, tree
        # The state may hold more folds than are wanted, with more held-out clips.
        there = len(self.saved.names)
        template = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((there, *leaf.shape[1:]), leaf.dtype), tree
        )
        if self.oracle:
            shape = (there, epochs, self.saved.longest)
            template["guesses"] = jax.ShapeDtypeStruct(shape, np.int32)
        whole = checkpoints.restore(self.saved.folder, template)
        tree = jax.tree.map(lambda leaf: leaf[np.array(self.saved.rows)], whole)
        if self.oracle:
            tree["guesses"] = tree["guesses"][..., : self._longest]
        return self.saved.epochs_done, tree | {"state": jax.tree.map(jnp.asarray, tree["state"])}

    @property
    def _longest(self) -> int:
        return int(self.held_out.sum(1).max())

    def _save(self, epochs_done: int, tree: dict[str, Any]) -> None:
        record = {
            "names": self.names,
            "longest": self._longest,
            "oracle": self.oracle,
            "epochs": self.recipe.epochs,
        }
        checkpoints.save(
            self.home / str(epochs_done), tree, {"epochs_done": epochs_done},
            {_RECORD: json.dumps(record)},
        )  # fmt: skip
        for older in _numbered(self.home):
            if int(older.name) < epochs_done:
                kept.remove(older)


def saved_states(
    states: pathlib.Path, wanted: Collection[str], oracle: bool, epochs: int
) -> list[Saved]:
    """The newest whole state of each folder, those that have seen the most epochs first.

    A damaged one is said and left for an older one.

    Args:
      states: the folder of the folders.
      wanted: names of folds. States of others alone, which another worker of a cluster may be
        saving, are left alone.
      oracle, epochs: what the states are of.

    Raises:
      InputError: no state of a folder is whole.
    """
    found = []
    for home in sorted(states.glob("[!.]*")):
        damaged = None
        for folder in sorted(_numbered(home), key=lambda path: -int(path.name)):
            if _is_of_others(folder, wanted):
                break
            try:
                if _RECORD not in checkpoints.check(folder):
                    raise InputError(
                        f"{folder}: without {_RECORD}, as an earlier version's; delete it"
                    )
                record = json.loads((folder / _RECORD).read_bytes())
            except InputError as error:
                damaged = damaged or error
                continue
            if damaged is not None:
                logging.warning("%s; going on from epoch %s", damaged, folder.name)
            if (record["oracle"], record["epochs"]) == (oracle, epochs):
                names = tuple(record["names"])
                rows = tuple(range(len(names)))
                found.append(Saved(folder, int(folder.name), names, rows, record["longest"]))
            break
        else:
            if damaged is not None:
                raise damaged
    return sorted(found, key=lambda state: -state.epochs_done)


def _is_of_others(folder: pathlib.Path, wanted: Collection[str]) -> bool:
    """Whether a state holds nothing that is wanted, or is gone by now; False if it is damaged."""
    try:
        names = json.loads((folder / _RECORD).read_bytes())["names"]
    except (OSError, ValueError, LookupError, TypeError):
        return not folder.exists()
    return not set(wanted).intersection(names)


def clips_of(clips: Dataset) -> train.Clips:
    """The clips as training takes them; a database's number is its domain in the catalogue, −1 for
    one that is not there."""
    domains = {name: record.domain for name, record in DATABASES.items()}
    databases = np.array([domains.get(name, -1) for name in clips.databases])
    return jax.tree.map(jnp.asarray, train.Clips(clips.inputs, clips.labels, databases))


def _numbered(home):
    return [path for path in home.glob("[0-9]*") if path.name.isdigit()]


def _first(tree, folds):
    """The first folds' part of a tree, on the host where it is spread over devices."""
    leaf = jax.tree.leaves(tree)[0]
    if leaf.shape[0] == folds and len(leaf.sharding.device_set) == 1:
        return tree
    return jax.tree.map(lambda leaf: leaf[:folds], jax.device_get(tree))
