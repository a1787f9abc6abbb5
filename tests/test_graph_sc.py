import hypothesis
import numpy as np
import pytest
import scipy.sparse
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from mjfn_jax.handcrafted import graph_sc, svm
from mjfn_jax.handcrafted.graph_sc import Dictionary, GraphSC, code, encoder, graph, learn

TINY = GraphSC(
    words=5, sparsities=(0.1,), smoothnesses=(0.2,), neighbours=2, frames=3, rounds=3, steps=10
)


def _samples(count=20, seed=0, dimensions=7):
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


def _dictionary(sparsity=0.2, smoothness=0.0, words=5, dimensions=7):
    made = _samples(words, 9, dimensions)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return Dictionary(made, 1.5, sparsity, smoothness)


def _slow_graph(samples, neighbours):
    count = len(samples)
    distances = [[np.linalg.norm(a - b) for b in samples.astype(float)] for a in samples]
    distances = np.array(distances)
    weights = np.zeros((count, count))
    order = [[j for j in np.argsort(distances[i]) if j != i][:neighbours] for i in range(count)]
    sigma = [distances[i][order[i][-1]] for i in range(count)]
    for i in range(count):
        for j in range(count):
            if j in order[i] or i in order[j]:
                weights[i, j] = np.exp(-(distances[i, j] ** 2) / (sigma[i] * sigma[j]))
    degrees = weights.sum(1)
    return np.eye(count) - weights / np.sqrt(np.outer(degrees, degrees))


def test_the_graph_is_that_of_a_loop():
    samples = _samples()
    np.testing.assert_allclose(graph(samples, 3).toarray(), _slow_graph(samples, 3), atol=1e-5)


@hypothesis.given(st.integers(0, 99), st.integers(2, 12), st.integers(1, 5), st.integers(-9, 9))
def test_the_laplacian_is_symmetric_between_0_and_2_and_knows_no_scale(
    seed, count, neighbours, power
):
    samples = _samples(count, seed)
    laplacian = graph(samples, neighbours).toarray()
    np.testing.assert_allclose(laplacian, laplacian.T, atol=1e-6)
    values = np.linalg.eigvalsh(laplacian)
    assert values.min() > -1e-5 and values.max() < 2 + 1e-5
    scaled = graph(samples * np.float32(2.0**power), neighbours).toarray()
    np.testing.assert_allclose(scaled, laplacian, atol=1e-5)


def test_equal_samples_are_joined_and_a_single_one_is_alone():
    laplacian = graph(np.zeros((4, 3), np.float32), 2).toarray()
    assert np.isfinite(laplacian).all()
    assert (np.diag(laplacian) == 1).all() and (laplacian.min(1) < -0.3).all()
    assert (graph(_samples(1), 5).toarray() == 0).all()


def test_without_a_graph_the_codes_are_those_of_the_lasso():
    samples, dictionary = _samples(6), _dictionary()
    alone = scipy.sparse.csr_array((6, 6), dtype=np.float32)
    codes = code(samples, dictionary, alone, 500)
    for sample, found in zip(samples, codes, strict=True):
        lasso = Lasso(alpha=0.2 / 7, fit_intercept=False, tol=1e-10, max_iter=100000)
        lasso.fit(dictionary.words.T.astype(float), sample.astype(float) / 1.5)
        np.testing.assert_allclose(found, lasso.coef_, atol=1e-4)


def test_with_a_graph_the_codes_fulfil_the_conditions_of_the_minimum():
    samples, dictionary = _samples(12), _dictionary(0.1, 0.7)
    laplacian = graph(samples, 3)
    codes = code(samples, dictionary, laplacian, 1000)
    slope = (codes @ dictionary.words - samples / 1.5) @ dictionary.words.T
    slope = slope + 0.7 * (laplacian @ codes)
    used = codes != 0
    assert used.any() and not used.all()
    np.testing.assert_allclose(slope[used], -0.1 * np.sign(codes[used]), atol=1e-3)
    assert np.abs(slope[~used]).max() <= 0.1 + 1e-3


def _objective(samples, codes, dictionary, laplacian):
    rest = samples / dictionary.scale - codes @ dictionary.words
    smooth = (codes * (laplacian @ codes)).sum()
    return (
        (rest**2).sum() / 2
        + dictionary.sparsity * np.abs(codes).sum()
        + dictionary.smoothness / 2 * smooth
    )


def test_learning_lowers_the_objective_with_words_of_at_most_unit_length():
    samples = _samples(60)
    laplacian = graph(samples, 3)
    values = []
    for rounds in (0, 1, 5, 20):
        settings = GraphSC(words=10, rounds=rounds, steps=40)
        dictionary = learn(samples, laplacian, 0.1, 0.2, settings)
        assert np.linalg.norm(dictionary.words, axis=1).max() < 1 + 1e-5
        codes = code(samples, dictionary, laplacian, 300)
        values.append(_objective(samples, codes, dictionary, laplacian))
    assert values[0] > values[1] > values[2] > values[3]
    assert values[3] < 0.9 * values[0]


def test_a_round_fits_each_word_to_what_the_others_leave():
    samples = _samples(30)
    laplacian = graph(samples, 3)
    before, after = (
        learn(samples, laplacian, 0.1, 0.2, GraphSC(words=6, rounds=rounds)) for rounds in (0, 1)
    )
    codes = code(samples, before, laplacian, GraphSC().steps).astype(float)
    words = before.words.astype(float)
    for k in range(6):
        others = [j for j in range(6) if j != k]
        left = samples / before.scale - codes[:, others] @ words[others]
        (words[k],) = np.linalg.lstsq(codes[:, [k]], left, rcond=None)[0]
        words[k] /= max(1, np.linalg.norm(words[k]))
    np.testing.assert_allclose(after.words, words, atol=1e-5)


def test_more_words_than_samples_and_still_samples_can_be_learned():
    samples = np.concatenate([_samples(3), np.zeros((2, 7), np.float32)])
    words = learn(samples, graph(samples, 2), 0.1, 0.2, GraphSC(words=9)).words
    assert words.shape == (9, 7) and np.isfinite(words).all()
    nothing = np.zeros((4, 7), np.float32)
    assert (learn(nothing, graph(nothing, 2), 0.1, 0.2, TINY).words == 0).all()


def _clips(seed=0):
    """Frames of 12 clips of 4 subjects, and one clip of a single frame."""
    rng = np.random.default_rng(seed)
    labels = np.arange(12) % 3
    clips = []
    for k, label in enumerate(labels):
        frames = rng.normal(size=(1 if k == 5 else 4 + k % 3, 7)).astype(np.float32) / 4
        frames[:, label] += 2
        clips.append(frames)
    return clips, labels, np.repeat(["a", "b", "c", "d"], 3)


def test_a_clip_is_coded_alone_and_pooled_by_its_largest_codes():
    clips, _, subjects = _clips()
    training = subjects != "b"
    (pooled,) = encoder(clips, TINY)(training)
    samples = []
    for clip in np.array(clips, object)[training]:
        samples.append(clip[np.unique(np.linspace(0, len(clip) - 1, 3).round().astype(int))])
    samples = np.concatenate(samples).astype(np.float32)
    dictionary = learn(samples, graph(samples, 2), 0.1, 0.2, TINY)
    for clip, found in zip(clips, pooled, strict=True):
        codes = code(clip, dictionary, graph(clip, 2), 20)
        np.testing.assert_allclose(found, np.abs(codes).max(0), atol=1e-5)


def test_clips_that_move_apart_are_predicted():
    clips, labels, subjects = _clips()
    machine = svm.Svm(costs=(10.0,), kernels=("linear",), inner_folds=3)
    settings = GraphSC(words=6, sparsities=(0.05, 0.2), smoothnesses=(0.1,), neighbours=2)
    encode = encoder(clips, settings)
    held_out = [subjects == person for person in np.unique(subjects)]
    folds = svm.fit_folds(encode, labels, subjects, held_out, machine)
    for mask, (choice, decisions) in zip(held_out, folds, strict=True):
        assert (decisions.argmax(1) == labels[mask]).all()
        assert choice.variant in (0, 1)


def test_with_the_held_out_subject_poisoned_the_same_dictionary_is_learned(monkeypatch):
    clips, _, subjects = _clips()
    learned = []

    def spy(samples, *rest):
        learned.append(learn(samples, *rest))
        return learned[-1]

    monkeypatch.setattr(graph_sc, "learn", spy)
    training = subjects != "c"
    (clean,) = encoder(clips, TINY)(training)
    poisoned = [
        clip if trains else clip * 1e3 + 7 for clip, trains in zip(clips, training, strict=True)
    ]
    (after,) = encoder(poisoned, TINY)(training)
    assert (learned[0].words == learned[1].words).all() and learned[0].scale == learned[1].scale
    np.testing.assert_allclose(clean[training], after[training], atol=1e-6)
    assert (clean[~training] != after[~training]).any()


def test_a_clip_without_frames_is_refused():
    with pytest.raises(ValueError, match="without a frame"):
        encoder([_samples(3), _samples(0)], TINY)
