"""Long videos of the databases in which expressions are spotted, from the owners' layouts.

They are no part of the data sets of `flow.catalogue`: nothing is trained on them.
"""

import logging
import pathlib

from flow.databases import casme_sq, contents, samm_lv
from flow.databases.coded import Reading
from flow.databases.folders import survey
from flow.errors import InputError

logger = logging.getLogger(__name__)

READERS = {"casme_sq": casme_sq.read, "samm_lv": samm_lv.read}
"""The databases by their short names."""


def read(database: str, source: pathlib.Path, follow_links: bool = False) -> Reading:
    """Read the long videos of a database from disk.

    Args:
      database: a key of `READERS`.
      source: the folder at most three levels above the owners' workbooks and folders, or one of
        these folders itself.
      follow_links: whether links may lead out of the source. If not, what they lead to is left
        out, with a note.

    Raises:
      InputError: another database, a missing or empty source, a database that is not below it, a
        workbook that cannot be read. One bad row is no error but a note.
    """
    if database not in READERS:
        raise InputError(f"{database}: no database of long videos; give {' or '.join(READERS)}")
    source = pathlib.Path(source)
    reading = READERS[database](source, survey(source, follow_links))
    kept, notes = contents.reachable(reading.videos, source, follow_links)
    reading = Reading(kept, (*reading.notes, *notes))
    logger.info("%s: %s", database, reading.summary())
    return reading
