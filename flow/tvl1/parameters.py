"""What TV-L1 is told: OpenCV's parameters, and the border."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Parameters:
    """OpenCV's parameters of TV-L1, by its names and with its defaults, and `border`.

    Source: Zach, Pock, Bischof, "A duality based approach for realtime TV-L1 optical flow"
    (2007), as `cv2.optflow.DualTVL1OpticalFlow` computes it; its `gamma` stays 0.
    """

    tau: float = 0.25
    """Time step of the dual variables."""
    lambda_: float = 0.15
    """Weight of the brightness term: smaller gives a smoother flow."""
    theta: float = 0.3
    """Coupling of the flow with its auxiliary variable."""
    nscales: int = 5
    """Levels of the pyramid; a level with a side under 16 px is left out."""
    warps: int = 5
    """Warps of the second image per level."""
    epsilon: float = 0.01
    """Inner iterations stop at a mean squared change of the flow of `epsilon`², in px²."""
    inner_iterations: int = 30
    """Inner iterations per outer iteration, at most."""
    outer_iterations: int = 10
    """Outer iterations per warp, at most; each starts with the median filter."""
    scale_step: float = 0.8
    """Ratio of the sides of two neighbouring levels, between 0 and 1."""
    median_filtering: int = 5
    """Side of the median filter over the flow, in px: 5 or 3; 1 for none."""
    border: int = 2
    """Pixels by which the images are continued at each side (the last row or column
    repeated); the flow is cropped to the images' own size. OpenCV itself is `border=0`: its
    zeros outside the image give vectors of several px along the edge of still images. A wide
    border gives such vectors where the motion leads out of the image; 2 is the least that
    cures the first."""

    def __post_init__(self):
        for name in ("tau", "lambda_", "theta"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        for name in ("nscales", "warps", "inner_iterations", "outer_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be 1 or more")
        if not self.epsilon >= 0:
            raise ValueError(f"epsilon is {self.epsilon}: it must be 0 or more")
        if not 0 < self.scale_step < 1:
            raise ValueError(f"scale_step is {self.scale_step}: it must lie between 0 and 1")
        if self.median_filtering not in (1, 3, 5):
            raise ValueError(f"median_filtering is {self.median_filtering}: it must be 1, 3 or 5")
        if self.border < 0:
            raise ValueError(f"border is {self.border}: it must be 0 or more")
