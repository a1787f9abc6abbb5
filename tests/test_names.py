import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow import InputError
from flow.disk.names import LONGEST, folder_name, part_names

# Half pairs too, which os.fsdecode gives for a name that is not UTF-8.
TEXTS = st.text(st.characters(), max_size=20)
AWKWARD = st.sampled_from(
    ["", ".", "..", "/", "a/b", "con", "CON", "nul", "com1", "%", "%5F", "_", "~", "\0", "\n", "A"]
)
PARTS = st.lists(TEXTS | AWKWARD, min_size=1, max_size=3).map(tuple)
TRIED = settings(max_examples=100)


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("casme2", "sub01"), "casme2_sub01"),
        (("samm", "006", "006-1-2"), "samm_006_006-1-2"),
        (("casme2", "sub01", "EP02_01f"), "casme2_sub01_%45%5002%5F01f"),
        (("a", ""), "a_%"),
        (("",), "%"),
        (("con",), "%63on"),
        (("con", "sub01"), "con_sub01"),
        (("..",), "%2E%2E"),
        (("é",), "%C3%A9"),
    ],
)
def test_names_are_as_documented(parts, name):
    assert folder_name(*parts) == name
    assert part_names(name) == parts


@TRIED
@given(PARTS)
def test_the_parts_come_back(parts):
    name = folder_name(*parts)
    if "~" not in name:
        assert part_names(name) == parts


@TRIED
@given(PARTS, PARTS)
def test_different_parts_never_share_a_name_though_case_is_ignored(one, other):
    assert (folder_name(*one).lower() == folder_name(*other).lower()) == (one == other)


@TRIED
@given(PARTS)
def test_a_name_is_one_plain_folder(parts):
    name = folder_name(*parts)
    assert name.isascii() and name.isprintable()
    assert 0 < len(name) <= LONGEST
    assert not set(name) & set('/\\:*?"<>|. \0\n')
    assert name.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}


@settings(max_examples=30)
@given(st.lists(TEXTS, min_size=1, max_size=2).map(tuple))
def test_the_file_system_takes_a_name(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("names")
    (folder / folder_name(*parts)).mkdir()
    assert os.listdir(folder) == [folder_name(*parts)]


@TRIED
@given(st.text("ab", min_size=LONGEST + 1, max_size=LONGEST + 5), TEXTS)
def test_long_names_are_cut_and_stay_different(long, text):
    name = folder_name(long)
    assert len(name) == LONGEST
    assert name != folder_name(long + "a")
    assert name != folder_name(text)
    # No short name is what a long one was cut to.
    assert folder_name(name) != name
    with pytest.raises(InputError, match="the name is cut"):
        part_names(name)


@pytest.mark.parametrize("name", ["", "A", "%61", "%5f", "%FF", "%4", "é", "a.b", "con", "a__b"])
def test_a_name_that_was_not_made_here_is_refused(name):
    with pytest.raises(InputError, match="not the name of a folder that was made here"):
        part_names(name)


def test_no_part_is_no_name():
    with pytest.raises(ValueError, match="one part or more"):
        folder_name()
