"""Makes sure that a dataset's clips are on disk before an experiment opens them."""

import logging
import pathlib
from typing import Literal

from flow.build import build
from flow.catalogue import DATASETS
from flow.errors import InputError
from flow.progress import bar
from flow.shards import Frames, folder
from flow.synthetic import render
from mjfn_jax import data

Name = Literal["synthetic", *DATASETS]


def load(
    dataset: Name,
    data_dir: pathlib.Path,
    source: pathlib.Path | None,
    takes: str = "image",
    follow_links: bool = False,
) -> data.Dataset:
    """The clips of a dataset; what is missing is made first.

    Frames show faces. Those of the real databases are not made here, but by the command that
    the error names.

    Args:
      dataset: `synthetic` is a small 3DB of stand-ins, rendered below `data_dir`.
      data_dir: where the data sets are, or are written.
      source: the folder below which the databases stand; None if they need not be read.
      takes: what of each clip, see `mjfn_jax.data.load`.
      follow_links: whether links may lead out of the source, see `flow.databases.read`.

    Raises:
      InputError: flow images are missing and there is no source to build them from, the frames of
        a real database are missing, or `synthetic` is given a source.
    """
    frames = data.data_set(takes) is Frames
    if dataset == "synthetic":
        if source is not None:
            raise InputError(
                f"--source={source}: --dataset=synthetic renders its own stand-ins; leave one out, "
                "or name what is there, as in --dataset=3db"
            )
        source = stand_ins(data_dir)
        data_dir = source.parent
        dataset = "3db"
        if not _built(dataset, data_dir, takes):
            logging.info("rendering the stand-in databases in %s", source)
            with bar("stand-ins") as on_progress:
                render(source, size="mini", seed=0, on_progress=on_progress)
    elif frames:
        source = None  # nobody asked for faces on the disk
    if source is not None and not _built(dataset, data_dir, takes):
        words = "frames" if frames else "flow images"
        logging.info("computing the %s of %s in %s", words, dataset, data_dir)
        with bar("frames" if frames else "flow_images") as on_progress:
            build(
                *(dataset, source, data_dir),
                frames=frames,
                follow_links=follow_links,
                on_progress=on_progress,
            )
    return data.load(dataset, data_dir, takes)


def stand_ins(data_dir: pathlib.Path) -> pathlib.Path:
    """Where the stand-in databases are rendered."""
    return data_dir / "synthetic" / "mini"


def _built(dataset, data_dir, takes):
    needed = data.data_set(takes)
    return all(folder(database, data_dir, needed).is_dir() for database in DATASETS[dataset])
