"""What the commands share on a terminal: log lines, a progress bar, one line for a failure."""

import contextlib
import logging
import math
import os
import pathlib
import shlex
import sys
from collections.abc import Callable, Iterator

import tqdm

from flow.disk import lock
from flow.errors import InputError, Terminated, TrainingError, one_line

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
def writing(out: pathlib.Path) -> Iterator[None]:
    """Hold the folder of a run, and add to `run.log` in it what is logged there, with the times.

    Each start has a line with the command and the versions, each end one that says how. An error
    of the system that names no file names the folder.

    Raises:
      InputError: as `flow.disk.lock.hold`.
    """
    with lock.hold(out), _logged(logging.FileHandler(out / "run.log", encoding="utf-8")):
        try:
            yield
        except OSError as error:
            if error.filename is None:  # as that of a file's `write`
                error.filename = str(out)
            raise


@contextlib.contextmanager
def _logged(file: logging.Handler) -> Iterator[None]:
    from mjfn_jax.runs.results import versions  # JAX, which not every command needs

    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    file.handleError = lambda record: None  # a full disk ends the run by itself

    def note(text: str) -> None:
        """In the file only: the terminal has its own words for it."""
        file.handle(logging.makeLogRecord({"msg": " ".join(text.split())}))

    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    note(f"started: {shlex.join(sys.argv)} ({packages})")
    logging.getLogger().addHandler(file)
    try:
        yield
        note("ended")
    except KeyboardInterrupt as error:
        note(f"stopped by {'SIGTERM' if isinstance(error, Terminated) else 'Ctrl-C'}")
        raise
    except (InputError, OSError) as error:
        note(f"ended: {error}")
        raise
    except BaseException as error:
        note(f"ended by a fault: {type(error).__name__}: {error}")
        raise
    finally:
        logging.getLogger().removeHandler(file)
        file.close()


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


def not_finite(failed: list[dict], learning_rate: float) -> TrainingError:
    """What to say of folds whose loss is no longer finite."""
    named = ", ".join(f"{one['fold']} (epoch {one['epoch']})" for one in failed)
    return TrainingError(
        f"the loss of {named} is not finite: lower --learning_rate={learning_rate}; "
        "other folds are kept"
    )
