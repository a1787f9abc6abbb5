"""Files of runs, data sets and weights: flipped, cut, deleted, or put in another's place.

A damaged file is named, or cannot matter: what comes of the same command is the same to the bit.
"""

import contextlib
import functools
import logging
import pathlib
import shutil
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np
from attack import runs
from attack.trial import Trial, outcome
from scripts import frames_of_noise, write_shards

from flow import shards
from flow.algorithms import TvL1
from flow.build.job import Job
from flow.disk import kept
from flow.features.extraction import extract
from flow.features.lbp_top import LbpTop
from mjfn_jax import train
from mjfn_jax.drawn import recogniser, weights
from mjfn_jax.models.drawn import DrawnNet
from mjfn_jax.runs import checkpoints

Way = Callable[[pathlib.Path, np.random.Generator], None]


def _flip(path, random):
    content = bytearray(path.read_bytes())
    content[random.integers(len(content))] ^= 1 << random.integers(8)
    path.write_bytes(content)


def _cut(path, random):
    content = path.read_bytes()
    path.write_bytes(content[: random.integers(len(content))])


def _delete(path, random):
    path.unlink()


def _zeros(path, random):
    path.write_bytes(bytes(path.stat().st_size))


WAYS: dict[str, Way] = {"flipped": _flip, "cut": _cut, "deleted": _delete, "zeroed": _zeros}


def attack(count: int, seed: int, folder: pathlib.Path) -> Iterator[Trial]:
    """All kinds of files in turn, each with a victim and a way that are drawn."""
    random = np.random.default_rng(seed)
    logging.getLogger().setLevel(logging.WARNING)
    targets = [
        target(folder)
        for target in (
            *(_finished, _failed, _state, _swapped, _model, _drawn),
            *(_shards, _frames, _building, _features),
        )
    ]
    for number in range(count):
        yield targets[number % len(targets)](random, folder / "trial")
        shutil.rmtree(folder / "trial", ignore_errors=True)


def _victim(random, home: pathlib.Path) -> tuple[pathlib.Path, str]:
    """A file below a folder is damaged; which, and how."""
    files = sorted(p for p in home.rglob("*") if p.is_file() and p.stat().st_size)
    path, way = files[random.integers(len(files))], list(WAYS)[random.integers(len(WAYS))]
    before = path.read_bytes()
    WAYS[way](path, random)
    if path.exists() and path.read_bytes() == before:  # was zeros
        path.unlink()
    return path, way


def _names(said: str | None, path: pathlib.Path) -> bool:
    """Whether it is the damaged file that a refusal names."""
    return said is not None and str(path) in said


def _finished(folder):
    """A fold that is done."""
    whole = folder / "whole"
    wanted = runs.bits(runs.run(whole))

    def trial(random, out):
        shutil.copytree(whole, out)
        path, way = _victim(random, out / "folds")
        with outcome() as found:
            found.value = runs.bits(runs.run(out))
        return found.trial(f"a finished fold, a file {way}", _names(found.refused, path))

    del wanted
    return trial


def _failed(folder):
    """What is left of a fold whose loss was not finite."""
    init, whole = train.init, folder / "sick"

    def sick(method, about, pretrained=None):
        state = init(method, about, pretrained)
        import jax

        params = jax.tree.map(lambda p: p.at[about.folds == 2].set(np.nan), state.params)
        return state._replace(params=params)

    with mock.patch.object(train, "init", sick):
        runs.run(whole)
    assert len(list((whole / "failed").iterdir())) == 1

    def trial(random, out):
        shutil.copytree(whole, out)
        path, way = _victim(random, out / "failed")
        with outcome() as found:
            runs.run(out)
        return found.trial(f"a failed fold, a file {way}", _names(found.refused, path))

    return trial


@contextlib.contextmanager
def _said() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)


def _state(folder):
    """The newest of two states of a run that was killed: the older one goes on, and it is said."""
    whole, wanted = folder / "states", runs.bits(runs.run(folder / "undisturbed"))
    with mock.patch.object(kept, "remove", lambda path: None):
        runs.stopped(whole, 2)
    (home,) = (whole / "state").iterdir()

    def trial(random, out):
        shutil.copytree(whole, out)
        both = random.integers(4) == 0
        path, way = _victim(random, out / "state" / home.name / "2")
        if both:
            _victim(random, out / "state" / home.name / "1")
        with outcome() as found, _said() as lines:
            found.value = runs.bits(runs.run(out))
        if both:
            return found.trial(f"both states, a file {way}", _names(found.refused, path))
        held = found.value == wanted and any(
            str(path) in line and "going on from epoch 1" in line for line in lines
        )
        trial = found.trial(f"the newest of two states, a file {way}", held)
        return trial._replace(said=trial.said or " ".join(lines))

    return trial


def _swapped(folder):
    """A fold of another run, or of another subject, in its place."""
    mine, others = folder / "mine", folder / "others"
    runs.run(mine)
    runs.run(others, seed=1)

    def trial(random, out):
        shutil.copytree(mine, out)
        names = sorted(path.name for path in (out / "folds").iterdir())
        victim = names[random.integers(len(names))]
        from_run = bool(random.integers(2))
        source = others if from_run else mine
        name = victim if from_run else next(each for each in names if each != victim)
        shutil.rmtree(out / "folds" / victim)
        shutil.copytree(source / "folds" / name, out / "folds" / victim)
        with outcome() as found:
            runs.run(out)
        what = "another run's" if from_run else "another subject's"
        held = _names(found.refused, out / "folds" / victim)
        return found.trial(f"a finished fold, {what} in its place", held)

    return trial


def _shards(folder):
    """A data set of flow images, or another database's in its place."""
    return _data_set(folder, shards.FlowImages)


def _frames(folder):
    """A data set of frames."""
    return _data_set(folder, shards.Frames)


def _data_set(folder, data_set):
    data_dir, name = folder / "data", data_set.name.replace("_", " ")
    if not data_dir.exists():
        write_shards(data_dir, frames=True)

    def trial(random, out):
        here, other = (shards.folder(which, data_dir, data_set) for which in ("smic", "casme2"))
        home = shards.folder("smic", out, data_set)
        if random.integers(4):
            shutil.copytree(here, home)
            path, way = _victim(random, home)
            kind = f"a data set of {name}, a file {way}"
        else:
            shutil.copytree(other, home)
            path, kind = home, f"a data set of {name}, another database's in its place"
        with outcome() as found:
            shards.open_shards("smic", out, data_set)
        return found.trial(kind, _names(found.refused, path))

    return trial


def _building(folder):
    """A record of a build that was stopped, or another clip's in its place."""
    clips = frames_of_noise(_made(folder / "noise")).clips
    jobs = [Job.plan(clip, {}, folder / "trial", {}, TvL1()) for clip in clips]
    arrays = shards.FlowImages.arrays

    def record(job, random):
        made = {
            name: (random.normal(size=each.shape) * 50).astype(each.np_dtype)
            for name, each in arrays.items()
        }
        return job.annotation(2, None) | made

    def trial(random, out):
        job, other = (jobs[n] for n in random.permutation(len(jobs))[:2])
        before = record(job, random)
        job.save(before)
        if random.integers(4):
            path, way = _victim(random, out)
            kind = f"a record of a stopped build, a file {way}"
        else:
            other.save(record(other, random))
            path, kind = other.path.replace(job.path), "a record of a stopped build, another clip's"
        with outcome() as found, _said() as lines:
            found.value = job.is_done(arrays)
        held = not found.value and (
            not lines or any(str(path) in line and "made again" in line for line in lines)
        )
        if found.value:  # a byte that means nothing
            after = job.record()
            held = all((before[name] == after[name]).all() for name in arrays)
        return found.trial(kind, held)._replace(said=" ".join(lines))

    return trial


def _features(folder):
    """A feature that an earlier call has kept, or another clip's in its place: computed anew."""
    clips = frames_of_noise(_made(folder / "noise")).clips
    whole = folder / "features"
    wanted = extract(LbpTop(), clips, whole)

    def trial(random, out):
        shutil.copytree(whole, out)
        if random.integers(4):
            _, way = _victim(random, out)
            kind = f"a kept feature, a file {way}"
        else:
            one, other = random.permutation(sorted(out.iterdir()))[:2]
            shutil.copy(one, other)
            kind = "a kept feature, another clip's"
        with outcome() as found:
            found.value = extract(LbpTop(), clips, out)
        held = [a.tobytes() for a in found.value or ()] == [a.tobytes() for a in wanted]
        return found.trial(kind, held)

    return trial


def _made(folder):
    folder.mkdir(exist_ok=True)
    return folder


def _model(folder):
    """A network that was handed over."""
    from mjfn_jax.models import make

    method = make("ststnet")
    import jax

    variables = jax.device_get(train.init_variables(method, jax.random.key(0)))
    about = {"method": {"name": "ststnet", "settings": method.settings}}
    checkpoints.save(folder / "model", variables, about)

    def trial(random, out):
        shutil.copytree(folder / "model", out)
        path, way = _victim(random, out)
        with outcome() as found:
            checkpoints.load(out)
        return found.trial(f"a handed-over network, a file {way}", _names(found.refused, path))

    return trial


@functools.cache
def _two_networks():
    import jax

    from flow.drawn import HALVES

    method = DrawnNet()
    about = train.runs_of(np.zeros(2, int))._replace(seeds=np.arange(2, dtype=np.uint32))
    calibration = {"temperature": 1.0}
    calibration |= {name: [0.0] * len(HALVES) for name in ("slopes", "offsets")}
    record = {"settings": method.settings, "calibration": calibration}
    return jax.device_get(train.init(method, about).variables), record


def _drawn(folder):
    """The weights of the recogniser. White space of the record may change."""
    weights.write(folder / "weights", *_two_networks())

    def trial(random, out):
        shutil.copytree(folder / "weights", out)
        known = recogniser.load(out)
        path, way = _victim(random, out)
        with outcome() as found:
            found.value = recogniser.load(out)
        held = _names(found.refused, path)
        if found.refused is None:  # a record that reads the same
            held = path.suffix == ".json" and found.value.calibration == known.calibration
        if path.suffix == ".safetensors":  # the recogniser in memory is whole: read from disk
            with outcome() as found:
                weights.read(out)
            held = _names(found.refused, path)
        return found.trial(f"the recogniser's weights, a file {way}", held)

    return trial
