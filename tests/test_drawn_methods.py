"""The recogniser of drawn motion as a method, and the machines beside it, fold by fold."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.model_selection import GroupKFold
from sklearn.svm import SVC

import mjfn_jax
from flow.errors import InputError
from mjfn_jax import methods, train
from mjfn_jax.drawn import recogniser, weights
from mjfn_jax.drawn.mirror import mirrored
from mjfn_jax.drawn.mirror_svm import MirrorSvm, unit_flows
from mjfn_jax.handcrafted import svm
from mjfn_jax.handcrafted.svm import Machine
from mjfn_jax.scores import metrics

pytestmark = pytest.mark.usefixtures("drawn_weights", "quickly_compiled")

LABELS = np.arange(24) % 3
PEOPLE = np.repeat(["smic/s1", "smic/s2", "casme2/s1", "samm/6"], 6)
MASKS = [person == PEOPLE for person in dict.fromkeys(PEOPLE)]
FEW = Machine(costs=(1.0, 10.0), inner_folds=2)
SMALL = {
    "drawn": methods.METHODS["drawn"],
    "mirror-svm": MirrorSvm(gammas=(0.5, 2.0), machine=FEW),
    "drawn-kernel": methods.METHODS["drawn-kernel"].configured(
        gammas=(1.0,), feature_gammas=(1.0,), shares=(0.0, 0.5, 1.0)
    ),
}
"""The methods without epochs, with few choices."""


def faces(seed=0):
    """Noise with a step whose place is the class, on one side of the face."""
    flows = np.random.default_rng(seed).normal(0, 0.4, (24, 28, 28, 2)).astype(np.float32)
    for n, (flow, label) in enumerate(zip(flows, LABELS, strict=True)):
        side = slice(0, 14) if n % 2 else slice(14, 28)
        flow[9 * label : 9 * label + 9, side] += 1
    return flows


FACES = faces()


def decided(method, inputs=FACES, labels=LABELS, masks=MASKS):
    return [np.array(scores) for scores in method.decide(inputs, labels, PEOPLE, masks)]


@pytest.mark.parametrize("name", SMALL)
def test_a_fold_has_the_same_scores_alone_and_among_others(name):
    together = decided(SMALL[name])
    (alone,) = decided(SMALL[name], masks=MASKS[2:3])
    assert (alone == together[2]).all()
    assert [len(scores) for scores in together] == [6, 6, 6, 6]


@pytest.mark.parametrize("name", ["mirror-svm", "drawn-kernel"])
@pytest.mark.parametrize("poison", [np.nan, 1e6])
def test_with_the_held_out_clips_poisoned_the_same_machine_is_fitted(name, poison, monkeypatch):
    method, mask = SMALL[name], MASKS[1]
    fitted, fit = [], svm.fit_kernels

    def spy(*arguments):
        fitted.append(fit(*arguments))
        return fitted[-1]

    monkeypatch.setattr(svm, "fit_kernels", spy)
    poisoned, wrong = FACES.copy(), LABELS.copy()
    poisoned[mask] *= np.float32(poison)
    wrong[mask] = (LABELS[mask] + 1) % 3
    decided(method, masks=[mask])
    if np.isnan(poison):
        with pytest.raises(ValueError, match="NaN"):  # only where it is asked of them
            decided(method, poisoned, wrong, [mask])
    else:
        decided(method, poisoned, wrong, [mask])
    one, other = fitted
    assert one.choice == other.choice
    assert (one.svc.dual_coef_ == other.svc.dual_coef_).all()
    assert (one.svc.support_ == other.svc.support_).all()
    assert (one.svc.intercept_ == other.svc.intercept_).all()


def test_zero_shot_depends_neither_on_labels_nor_on_the_other_clips():
    method = SMALL["drawn"]
    clean = np.concatenate(decided(method))
    assert (np.concatenate(decided(method, labels=(LABELS + 1) % 3)) == clean).all()
    poisoned = FACES.copy()
    poisoned[MASKS[0]] = np.nan
    assert (np.concatenate(decided(method, poisoned)[1:]) == clean[6:]).all()
    np.testing.assert_allclose(clean.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(clean, recogniser.load()(FACES), rtol=1e-5)


def test_the_identity_holds_the_sha_256_of_the_weights(drawn_weights):
    digest = weights.read(drawn_weights)[1]["sha256"]
    assert methods.METHODS["drawn"].settings == {"placed": True, "weights": digest}
    assert methods.METHODS["drawn-kernel"].settings["weights"] == digest
    assert "weights" not in methods.METHODS["mirror-svm"].settings
    assert methods.METHODS["drawn-tuned"].start()[0] == digest
    with pytest.raises(InputError, match="no setting weights; its settings are placed"):
        methods.make("drawn", weights="other")


def test_a_mirrored_machine_is_scikit_learns_trained_and_asked_with_mirror_images():
    method = SMALL["mirror-svm"]
    flows = unit_flows(np.concatenate([FACES, mirrored(FACES)]))
    labels, people = np.tile(LABELS, 2), np.tile(PEOPLE, 2)
    for mask, scores in zip(MASKS, decided(method), strict=True):
        training = np.tile(~mask, 2)
        x, y, groups = flows[training], labels[training], people[training]
        found = []
        for gamma in method.gammas:
            for cost in FEW.costs:
                model = SVC(kernel="rbf", gamma=gamma, C=cost, class_weight="balanced", tol=1e-6)
                pooled = np.empty((len(y) // 2, 3))
                for inner, outer in GroupKFold(2).split(x, y, groups):
                    asked = model.fit(x[inner], y[inner]).decision_function(x[outer])
                    pooled[outer[: len(outer) // 2]] = sum(np.split(asked, 2))
                uf1 = metrics.scores(y[: len(pooled)], pooled.argmax(1)).uf1
                found.append((uf1, model))
        model = max(found, key=lambda each: each[0])[1].fit(x, y)
        both = np.split(model.decision_function(flows[np.tile(mask, 2)]), 2)
        assert (sum(both).argmax(1) == scores.argmax(1)).all()
        np.testing.assert_allclose(sum(both) / 2, scores, atol=2e-3)


def test_flows_have_unit_length_and_lose_median_and_strength():
    flows = unit_flows(FACES)
    np.testing.assert_allclose((flows**2).sum(1), 1)
    moved = 3 * FACES + np.array([2, -5], np.float32)
    np.testing.assert_allclose(unit_flows(moved), flows, atol=1e-6)
    assert (unit_flows(np.ones((1, 28, 28, 2), np.float32)) == 0).all()


def test_a_mirror_image_is_decided_as_its_clip():
    for name in SMALL:
        ask = SMALL[name].timed(FACES, LABELS, PEOPLE)
        np.testing.assert_allclose(ask(mirrored(FACES[3:4])), ask(FACES[3:4]), atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_kernel_alone_is_among_the_candidates_of_both(share):
    both = dataclasses.replace(SMALL["drawn-kernel"], shares=(share,), gammas=(2.0,), machine=FEW)
    if share == 0:
        alone = decided(MirrorSvm(gammas=(2.0,), machine=FEW))
        for ours, theirs in zip(decided(both), alone, strict=True):
            assert (ours == theirs).all()
    else:
        other = dataclasses.replace(both, gammas=(5.0,))
        for ours, theirs in zip(decided(both), decided(other), strict=True):
            assert (ours == theirs).all()
    assert {len(candidate) for candidate in both.candidates()} == {2}


@functools.cache
def tuned(poison=1.0, **settings):
    """Two folds before and after two epochs, the first one's held-out clips poisoned."""
    method, held_out = methods.make("drawn-tuned", **settings), np.stack(MASKS[:2])
    inputs = FACES.copy()
    inputs[MASKS[0]] *= np.float32(poison)
    runs = train.runs_of(np.arange(2), learning_rate=1e-3)
    steps = train.steps_per_epoch(held_out, 8)
    clips = train.Clips(jnp.asarray(inputs), jnp.asarray(LABELS), jnp.zeros(24, int))
    start = train.init(method, runs, method.start()[1])
    before, state = jax.device_get(start), start
    for epoch in range(2):
        state, _ = train.train_epoch(
            method, train.Recipe(2, 8), steps, state, runs, jnp.asarray(held_out), clips,
            jnp.asarray(epoch),
        )  # fmt: skip
    kernels = (each.params["params"]["fc"]["kernel"] for each in (before, jax.device_get(state)))
    return tuple(kernels)


def test_tuning_starts_from_the_first_network_and_is_pulled_back_to_it(drawn_weights):
    before, loose = tuned()
    first = weights.read(drawn_weights)[0]["params"]["fc"]["kernel"][0]
    assert (before == first).all()
    _, held = tuned(pull=0.5)
    assert 0 < np.abs(held - first).mean() < np.abs(loose - first).mean()


def test_tuning_does_not_see_the_held_out_clips():
    _, clean = tuned()
    _, after = tuned(np.nan)
    assert (clean[0] == after[0]).all()
    assert np.isnan(after[1]).any()  # the poison is seen where it trains


def test_a_tuned_network_that_was_not_tuned_is_the_published_first_one(drawn_weights):
    method = methods.METHODS["drawn-tuned"]
    variables, _ = weights.read(drawn_weights)
    one = recogniser.load(drawn_weights)
    alone = dataclasses.replace(one, variables=jax.tree.map(lambda leaf: leaf[:1], variables))
    given = jax.tree.map(jnp.asarray, method.start()[1])
    said = np.exp(train.log_probabilities(method, given, jnp.asarray(FACES)))
    np.testing.assert_allclose(said, alone.see(FACES).probabilities, rtol=1e-4)


def test_weights_of_other_layers_are_refused_in_one_line():
    with pytest.raises(InputError, match=r"tuned starts from the published weights.*leave the siz"):
        methods.make("drawn-tuned", features=8).start()


@pytest.mark.parametrize("name", [*SMALL, "drawn-tuned"])
def test_every_one_of_them_takes_arrays(name, tmp_path):
    databases, subjects = zip(*(person.split("/") for person in PEOPLE), strict=True)
    few = {"folds": "smic/s1,smic/s2"}  # of which the programs are compiled
    if name == "drawn-tuned":
        few |= {"epochs": 1, "batch_size": 8}
    settings = {"drawn-kernel": {"shares": (0.5,), "gammas": (1.0,)}}.get(name)
    predictions = mjfn_jax.leave_one_subject_out(
        name, FACES, LABELS, subjects, databases, out=tmp_path, settings=settings, **few
    )
    assert [p.label for p in predictions] == LABELS[:12].tolist()
    probable = [p.probabilities is not None for p in predictions]
    assert all(probable) if name in ("drawn", "drawn-tuned") else not any(probable)


def test_arrays_of_a_method_without_epochs_are_told_none():
    arguments = (FACES, LABELS, PEOPLE.tolist())
    for name, value in (("epochs", 3), ("seed", 1), ("precision", "bf16"), ("devices", 1)):
        with pytest.raises(InputError, match=f"^{name}: Drawn motion, zero-shot is not trained by"):
            mjfn_jax.leave_one_subject_out("drawn", *arguments, **{name: value})
    with pytest.raises(InputError, match="LBP-TOP takes features of frames, not arrays"):
        mjfn_jax.leave_one_subject_out("lbp-top", *arguments)
    with pytest.raises(InputError, match=r"takes float32 \[N, 28, 28, 2\], not float32"):
        mjfn_jax.leave_one_subject_out("drawn", FACES[..., :1], LABELS, PEOPLE.tolist())
