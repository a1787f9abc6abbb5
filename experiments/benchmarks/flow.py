"""Speed and error of TV-L1: OpenCV, the JAX program, and the streaming presets.

    python -m experiments.benchmarks flow --quick --json=flow.json
    python -m experiments.benchmarks flow --plot=flow.png

Frames and true motion are stand-ins (`flow.synthetic`), resized to 224x224. One-core figures
come from a process that is held on one core, and count its processor time: other work on the
machine distorts them less. What the machine has besides (OpenCV's pool, all cores, a GPU) is
timed by the clock.

Two cores of an AMD EPYC (Zen 4), shared with other work all the while (load 4 to 5), --quick:
JAX 62 ms a pair, OpenCV 712 ms (11.5 times); at least 99.7 % of the pixels within 0.1 px of
OpenCV's; `balanced` 42 frames/s with 0.99 times the full run's error.
"""

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
import pathlib
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np

from flow.algorithms import algorithm
from flow.catalogue import DATABASES
from flow.cores import cores
from flow.synthetic.cast import cast
from flow.synthetic.motion import Disturbances, crop, play
from flow.tvl1 import PRESETS, Parameters, Stream, describe_backend, tvl1

SIDE = 224
PEERS = {"farneback": "Farnebäck", "dis": "DIS"}
FULL = Parameters()
BYTES, FLOPS = 64, 57
"""Of an inner iteration, per pixel: every plane is read or written once."""


@dataclasses.dataclass(frozen=True)
class Flow:
    """Speed and error of TV-L1 by OpenCV and by JAX, and of its streaming presets."""

    quick: bool = False
    """End within about two minutes on two cores."""
    json: pathlib.Path | None = None
    """Write the figures to this file too."""
    plot: pathlib.Path | None = None
    """Draw the curve of speed and error into this PNG file."""

    def run(self) -> dict:
        shots = stand_ins(2 if self.quick else 8)
        # A fresh process each: the number of cores is read when JAX starts.
        one, some = (functools.partial(_alone, cores=cores) for cores in (1, None))
        figures = {
            "made_by": [describe_backend("opencv"), describe_backend("jax")],
            "cores": cores(),
            "pairs_of_stand_ins": len(shots),
            **one(full_runs, shots),
            **one(iteration),
            "streams": some(streams, shots),
            "throughput": some(throughput, self.quick),
        }
        full, balanced = (figures["streams"][name] for name in ("reference", "balanced"))
        figures["stream_fps"] = balanced["fps"]
        figures["stream_error_ratio"] = balanced["error"] / full["error"]
        if self.plot is not None or not self.quick:
            figures["streams_one_core"] = one(streams, shots)
        if self.plot is not None:
            draw(figures["streams_one_core"], self.plot)
        return figures


@dataclasses.dataclass(frozen=True)
class Shot:
    """A stand-in clip with its true motion."""

    database: str
    frames: np.ndarray
    """UInt8 [T, 224, 224], the onset first."""
    apex: int
    truth: np.ndarray
    """Float32 [224, 224, 2], px, onset to apex."""


def stand_ins(per_database: int) -> list[Shot]:
    """The first clips of every database's first subjects."""
    shots, plans = [], cast("mini", 0, 1.0)
    for database in DATABASES:
        ours = [p for p in plans if p.database == database and p.label is not None]
        for plan in [ours[i] for i in np.linspace(0, len(ours) - 1, per_database).astype(int)]:
            take = play(plan, 0, Disturbances.of(1.0))
            frames = [crop(f, database) for f in take.frames]
            grey = [f if f.ndim == 2 else cv2.cvtColor(f, cv2.COLOR_BGR2GRAY) for f in frames]
            height, width = grey[0].shape
            scale = np.float32([SIDE / width, SIDE / height])
            shots.append(
                Shot(
                    database,
                    np.stack(
                        [cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in grey]
                    ),
                    plan.apex - plan.onset,
                    cv2.resize(take.flow, (SIDE, SIDE), interpolation=cv2.INTER_AREA) * scale,
                )
            )
    return shots


def _alone(work: Callable, *arguments, cores: int | None):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context, _hold, (cores,)) as pool:
        return pool.submit(work, *arguments).result()


def _hold(cores: int | None) -> None:
    if cores is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def distances(flow: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.linalg.norm(flow - other, axis=-1)


def full_runs(shots: list[Shot]) -> dict:
    """Both backends with OpenCV's defaults on the same pairs, turn by turn, and their flows."""
    seconds = {"opencv": [], "jax": []}
    rows = []
    tvl1(shots[0].frames[:1], shots[0].frames[1:2], FULL, "jax")  # compiles
    for shot in shots:
        onset, apex = shot.frames[:1], shot.frames[shot.apex : shot.apex + 1]
        flows = {}
        for backend in seconds:
            start = time.process_time()
            flows[backend] = tvl1(onset, apex, FULL, backend)[0]
            seconds[backend].append(time.process_time() - start)
        altered = onset.copy()
        altered[0, SIDE // 2, SIDE // 2] ^= 1
        control = tvl1(altered, apex, FULL, "opencv")[0]
        apart = distances(flows["jax"], flows["opencv"])
        rows.append(
            {
                "database": shot.database,
                "motion_px": float(np.linalg.norm(shot.truth, axis=-1).mean()),
                "within_0_1_px": float((apart <= 0.1).mean()),
                "control_within_0_1_px": float((distances(control, flows["opencv"]) <= 0.1).mean()),
                "apart_px": float(apart.mean()),
                "opencv_error_px": float(distances(flows["opencv"], shot.truth).mean()),
                "jax_error_px": float(distances(flows["jax"], shot.truth).mean()),
            }
        )
    medians = {backend: statistics.median(times) for backend, times in seconds.items()}
    return {
        "jax_over_opencv_one_core": medians["opencv"] / medians["jax"],
        "ms_a_pair_one_core": {backend: 1e3 * value for backend, value in medians.items()},
        "within_0_1_px": min(row["within_0_1_px"] for row in rows),
        "error_by_group": groups(rows),
        "pairs": rows,
    }


def groups(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Mean end-point errors by database, and by the size of the true motion."""
    middle = statistics.median(row["motion_px"] for row in rows)
    members = {name: [r for r in rows if r["database"] == name] for name in DATABASES}
    members["weaker half"] = [row for row in rows if row["motion_px"] <= middle]
    members["stronger half"] = [row for row in rows if row["motion_px"] > middle]
    return {
        name: {
            field: statistics.fmean(row[field] for row in mine)
            for field in ("motion_px", "opencv_error_px", "jax_error_px")
        }
        for name, mine in members.items()
        if mine
    }


def iteration() -> dict:
    """What a pixel costs in one inner iteration, and the share of the roofline that this is."""
    pair = np.random.default_rng(0).integers(0, 256, (2, 1, SIDE, SIDE), np.uint8)
    times = {}
    for count in (100, 500):
        parameters = Parameters(
            nscales=1, warps=1, epsilon=0.0, outer_iterations=1, inner_iterations=count, border=0
        )
        times[count] = _best(lambda p=parameters: tvl1(*pair, p, "jax"))
    nanoseconds = (times[500] - times[100]) / 400 / SIDE**2 * 1e9
    plane = np.ones(1 << 24, np.float32)
    copy = np.empty_like(plane)
    square = np.ones((1024, 1024), np.float32)
    bandwidth = 2 * plane.nbytes / _best(lambda: np.copyto(copy, plane)) / 1e9
    peak = 2 * 1024**3 / _best(lambda: square @ square) / 1e9
    return {
        "ns_a_pixel_iteration": nanoseconds,
        "of_memory_bandwidth": BYTES / nanoseconds / bandwidth,
        "of_peak_flops": FLOPS / nanoseconds / peak,
    }


def _best(work: Callable, times: int = 5) -> float:
    work()
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def streams(shots: list[Shot]) -> dict:
    """Frames a second, and the error at the apex, of the presets and of what OpenCV has else.

    The error counts the road to the apex: each flow starts from the one before. How far a flow
    is from the full run's is the mean over all frames of all clips.
    """
    methods = {name: functools.partial(Stream, preset=name, backend="jax") for name in PRESETS}
    for name in PEERS:
        methods[name] = functools.partial(functools.partial, algorithm(name).flow)
    out, full = {}, []
    for name, method in methods.items():
        errors, seconds, apexes, apart = [], [], [], []
        for number, shot in enumerate(shots):
            made = method(shot.frames[0])
            flow_to = made.flow if isinstance(made, Stream) else made
            if number == 0:
                flow_to(shot.frames[0])  # compiles
            flows = []
            for frame in shot.frames[1:]:
                start = time.perf_counter()
                flows.append(flow_to(frame))
                seconds.append(time.perf_counter() - start)
            errors.append(distances(flows[shot.apex - 1], shot.truth).mean())
            if name == "reference":
                full.append(flows)
            pairs = zip(flows, full[number], strict=True)
            apart.append(np.mean([distances(flow, other).mean() for flow, other in pairs]))
            apexes.append(1 + int(np.argmax([np.linalg.norm(f, axis=-1).mean() for f in flows])))
        out[name] = {
            "fps": 1 / statistics.median(seconds),
            "ms": 1e3 * statistics.median(seconds),
            "error": float(np.mean(errors)),
            "apart_from_reference": float(np.mean(apart)),
            "apexes": apexes,
        }
    reference = np.array(out["reference"]["apexes"])
    truth = np.array([shot.apex for shot in shots])
    for figures in out.values():
        found = np.array(figures.pop("apexes"))
        figures["apex_within_2_of_reference"] = float((abs(found - reference) <= 2).mean())
        figures["apex_within_2_of_truth"] = float((abs(found - truth) <= 2).mean())
    return out


def throughput(quick: bool) -> list[dict]:
    """Pairs a second by the clock: the backends, a plain OpenCV loop, and OpenCV in a pool."""
    rows = []
    for height, width in [(SIDE, SIDE)] if quick else [(SIDE, SIDE), (340, 280)]:
        for batch in (8,) if quick else (1, 8, 64, 442):
            pairs = moving_noise(batch, height, width)
            ways = {
                "jax": lambda p=pairs: tvl1(*p, FULL, "jax"),
                "opencv, loop": lambda p=pairs: [_plain(*pair) for pair in zip(*p, strict=True)],
                "opencv, pool": functools.partial(_pooled, *pairs),
            }
            tvl1(pairs[0][:1], pairs[1][:1], FULL, "jax")  # compiles
            for way, work in ways.items():
                if way != "jax" and batch > 64:  # as with 64
                    continue
                start = time.perf_counter()
                work()
                seconds = time.perf_counter() - start
                row = {"height": height, "width": width, "batch": batch, "way": way}
                rows.append(row | {"pairs_per_second": batch / seconds})
    return rows


def moving_noise(count: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of smoothed noise that moves by about a pixel, different in each."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    onsets, apexes = np.empty((2, count, height, width), np.uint8)
    for onset, apex in zip(onsets, apexes, strict=True):
        image = cv2.GaussianBlur(
            rng.normal(128, 400, (height, width)).astype(np.float32), (0, 0), 3
        )
        u, v = (
            15 * cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 20)
            for _ in range(2)
        )
        moved = cv2.remap(image, x - u, y - v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        for target, source in ((onset, image), (apex, moved)):
            target[:] = np.clip(source + rng.normal(0, 1, source.shape), 0, 255)
    return onsets, apexes


def _plain(onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
    return cv2.optflow.DualTVL1OpticalFlow_create().calc(onset, apex, None)


def _pooled(onsets: np.ndarray, apexes: np.ndarray) -> list[np.ndarray]:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(cores(), context) as pool:
        return list(pool.map(_plain, onsets, apexes))


def draw(streams: dict, path: pathlib.Path) -> None:
    """The curve of speed and error."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, figures in streams.items():
        own = name in PRESETS
        axes.plot(figures["ms"], figures["error"], "o" if own else "s", color="C0" if own else "C1")
        label = name if own else PEERS[name]
        axes.annotate(label, (figures["ms"], figures["error"]), (6, 6), textcoords="offset points")
    axes.set(xlabel="ms a frame of 224×224 on one core", ylabel="end-point error, px")
    axes.set_title("Flow from the onset to the apex, frame after frame", fontsize="medium")
    slowest = max(figures["ms"] for figures in streams.values())
    worst = max(figures["error"] for figures in streams.values())
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlim=(2, 2 * slowest), ylim=(0, 1.2 * worst))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
