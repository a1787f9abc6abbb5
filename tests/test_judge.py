"""What tells an expression from everything else: learnt, written down, and used."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.svm import SVC

from flow.errors import InputError
from flow.spotting import __main__ as command
from flow.spotting import judge, learn
from flow.spotting.candidates import PATTERN, SIGNS, Candidate, Settings
from flow.spotting.events import _Open, likeliest, until_certain
from flow.spotting.learn import Example, Film
from flow.spotting.moments import Moment
from flow.spotting.regions import REGIONS
from flow.synthetic.long import Event

MICRO, MACRO = Settings().scales
FILMS = [Film(seed, group, learn._USUAL) for seed in range(9) for group in ("usual", "moving")]


def candidate(onset, apex, offset, kind="micro", signs=None):
    signs = np.zeros(len(SIGNS)) if signs is None else signs
    frames = (round(30 * time) for time in (onset, apex, offset))
    return Candidate(kind, *frames, onset, apex, offset, 0.5, "chin", False, signs)


def event(onset, apex, offset, kind="micro"):
    frames = (round(30 * time) for time in (onset, apex, offset))
    return Event(kind, *frames, (onset, apex, offset), "12", 1, "", 0.5, False)


def test_what_was_learnt_speaks_of_every_sign():
    record = json.loads(judge.LEARNT.read_bytes())
    for kind, learnt in judge.JUDGES.items():
        for name in ("means", "spreads"):
            assert tuple(record["judges"][kind][name]) == SIGNS
        assert learnt.examples.shape == (len(learnt.weights), len(SIGNS))
        assert 0 < learnt.threshold < 1
    np.testing.assert_allclose(np.linalg.norm(judge.DRAWN, axis=1), 1, atol=0.01)
    assert judge.DRAWN.shape == (learn.CLIPS, 2 * len(REGIONS))
    assert not np.median(judge.DRAWN.reshape(-1, len(REGIONS), 2), axis=1).round(2).any()


def test_a_judge_says_what_scikit_learn_says():
    draw = np.random.default_rng(0)
    signs = draw.normal(2, 3, (80, len(SIGNS)))
    right = signs[:, 0] + draw.normal(0, 1, 80) > 2
    made = learn._fit(signs, right)
    spreads = signs.std(0) + 1e-9
    spreads[PATTERN] /= learn.LOOKS
    peer = SVC(C=learn.COST, gamma=learn.GAMMA).fit((signs - signs.mean(0)) / spreads, right)
    wanted = peer.decision_function((signs - signs.mean(0)) / spreads)
    said = np.array([made.evidence(each) for each in signs])
    within = said > -judge.NEVER
    assert within[right].all() and not within.all()
    np.testing.assert_allclose(said[within], wanted[within], atol=1e-9)
    assert made.probability(signs[right][0]) == pytest.approx(1 / (1 + np.exp(-wanted[right][0])))


def test_what_is_like_no_expression_is_none():
    signs = np.random.default_rng(0).normal(size=(80, len(SIGNS)))
    learnt = learn._fit(signs, signs[:, 0] > 0)
    for name in SIGNS:
        for far, ways in ((-20.0, learn.MORE), (20.0, learn.LESS)):
            probability = learnt.probability(np.where(np.array(SIGNS) == name, far, 0.0))
            assert (probability < 1e-8) == (name in ways)


spans = st.tuples(st.floats(0, 3), st.floats(0.1, 0.5), st.floats(0, 1))


@given(st.lists(spans, max_size=12))
def test_of_those_that_overlap_the_likeliest_is_one(made):
    found = [(p, candidate(start, start + long / 2, start + long)) for start, long, p in made]
    chosen = likeliest(found)
    for _, each in chosen:
        for other_p, other in found:
            apart = each.onset_time >= other.offset_time or other.onset_time >= each.offset_time
            rival = (other_p, other) in chosen and other is not each
            assert apart or not rival
    for p, each in found:  # nothing is left out without a likelier one that overlaps it
        assert (p, each) in chosen or any(
            other_p >= p and each.onset_time < other.offset_time
            and other.onset_time < each.offset_time
            for other_p, other in chosen
        )  # fmt: skip


@given(st.lists(spans, min_size=2, max_size=6), st.floats(0.02, 0.2))
def test_events_one_by_one_are_those_of_all_candidates_together(made, step):
    found = sorted(
        (candidate(start, start + long / 2, start + long) for start, long, _ in made),
        key=lambda each: each.apex_time,
    )
    probability = {id(each): p for each, (_, _, p) in zip(found, made, strict=True)}
    waiting = _Open(MICRO, 1e9)
    waiting._judge = type("Judge", (), {"threshold": 0.3})()
    waiting._judge.probability = lambda signs: probability[
        id(next(e for e in found if e.signs is signs))
    ]
    events, known = [], 0.0
    rest = list(found)
    while known < 5:
        while rest and rest[0].apex_time < known:
            waiting.take(rest.pop(0))
        events += waiting.settled(known, known)
        known += step
    likely = [(probability[id(e)], e) for e in found if probability[id(e)] >= 0.3]
    wanted = [(e.onset_time, e.offset_time) for _, e in likeliest(likely)]
    assert sorted((e.onset_time, e.offset_time) for e in events) == sorted(wanted)


def test_an_event_that_cannot_wait_is_decided():
    waiting = _Open(MICRO, until_certain(MICRO, Settings()))
    one = np.ones(1)
    waiting._judge = judge.Judge(one, one, np.zeros((1, 1)), 0 * one, 5.0, 1.0, 0.5, -one, one)
    waiting.take(candidate(1.0, 1.2, 1.4, signs=np.zeros(1)))
    assert waiting.settled(1.3, 2.0) == []
    (told,) = waiting.settled(1.3, 1.0 + until_certain(MICRO, Settings()))
    assert (told.onset_time, told.score) == (1.0, pytest.approx(0.9933, abs=1e-4))


# Learning


def test_a_candidate_is_right_if_it_overlaps_an_expression_of_its_kind_by_half():
    times = np.arange(450) / 30
    motion = np.zeros((len(times), len(REGIONS), 2))
    up = np.clip(np.minimum((times - 9) / 0.2, (9.4 - times) / 0.2), 0, 1)
    motion[:, :6, 1] -= 0.6 * up[:, None]
    motion += np.random.default_rng(0).normal(0, 0.01, motion.shape)
    seen = [Moment(n, float(t), motion[n], 2.0, np.zeros(6)) for n, t in enumerate(times)]
    true = [event(2.0, 2.2, 2.4), event(9.0, 9.2, 9.4), event(9.0, 9.2, 9.4, "macro")]
    found = learn.examples(FILMS[0], seen, true, judge.DRAWN)
    right = [each for each in found if each.true is not None]
    assert [each.true for each in right] == [true[1]]
    assert len(found) > 2


def examples(draw):
    """Candidates of which the right ones have a higher first sign."""
    out = []
    for film in FILMS:
        for n in range(8):
            right = n < 3
            signs = draw.normal(size=len(SIGNS))
            signs[0] += 4 * right
            at = 3.0 * n + 1
            true = event(at, at + 0.2, at + 0.4) if right else None
            out.append(Example(film, candidate(at, at + 0.2, at + 0.4, signs=signs), true))
    return out


def of(record):
    """A learnt judge, of any signs."""
    means, spreads = (np.array(list(record[name].values())) for name in ("means", "spreads"))
    arrays = (np.array(record[name]) for name in ("examples", "weights"))
    numbers = (record[name] for name in ("bias", "gamma", "threshold"))
    return judge.Judge(means, spreads, *arrays, *numbers, means - np.inf, means + np.inf)


def test_a_judge_learns_which_sign_tells():
    found = examples(np.random.default_rng(0))
    record = learn.judge(found, FILMS, {film: 3 for film in FILMS})
    learnt = of(record)
    step = {name: np.eye(len(SIGNS))[n] for n, name in enumerate(SIGNS)}
    middle = learnt.means
    moved = {
        name: abs(learnt.evidence(middle + step[name]) - learnt.evidence(middle)) for name in SIGNS
    }
    assert moved.pop(SIGNS[0]) > 2 * max(moved.values())
    assert record["unseen"]["usual"]["f1"] > 0.9 < record["unseen"]["moving"]["f1"]
    assert record["unseen"]["usual"]["false_a_minute"] <= learn.FALSE


def test_what_is_said_to_be_probable_is_as_often_right():
    found = examples(np.random.default_rng(0))
    other = examples(np.random.default_rng(1))
    learnt = of(learn.judge(found, FILMS, {film: 3 for film in FILMS}))
    said = np.array([learnt.probability(each.candidate.signs) for each in other])
    right = np.array([each.true is not None for each in other])
    assert said.mean() == pytest.approx(right.mean(), abs=0.05)
    assert ((said - right) ** 2).mean() < 0.08  # .23 of one who says .375 of all


def test_too_few_to_learn_from_are_said():
    few = examples(np.random.default_rng(0))[:4]
    with pytest.raises(InputError, match="3 right candidates of 4: render more films"):
        learn.judge(few, FILMS, {film: 3 for film in FILMS})


def test_the_command_writes_what_is_read(tmp_path, monkeypatch, capsys):
    made = examples(np.random.default_rng(0))
    made += [
        dataclasses.replace(each, candidate=dataclasses.replace(each.candidate, kind="macro"))
        for each in made
    ]

    def watch(film, drawn):
        mine = [each for each in made if each.film == film]
        true = [
            event(*np.array([0.0, 0.2, 0.4]) + 3 * n + 1, kind)
            for n in range(3)
            for kind in ("micro", "macro")
        ]
        return mine, true

    monkeypatch.setattr(learn, "FILMS", tuple(FILMS))
    monkeypatch.setattr(learn, "drawn_motion", lambda films: judge.DRAWN)
    monkeypatch.setattr(learn, "watch", watch)
    out = tmp_path / "learnt.json"
    assert command.Learn(out).run() == 0
    assert "micro, on films that were not learnt from: {'usual'" in capsys.readouterr().err
    monkeypatch.setattr(judge, "LEARNT", out)
    judges, drawn = judge._read()
    signs = judges["macro"].means.copy()
    signs[0] += 3
    assert judges["macro"].probability(signs) > 0.9
    np.testing.assert_array_equal(drawn, judge.DRAWN)
