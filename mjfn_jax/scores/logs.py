"""Prediction logs in the format of MEGC 2019.

A line `casme2 sub01` opens a fold: the database and the subject held out. Each following
line is one clip: its name, the ground truth and the prediction, as in `EP02_01f 1 0`. Labels
are 0 negative, 1 positive, 2 surprise.

A name stands as it is, but for what a line could not hold: white space, `%` and characters that
do not print are percent-encoded (RFC 3986, of UTF-8), as in `EP01%20_2`. So is the whole of a
name that would read as another: a subject `1` of a database that is not one of the paper's, whose
line would read as a clip without its prediction, becomes `%31`. Reading decodes.
"""

import collections
import dataclasses
import io
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flow.catalogue import DATABASES
from flow.clips import CLASSES
from flow.disk import given, kept
from flow.errors import InputError

_LABELS = {str(label): label for label in range(len(CLASSES))}
_FOLDS, _CLIPS = 10_000, 200_000
"""Bounds of a log that is read: subjects are resampled 2000 times."""
_LIMIT = 16 * 2**20  # bytes; the log of the whole 3DB has 7 kB


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What was predicted for one clip while its subject was held out."""

    database: str
    """Its short name, one of `flow.catalogue.DATABASES`."""
    subject: str
    clip: str
    label: int
    """Ground truth, an index into `flow.CLASSES`."""
    prediction: int
    """Index into `flow.CLASSES`."""
    probabilities: tuple[float, ...] | None = None
    """One for each class, in the order of `flow.CLASSES`; None if read from a log."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the clip: database, subject, name."""
        return self.database, self.subject, self.clip

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Prediction":
        """A prediction that `dataclasses.asdict` and JSON made a record of."""
        probabilities = record["probabilities"]
        return cls(**{**record, "probabilities": probabilities and tuple(probabilities)})


def write_log(path: str | os.PathLike[str], predictions: Iterable[Prediction]) -> None:
    """Write predictions to `path`, folds and clips in the order they come in.

    The clips of one subject need not be neighbours: each subject becomes one fold. The file
    appears whole or not at all.

    Raises:
      ValueError: if a name is empty, a clip comes twice or a label is not 0, 1 or 2: the log
        could not be read back.
    """
    folds = collections.defaultdict(dict)
    for record in predictions:
        if not all(record.key):
            raise ValueError(f"database, subject and clip have a name each, got {record.key}")
        for label in (record.label, record.prediction):
            if label not in range(len(CLASSES)):
                raise ValueError(f"{record.clip!r}: a label is 0, 1 or 2, got {label!r}")
        fold = folds[record.database, record.subject]
        if record.clip in fold:
            raise ValueError(f"clip {record.clip!r} of {record.subject!r} comes twice; keep one")
        fold[record.clip] = f"{int(record.label)} {int(record.prediction)}"
    lines = []
    for (database, subject), clips in folds.items():
        opening = [_encoded(database), _encoded(subject)]
        if _database(opening[0]) != database:  # `SMIC`, which is read as `smic`
            opening[0] = _encoded(database, whole=True)
        if not _opens_fold(opening):
            opening[1] = _encoded(subject, whole=True)
        lines.append(" ".join(opening))
        lines += [f"{_encoded(clip)} {labels}" for clip, labels in clips.items()]
    kept.write(path, "".join(line + "\n" for line in lines))


def read_log(path: str | os.PathLike[str]) -> list[Prediction]:
    """Read a log, in its own order.

    Blank lines, tabs, further spaces and line ends of any system are accepted. The names of the
    paper's databases come back in lower case.

    Raises:
      InputError: if the file cannot be read, has no clip or too many, or has a line that is
        neither a fold nor a clip; if a fold has no clip or a clip comes twice. It names file and
        line.
    """
    predictions: list[Prediction] = []
    folds: set[tuple[str, str]] = set()
    seen: dict[tuple[str, str, str], int] = {}
    fold, opened, empty = None, 0, False
    for number, line in enumerate(io.StringIO(_read_text(path), newline=None), start=1):
        words = line.split()
        where = f"{path}, line {number}"
        if not words:
            continue
        if _opens_fold(words):
            if empty:
                raise _no_clips(path, opened, fold)
            fold = _database(words[0]), _decoded(words[1])
            opened, empty = number, True
            folds.add(fold)
        elif len(words) == 3:
            if fold is None:
                raise InputError(
                    f"{where}: {_quote(line)} stands before the first fold; "
                    "put a line like 'casme2 sub01' above it"
                )
            clip, labels = _decoded(words[0]), words[1:]
            if not set(labels) <= _LABELS.keys():
                raise InputError(
                    f"{where}: expected 'clip ground_truth prediction' with labels "
                    f"0 negative, 1 positive, 2 surprise; got {_quote(line)}"
                )
            if (first := seen.setdefault((*fold, clip), number)) != number:
                raise InputError(
                    f"{where}: clip {_quote(clip)} of {_quote(' '.join(fold))} is already on "
                    f"line {first}; keep one of the two"
                )
            predictions.append(Prediction(*fold, clip, *(_LABELS[label] for label in labels)))
            empty = False
            if len(folds) > _FOLDS or len(predictions) > _CLIPS:
                raise InputError(
                    f"{where}: more than {_FOLDS} folds or {_CLIPS} clips: split the log"
                )
        else:
            raise InputError(
                f"{where}: expected 'database subject' or 'clip ground_truth prediction', "
                f"got {_quote(line)}"
            )
    if empty:
        raise _no_clips(path, opened, fold)
    if not predictions:
        raise InputError(f"{path}: no prediction in it; give a log in the MEGC 2019 format")
    return predictions


def _opens_fold(words):
    """Whether a line is `casme2 sub01`. `EP02_01f 1` is not: it is a clip that was cut short."""
    return len(words) == 2 and (words[0].lower() in DATABASES or words[1] not in _LABELS)


def _database(word):
    return word.lower() if word.lower() in DATABASES else _decoded(word)


def _encoded(name, whole=False):
    """A name as one word; with `whole`, no character of it stands as it is."""
    return "".join(
        # Undecodable bytes of a file's name are lone surrogates in Python.
        "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
        if whole or character in " %" or not character.isprintable()
        else character
        for character in name
    )


def _decoded(word):
    """The name of a word. What is no percent-encoding of UTF-8 stays as it is."""
    return re.sub(r"(?:%[0-9A-Fa-f]{2})+", _characters, word)


def _characters(escapes):
    try:
        return bytes.fromhex(escapes[0].replace("%", "")).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return escapes[0]


def _read_text(path):
    try:
        given.check(path, 2**40, "give the path of a log file")  # which is not a pipe
        with open(path, "rb") as file:
            content = file.read(_LIMIT + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: {reason}; give the path of a log file") from None
    if len(content) > _LIMIT:
        raise InputError(f"{path}: larger than {_LIMIT // 2**20} MiB, so not a prediction log")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 text (byte {error.start}); save the log as UTF-8"
        ) from None


def _no_clips(path, number, fold):
    return InputError(
        f"{path}, line {number}: fold {_quote(' '.join(fold))} has no clip; "
        "add its predictions or remove the line"
    )


def _quote(text):
    """`text` for a message: short, and with control characters made visible."""
    text = text.strip()
    return ascii(text if len(text) <= 60 else text[:57] + "...")
