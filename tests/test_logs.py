"""Prediction logs: what is written comes back, what is wrong is named."""

import pathlib
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.errors import InputError
from mjfn_jax.scores.logs import Prediction, read_log, write_log

FOLD = st.tuples(
    st.sampled_from(["smic", "casme2", "samm", "mmew"]),
    st.from_regex(r"[sS][0-9]{2}", fullmatch=True),
)
CLIP = st.from_regex(r"[A-Za-z0-9_]{1,12}", fullmatch=True)
LABELS = st.tuples(st.integers(0, 2), st.integers(0, 2))
LOG = """casme2 sub01
EP02_01f 1 0
EP19_05f 0 0
samm 6
006_1_2 2 2
"""


def read(tmp_path, text):
    path = tmp_path / "predictions.log"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_log(path)


ANY = st.text(st.characters(exclude_categories=()), min_size=1, max_size=8) | st.sampled_from(
    ["1", "2", "pooled", "SMIC", "Casme2", "EP01 _2", "%31", "50%", "\ufeffsmic", "a\u2028b", " "]
)
"""Any name, also with lone surrogates, which stand for undecodable bytes of a file's name."""


@pytest.mark.parametrize(("fold", "clip"), [(FOLD, CLIP), (st.tuples(ANY, ANY), ANY)])
def test_a_log_comes_back_as_it_was_written(fold, clip):
    folds = st.dictionaries(fold, st.dictionaries(clip, LABELS, min_size=1), min_size=1)

    @given(folds)
    @settings(max_examples=60)
    def comes_back(folds):
        predictions = [
            Prediction(*fold, clip, *labels)
            for fold, clips in folds.items()
            for clip, labels in clips.items()
        ]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "predictions.log"
            write_log(path, predictions)
            assert read_log(path) == predictions

    comes_back()


@given(st.tuples(ANY, ANY, ANY))
def test_a_line_of_a_log_has_no_white_space_but_between_its_words(names):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "predictions.log"
        write_log(path, [Prediction(*names, 0, 1)])
        opening, clip, nothing = path.read_text(encoding="utf-8").split("\n")
    assert (len(opening.split()), len(clip.split()), nothing) == (2, 3, "")
    assert opening.isprintable() and clip.isprintable()


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        (("casme2", "sub01", "EP02_01f"), "casme2 sub01\nEP02_01f 0 1\n"),
        (("samm", "6", "006_1_2"), "samm 6\n006_1_2 0 1\n"),
        (("mmew", "S1", "überrascht-1.2+"), "mmew S1\nüberrascht-1.2+ 0 1\n"),
        (("casme2", "sub01", "EP01 _2"), "casme2 sub01\nEP01%20_2 0 1\n"),
        (("mmew", "1", "50%"), "mmew %31\n50%25 0 1\n"),
        (("SMIC", "1", "a\tb"), "%53%4D%49%43 %31\na%09b 0 1\n"),
    ],
)
def test_ordinary_names_stand_in_a_log_as_they_are(tmp_path, names, lines):
    path = tmp_path / "predictions.log"
    write_log(path, [Prediction(*names, 0, 1)])
    assert path.read_text(encoding="utf-8") == lines


def test_a_percent_sign_of_a_foreign_log_that_encodes_nothing_stays(tmp_path):
    (found,) = read(tmp_path, "samm 100%\n5%_%zz_%FF 0 1\n")
    assert (found.subject, found.clip) == ("100%", "5%_%zz_%FF")


def test_the_file_has_the_layout_of_the_challenge(tmp_path):
    path = tmp_path / "predictions.log"
    write_log(
        path,
        [
            Prediction("casme2", "sub01", "EP02_01f", 1, 0, (0.5, 0.3, 0.2)),
            Prediction("samm", "6", "006_1_2", 2, 2),
            Prediction("casme2", "sub01", "EP19_05f", 0, 0),
        ],
    )
    assert path.read_bytes().decode() == LOG
    assert [entry.name for entry in tmp_path.iterdir()] == ["predictions.log"]


def test_layout_details_do_not_matter(tmp_path):
    plain = read(tmp_path, LOG)
    untidy = "\ufeff\n" + LOG.replace("casme2", " CASME2\t ").replace(" 0", "\t0 ")
    assert read(tmp_path, untidy) == plain
    assert read(tmp_path, LOG.replace("\n", "\r\n\r\n")) == plain
    assert read(tmp_path, LOG.replace("\n", "\r").rstrip()) == plain


def test_equal_clip_names_of_two_subjects_are_two_clips(tmp_path):
    assert len(read(tmp_path, "casme2 sub01\nEP02_01f 1 0\ncasme2 sub09\nEP02_01f 1 1\n")) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no prediction in it"),
        (" \n\n", "no prediction in it"),
        ("EP02_01f 1 0\n", "line 1: 'EP02_01f 1 0' stands before the first fold"),
        ("casme2 sub01\n\nEP02_01f 1 3\n", "line 3: .*labels 0 negative.* got 'EP02_01f 1 3'"),
        ("casme2 sub01\nEP02_01f 1 1.0\n", "line 2: .*got 'EP02_01f 1 1.0'"),
        ("casme2 sub01\nEP02_01f \u0661 1\n", "line 2: expected"),
        ("casme2 sub01\nEP02_01f 1 1\nEP02_02f 1\n", "line 3: expected .* got 'EP02_02f 1'"),
        ("casme2 sub01\nEP02_01f\n", "line 2: expected"),
        ("casme2 sub01\nEP02_01f 1 1 0.9\n", "line 2: expected"),
        ("casme2 sub01\nsmic s01\na 1 1\n", "line 1: fold 'casme2 sub01' has no clip"),
        ("smic s01\na 1 1\ncasme2 sub01\n", "line 3: fold 'casme2 sub01' has no clip"),
        ("smic s01\na 1 1\nb 0 1\na 1 1\n", "line 4: clip 'a' of 'smic s01' is already on line 2"),
        ("smic s01\na 1 1\nSMIC s01\na 1 0\n", "line 4: clip 'a' .* line 2"),
        ("smic s01\na_b 1 1\na%5Fb 1 0\n", "line 3: clip 'a_b' .* line 2"),
        ("smic s01\n\x1b[31mred\x00 1\n", r"line 2: .*\\x1b\[31mred\\x00"),
        ("smic s01\n" + "x" * 1000 + "\n", r"line 2: .{,150}$"),
        ("smic s01\na 1 1\n".encode("utf-16"), "not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n", "not UTF-8 text"),
        (b" " * (16 * 2**20 + 1), "larger than 16 MiB"),
    ],
)
def test_an_error_in_a_log_is_one_line_that_names_it(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "predictions.log"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.log", "No such file"), (".", "Is a directory"), ("a\0b", "null")],
)
def test_a_log_that_cannot_be_opened_is_named(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        read_log(tmp_path / name)


@pytest.mark.parametrize(
    "prediction",
    [
        Prediction("", "s01", "a", 0, 0),
        Prediction("smic", "", "a", 0, 0),
        Prediction("smic", "s01", "", 0, 0),
        Prediction("smic", "s01", "a", 0, 3),
        Prediction("smic", "s01", "a", -1, 0),
    ],
)
def test_nothing_is_written_that_could_not_be_read_back(tmp_path, prediction):
    path = tmp_path / "predictions.log"
    with pytest.raises(ValueError, match=r"have a name each|0, 1 or 2"):
        write_log(path, [prediction])
    with pytest.raises(ValueError, match="'a' of 's01' comes twice"):
        write_log(path, [Prediction("smic", "s01", "a", 0, 0)] * 2)
    assert not path.exists()


def test_a_numbered_subject_of_a_known_database_opens_a_fold(tmp_path):
    assert read(tmp_path, "samm 1\n001_1_1 0 0\n")[0].subject == "1"


def test_a_log_of_more_folds_than_can_be_resampled_is_one_line(tmp_path):
    with pytest.raises(InputError, match="line 20002: more than 10000 folds or 200000 clips"):
        read(tmp_path, "".join(f"smic s{number}\nc 0 0\n" for number in range(10_001)))
