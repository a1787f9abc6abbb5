"""Sparse MDMO (Liu, Li, Lai, 2018): graph-regularised sparse coding of a clip's frames.

GraphSC (Zheng et al., "Graph regularized sparse coding for image representation", 2011) codes
N frames X [N, D] by a dictionary W [K, D] of words of at most unit length and codes S [N, K]:

    ½‖X − SW‖² + λ Σ|S| + α/2 tr(Sᵀ L S)

L is the Laplacian of a graph that joins similar frames, so that these get similar codes. Only
the abstract of Sparse MDMO could be read: it measures similarity by a distance that follows
how sparse the samples are around a frame. Here that is the distance of Zelnik-Manor and Perona
("Self-tuning spectral clustering", 2004), d²(i, j)/(σᵢσⱼ), with σ the distance to the k-th
neighbour. All numbers in :class:`GraphSC` are choices of this project.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Float32

from mjfn_jax.handcrafted import svm


@dataclasses.dataclass(frozen=True)
class GraphSC:
    """How the dictionary is learned and clips are coded."""

    words: int = 64
    """Words of the dictionary."""
    sparsities: tuple[float, ...] = (0.05, 0.15)
    """Candidates for λ, chosen in the training folds; frames have a mean squared length of 1."""
    smoothnesses: tuple[float, ...] = (0.1, 1.0)
    """Candidates for α, chosen in the training folds."""
    neighbours: int = 5
    """Neighbours to which a frame is joined."""
    frames: int = 8
    """Frames of a clip, at equal distances, from which the dictionary is learned."""
    rounds: int = 15
    """Rounds of learning: codes, then words."""
    steps: int = 20
    """Steps of FISTA on the codes in a round; a finished dictionary codes with twice as many."""
    seed: int = 0
    """Chooses the frames with which the dictionary begins."""


@dataclasses.dataclass(frozen=True, eq=False)
class Dictionary:
    """What a fold's training clips have taught."""

    words: Float32[np.ndarray, "K D"]
    scale: float
    """Root of the training frames' mean squared length: frames are divided by it."""
    sparsity: float
    smoothness: float


def encoder(
    clips: Sequence[Float[np.ndarray, "_ D"]],
    settings: GraphSC = GraphSC(),
) -> svm.Encode:
    """What turns clips into features of K words, for `svm.leave_one_subject_out`.

    From a fold's training clips it learns a dictionary for each pair of λ and α, without their
    labels. Every clip, whether in training or held out, is then coded by itself, with the graph
    of its own frames; its feature is each word's largest |code| over the frames. The machine's
    inner cross-validation chooses among the pairs.

    Args:
      clips: features of each clip's frames, `flow.features.sparse_mdmo.atomic_features`.

    Raises:
      ValueError: a clip without a frame.
    """
    if not all(map(len, clips)):
        raise ValueError("a clip without a frame has no code")
    frames = np.concatenate(clips).astype(np.float32)
    owner = np.repeat(np.arange(len(clips)), [len(clip) for clip in clips])
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    laplacian = scipy.sparse.block_diag(
        [graph(clip, settings.neighbours) for clip in clips], format="csr", dtype=np.float32
    )
    spaced = np.concatenate(
        [
            start + np.unique(np.linspace(0, len(clip) - 1, settings.frames).round().astype(int))
            for start, clip in zip(starts, clips, strict=True)
        ]
    )

    def encode(training: Bool[np.ndarray, " N"]) -> list[Float32[np.ndarray, "N K"]]:
        samples = frames[spaced[training[owner[spaced]]]]
        joined = graph(samples, settings.neighbours)
        variants = []
        for sparsity in settings.sparsities:
            for smoothness in settings.smoothnesses:
                dictionary = learn(samples, joined, sparsity, smoothness, settings)
                codes = code(frames, dictionary, laplacian, 2 * settings.steps)
                variants.append(np.maximum.reduceat(abs(codes), starts))
        return variants

    return encode


def graph(samples: Float[np.ndarray, "N D"], neighbours: int) -> scipy.sparse.csr_array:
    """The normalised Laplacian [N, N] of the graph that joins each sample to its neighbours.

    An edge weighs exp(−d²/(σᵢσⱼ)); it is there if one of its ends is among the nearest of the
    other. Eigenvalues lie between 0 and 2. A single sample has no edge and a Laplacian of 0.
    """
    count = len(samples)
    nearest = min(neighbours, count - 1)
    if nearest < 1:
        return scipy.sparse.csr_array((count, count), dtype=np.float32)
    samples = samples.astype(np.float64)
    squares = (samples**2).sum(1)
    distances = np.maximum(squares[:, None] + squares - 2 * samples @ samples.T, 0)
    np.fill_diagonal(distances, np.inf)
    ends = np.argpartition(distances, nearest - 1)[:, :nearest]
    lengths = np.take_along_axis(distances, ends, 1)
    sigma = np.sqrt(lengths.max(1))
    # Equal samples have σ = 0 and weigh 1.
    spread = np.maximum(sigma[:, None] * sigma[ends], np.finfo(float).tiny)
    weights = np.exp(-np.minimum(lengths / spread, 700))
    starts = np.repeat(np.arange(count), nearest)
    directed = scipy.sparse.csr_array((weights.ravel(), (starts, ends.ravel())), (count, count))
    joined = directed.maximum(directed.T)
    degree = 1 / np.sqrt(np.maximum(joined.sum(1), np.finfo(float).tiny))
    half = scipy.sparse.dia_array((degree[None], [0]), (count, count))
    return (scipy.sparse.eye_array(count) - half @ joined @ half).tocsr().astype(np.float32)


def learn(
    samples: Float32[np.ndarray, "N D"],
    laplacian: scipy.sparse.csr_array,
    sparsity: float,
    smoothness: float,
    settings: GraphSC = GraphSC(),
) -> Dictionary:
    """Learn a dictionary: codes and words in turn, beginning with random samples as words.

    Words are improved one after the other, each by the minimum of the first term and then cut
    to unit length; a word that no sample uses stays.
    """
    scale = float(np.sqrt((samples.astype(float) ** 2).sum(1).mean())) or 1.0
    random = np.random.default_rng(settings.seed)
    chosen = random.choice(len(samples), settings.words, replace=len(samples) < settings.words)
    words = samples[chosen] / np.float32(scale)
    words /= np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-6)
    codes = None
    for _ in range(settings.rounds):
        dictionary = Dictionary(words, scale, sparsity, smoothness)
        codes = code(samples, dictionary, laplacian, settings.steps, codes)
        usage, targets = codes.T @ codes, codes.T @ (samples / np.float32(scale))
        words = words.copy()
        for k in np.flatnonzero(np.diag(usage) > 1e-6):
            word = words[k] + (targets[k] - usage[k] @ words) / usage[k, k]
            words[k] = word / max(1.0, float(np.linalg.norm(word)))
    return Dictionary(words, scale, sparsity, smoothness)


def code(
    samples: Float32[np.ndarray, "N D"],
    dictionary: Dictionary,
    laplacian: scipy.sparse.csr_array,
    steps: int,
    start: Float32[np.ndarray, "N K"] | None = None,
) -> Float32[np.ndarray, "N K"]:
    """The codes of samples that a graph joins, by `steps` steps of FISTA.

    FISTA: Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm" (2009).
    """
    words = dictionary.words
    products = words @ words.T
    # The largest curvature; a normalised Laplacian's eigenvalues are 2 at most.
    step = np.float32(1 / (np.linalg.norm(products, 2) + 2 * dictionary.smoothness))
    smooth = step * np.float32(dictionary.smoothness) * laplacian
    towards = step * (samples / np.float32(dictionary.scale)) @ words.T
    pull = np.eye(len(words), dtype=np.float32) - step * products
    threshold = step * np.float32(dictionary.sparsity)
    codes = np.zeros_like(towards) if start is None else start
    ahead, momentum = codes, 1.0
    for _ in range(steps):
        moved = ahead @ pull - smooth @ ahead + towards
        new = moved - np.clip(moved, -threshold, threshold)
        faster = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + np.float32((momentum - 1) / faster) * (new - codes)
        codes, momentum = new, faster
    return codes
