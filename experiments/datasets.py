"""Makes sure that a dataset's flow images are on disk before an experiment opens them."""

import logging
import pathlib
from typing import Literal

from flow.build import build
from flow.databases import DATASETS
from flow.shards import folder
from flow.synthetic import render
from mjfn_jax import data

Dataset = Literal["synthetic", "smic", "casme2", "samm", "3db"]


def load(
    dataset: Dataset, data_dir: pathlib.Path, source: pathlib.Path | None, takes: str = "image"
) -> data.FlowImages:
    """The flow images of a dataset; what is missing of it is made first.

    Args:
      dataset: `synthetic` is a small 3DB of stand-ins, rendered below `data_dir`.
      data_dir: where flow images are, or are written.
      source: the folder below which the databases stand; None if they need not be read.
      takes: what of each clip, see `mjfn_jax.data.load`.

    Raises:
      InputError: flow images are missing and there is no source to build them from.
    """
    if dataset == "synthetic":
        data_dir = data_dir / "synthetic"
        source = data_dir / "mini"
        dataset = "3db"
        if not _built(dataset, data_dir):
            logging.info("rendering the stand-in databases in %s", source)
            render(source, size="mini", seed=0)
    if source is not None and not _built(dataset, data_dir):
        logging.info("computing the flow images of %s in %s", dataset, data_dir)
        build(dataset, source, data_dir)
    return data.load(dataset, data_dir, takes)


def _built(dataset, data_dir):
    return all(folder(database, data_dir).is_dir() for database in DATASETS[dataset])
