"""Even light: what a lamp or a camera's exposure changes is taken out of a face.

TV-L1 holds that a point keeps its grey level, so that 12 levels more over a still face pass for
3 px of motion. Each pixel is therefore compared with what surrounds it: its distance from the
local mean, by the local contrast. Gain, offset and their gradients cancel, those of a curved
exposure nearly.
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

SIGMA = 8.0
"""Of the Gaussian window, px of a face of 224."""

LEAST_CONTRAST = 8.0
"""Grey levels below which contrast is taken for noise, and is not raised."""

CONTRAST = 20.0
"""Grey levels that the local standard deviation becomes."""

SETTINGS = {"light": {"sigma": SIGMA, "least_contrast": LEAST_CONTRAST, "contrast": CONTRAST}}
"""For the record of a data set."""


def even(
    image: UInt8[np.ndarray, "H W"] | Float32[np.ndarray, "H W"],
) -> Float32[np.ndarray, "H W"]:
    """A grey image under even light, 0 to 255, 128 where nothing stands out.

    d · `CONTRAST` / √(s² + `LEAST_CONTRAST`²) + 128, where d is the distance of a pixel from the
    mean of a Gaussian window about it, and s² the mean of d² in the same window: local contrast
    normalisation (Jarrett et al., "What is the best multi-stage architecture for object
    recognition?", 2009).

    Args:
      image: grey levels 0 to 255.

    >>> image = np.add.outer(np.arange(0, 64), np.arange(0, 128, 2)).astype(np.float32)
    >>> bool(np.abs(even(image + 12) - even(image)).max() < 0.01)
    True
    """
    image = image.astype(np.float32)
    mean = _window(image)
    image = image - mean
    # About the local mean: squares of whole grey levels would lose digits.
    variance = _window(image * image)
    scaled = image * (CONTRAST / np.sqrt(variance + np.float32(LEAST_CONTRAST**2))) + 128
    return np.clip(scaled, 0, 255, dtype=np.float32)


def _window(image: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    return cv2.GaussianBlur(image, (0, 0), SIGMA, borderType=cv2.BORDER_REPLICATE)
