"""What is computed of a clip by hand: the settings of a feature say which one it is."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float32

from flow.features.regions import Regions
from flow.footage import Faces


class Feature:
    """A feature of a clip. Subclasses are frozen dataclasses of its settings."""

    whole: ClassVar[bool] = True
    """Whether it takes all frames from onset to offset, or onset and apex only."""
    takes_regions: ClassVar[bool] = False
    """Whether it looks at regions of the face, which landmarks place."""
    takes_flow: ClassVar[bool] = True
    """Whether it is computed of the flow, whose algorithm it then depends on."""

    def of(self, faces: Faces, regions: Regions | None) -> Float32[np.ndarray, "..."]:
        """The feature of a clip.

        Args:
          faces: the frames that it takes; the first is the onset.
          regions: of the onset, where it takes them.
        """
        raise NotImplementedError
