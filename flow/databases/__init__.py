"""The databases of `flow.catalogue`, read from the layouts in which their owners give them.

`read` finds the owners' folders below the folder a user names and returns a `Clip` for each
micro-expression that has one of the three classes, with a `Note` for everything that was
repaired, left out or found odd.
"""

import logging
import pathlib

from flow.catalogue import DATABASES, DATASETS
from flow.databases.contents import looked_at
from flow.databases.folders import survey
from flow.databases.reading import NO_CLASS, Note, Reading, union

__all__ = ["NO_CLASS", "Note", "Reading", "read"]

logger = logging.getLogger(__name__)


def read(dataset: str, source: pathlib.Path, follow_links: bool = False) -> Reading:
    """Read a data set from disk.

    Args:
      dataset: a key of `flow.catalogue.DATASETS`.
      source: the folder at most three levels above the owners' workbooks and folders, or
        one of these folders itself.
      follow_links: whether links may lead out of the source. If not, what they lead to is left
        out, with a note.

    Raises:
      InputError: a missing or empty source, a database that is not below it, a workbook
        that cannot be read. One bad row is no error but a note.
    """
    source = pathlib.Path(source)
    found = survey(source, follow_links)
    reading = union(
        DATABASES[database].load_reader()(source, found) for database in DATASETS[dataset]
    )
    reading = looked_at(reading, source, follow_links)
    for line in reading.summary():
        logger.info("%s", line)
    return reading
