"""TV-L1 by OpenCV: the reference."""

import concurrent.futures
import os

import cv2
import numpy as np

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
    """As :func:`flow.tvl1.tvl1`; one pair a thread, as many threads as cores."""
    border = ((0, 0), *2 * ((parameters.border, parameters.border),))
    if onsets.dtype == np.float32:  # OpenCV multiplies float images by 255
        onsets, apexes = onsets / np.float32(255), apexes / np.float32(255)
    onsets, apexes = np.pad(onsets, border, "edge"), np.pad(apexes, border, "edge")
    height, width = onsets.shape[1:]
    inner = (
        slice(parameters.border, height - parameters.border),
        slice(parameters.border, width - parameters.border),
    )

    def one(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        # A new object each time: it keeps the number of levels that a small image left it.
        return _solver(parameters).calc(*pair, None)[inner]

    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return np.stack(list(pool.map(one, zip(onsets, apexes, strict=True))))


def _solver(parameters: Parameters):
    return cv2.optflow.DualTVL1OpticalFlow_create(
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
    )
