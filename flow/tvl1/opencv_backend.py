"""TV-L1 by OpenCV: the reference."""

import cv2
import numpy as np

from flow.cores import pool
from flow.tvl1.parameters import Parameters


def version() -> str:
    """OpenCV's version, processor features and IPP: its flow depends on all three."""
    names = (
        cv2.getCPUFeaturesLine().split()
    )  # "*": used where the processor has it; "?": it has not
    features = "+".join(name.lstrip("*") for name in names if name[0] != "?")
    ipp = "ipp" if cv2.ipp.useIPP() else "no ipp"
    return f"opencv {cv2.__version__} ({features}; {ipp})"


def flows(onsets: np.ndarray, apexes: np.ndarray, parameters: Parameters) -> np.ndarray:
    """As :func:`flow.tvl1.tvl1`: one pair a core."""

    def one(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return flow(*pair, None, parameters)

    with pool() as threads:
        return np.stack(list(threads.map(one, zip(onsets, apexes, strict=True))))


def flow(
    onset: np.ndarray, apex: np.ndarray, start: np.ndarray | None, parameters: Parameters
) -> np.ndarray:
    """The flow of one pair, [H, W, 2], from another flow or from nothing."""
    images = [_extend(image, parameters.border) for image in (onset, apex)]
    if onset.dtype == np.float32:  # which OpenCV multiplies by 255
        images = [image / np.float32(255) for image in images]
    # A new object each time: it keeps the number of levels that a small image left it.
    solver = cv2.optflow.DualTVL1OpticalFlow_create(
        tau=parameters.tau,
        lambda_=parameters.lambda_,
        theta=parameters.theta,
        nscales=parameters.nscales,
        warps=parameters.warps,
        epsilon=parameters.epsilon,
        innnerIterations=parameters.inner_iterations,  # OpenCV's spelling
        outerIterations=parameters.outer_iterations,
        scaleStep=parameters.scale_step,
        medianFiltering=parameters.median_filtering,
        useInitialFlow=start is not None,
    )
    if start is not None:
        start = _extend(start, parameters.border)  # a copy: OpenCV writes into it
    height, width = onset.shape
    inner = slice(parameters.border, None)
    return solver.calc(*images, start)[inner, inner][:height, :width]


def _extend(image: np.ndarray, by: int) -> np.ndarray:
    return np.pad(image, ((by, by), (by, by), (0, 0))[: image.ndim], "edge")
