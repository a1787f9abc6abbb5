"""From frames on disk to TV-L1 flow images in TFDS shards."""

from flow.clips import CLASSES, Clip
from flow.errors import InputError

__all__ = ["CLASSES", "Clip", "InputError"]
