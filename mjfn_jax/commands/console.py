"""What the commands share on a terminal: log lines, a progress bar, one line for a failure."""

import contextlib
import logging
import math
import os
import pathlib
from collections.abc import Callable, Iterator

import tqdm

from flow.errors import InputError, one_line

OnEpoch = Callable[[int, float | None], None]
"""See `mjfn_jax.runs.chunk.OnEpoch`."""


@contextlib.contextmanager
def script() -> Iterator[None]:
    """Set-up of every command: foreseen failures in one line, compiled programs kept.

    XLA's compiled programs are kept in `~/.cache/mjfn-jax`, so that the next run of the same
    experiment starts at once.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("jax").setLevel(logging.WARNING)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # TFDS and Orbax tell each step
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(home) / "mjfn-jax"))
    with one_line():
        yield


@contextlib.contextmanager
def progress_bar(total: int, unit: str = "epoch") -> Iterator[OnEpoch]:
    """A bar on stderr that counts epochs of folds, or folds, and shows mean loss and ETA."""
    words = "folds x epochs" if unit == "epoch" else "folds"
    with tqdm.tqdm(total=total, unit=unit, desc=words, smoothing=0.05) as bar:

        def on_epoch(done: int, loss: float | None) -> None:
            if loss is not None and math.isnan(loss):
                bar.initial += done  # by an earlier run: not part of this run's pace
            elif loss is not None:
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update(done)

        yield on_epoch


def not_finite(failed: list[dict], learning_rate: float) -> InputError:
    """What to say of folds whose loss is no longer finite."""
    named = ", ".join(f"{one['fold']} (epoch {one['epoch']})" for one in failed)
    return InputError(
        f"the loss of {named} is not finite: lower --learning_rate={learning_rate}; "
        "other folds are kept"
    )
