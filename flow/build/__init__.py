"""From frames on disk to TFDS shards: flow images (the flow from onset to apex and its colour), or
where they are asked for the frames round the apex."""

from flow.build.build import Build, build

__all__ = ["Build", "build"]
