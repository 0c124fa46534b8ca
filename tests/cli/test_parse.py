"""The rules of the command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restframe.cli.flags import FLAGS, Status
from restframe.cli.parse import parse
from restframe.errors import SettingsError

DEFAULTS = parse([]).values
NEUTRAL = [
    *("-Serial 0", "-OutStack 0", "-OutStack 0,4", "-Align 1", "-Mag 1 1 0", "-Mag 1.0", "-Mag 1,1,30", "-Crop 0,0"),
    *("-InFmMotion 0", "-EerSampling 1", "-FmIntFile", "-InSuffix .tif", "-InSkips x,y", "-CorrInterp 0", "-OutStar 0"),
]


@pytest.mark.parametrize("spelling", ["-kV", "-Kv", "-KV", "-kv"])
def test_any_case(spelling):
    assert parse([spelling, "200"]).values["-kV"] == (200.0,)


@pytest.mark.parametrize("words", [["7", "5"], ["7 5"], ["7,5"], ["7,", "5"], ["7 , 5"], [" 7\t5 "], ["7.0", "5"]])
def test_spellings_of_a_list(words):
    assert parse(["-Patch", *words]).values["-Patch"] == (7, 5, 0)


@pytest.mark.parametrize("words", [["500", "150"], ["500 150"], ["500,150"], ["5e2", "1.5E+2"], ["+500.", "150"]])
def test_lists_of_floats_in_one_argument_are_split_too(words):
    assert parse(["-Bft", *words]).values["-Bft"] == (500.0, 150.0)


def test_values_end_at_a_dash_and_a_letter_only():
    options = parse(["-FmRef", "-1", "-InitDose", ".5", "-Gpu", "0,1", "2", "--threads", "3"])
    assert options.integer("-FmRef") == -1
    assert options.number("-InitDose") == 0.5
    assert options.integers("-Gpu") == (0, 1, 2)
    assert options.integer("--threads") == 3
    assert options.notes == ()


def test_the_first_of_a_repeated_flag_counts():
    options = parse(["-Bft", "150", "-Patch", "1", "1", "-bft", "500", "100", "-patch", "5", "5"])
    assert options.values["-Bft"] == (150.0, 100.0)
    assert options.values["-Patch"] == (1, 1, 0)
    assert len(options.notes) == 2 and all("more than once" in note for note in options.notes)


@pytest.mark.parametrize("words", [["-Gain", "-Gpu", "0"], ["-Gpu", "0", "-Gain"], ["-Gain", "", "-Gpu", "0"]])
def test_a_flag_without_a_value_counts_as_not_given(words):
    options = parse(words)
    assert options.text("-Gain") == "" and options.given == {"-Gpu"}
    assert [note for note in options.notes if "-Gain" in note]


@pytest.mark.parametrize(
    ("words", "record", "find_defects"),
    [
        ([], 0, 1),
        (["--record", "--find-defects", "0"], 1, 0),
        (["--find-defects", "--record", "1"], 1, 1),
        (["--RECORD", "-Gain", "g.mrc"], 1, 1),
        (["--record", "0"], 0, 1),
    ],
)
def test_a_switch_without_a_value_means_one(words, record, find_defects):
    options = parse(words)
    assert (options.integer("--record"), options.integer("--find-defects")) == (record, find_defects)
    assert options.notes == ()


@pytest.mark.parametrize("word", ["3px", "5..0", "nan", "infinity", "1e999", "0x10", "1_0", "٣", "-"])
def test_what_is_no_number_is_an_error_that_names_the_flag(word):
    with pytest.raises(SettingsError, match=r"-FtBin .*number"):
        parse(["-FtBin", word])


def test_integers_may_be_written_with_a_point_but_not_with_a_fraction():
    assert parse(["-Iter", "300.0"]).values["-Iter"] == (300,)
    with pytest.raises(SettingsError, match=r"-Iter 7\.5: expected an integer"):
        parse(["-Iter", "7.5"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-FtBin", "0.5"], "-FtBin 0.5: expected a number, 1 or more"),
        (["-Throw", "-1"], "-Throw -1: expected an integer, 0 or more"),
        (["-RotGain", "4"], "-RotGain 4: expected an integer, 0 to 3"),
        (["--weights", "none"], "--weights none: expected one of data, bfactor"),
    ],
)
def test_values_out_of_bounds(words, message):
    with pytest.raises(SettingsError) as caught:
        parse(words)
    assert message in str(caught.value)


def test_unknown_flags_are_reported_and_left_out():
    options = parse(["-PixlSize", "0.5", "-Foo", "--bar", "3", "-Iter", "7"])
    assert options.given == {"-Iter"}
    assert options.notes[0] == "Warning: unknown flag -PixlSize is left out. Was -PixSize meant?"
    assert [n.split()[3] for n in options.notes] == ["-PixlSize", "-Foo", "--bar"]


def test_words_too_many_are_reported():
    options = parse(["stray", "-InTiff", "my", "movie.tif", "-Tol", "0.5", "0.6"])
    assert options.text("-InTiff") == "my" and options.number("-Tol") == 0.5
    assert ["stray" in options.notes[0], "'movie.tif'" in options.notes[1], "'0.6'" in options.notes[2]] == [True] * 3


def test_dashes_of_typeset_commands_are_dashes():
    assert parse(["–FmRef", "2", "−Iter", "3"]).given == {"-FmRef", "-Iter"}


@pytest.mark.parametrize("flag", [f for f in FLAGS if f.status is Status.INERT], ids=lambda f: f.name)
@pytest.mark.parametrize("words", [["0"], ["a", "b"], ["1.000 1.000"]])
def test_inert_flags_take_anything_and_say_so(flag, words):
    options = parse([flag.name, *words])
    assert options.notes == (f"Note: {flag.name} has no effect in restframe.",)


@pytest.mark.parametrize("line", NEUTRAL)
def test_neutral_values_are_taken(line):
    parse(line.split())


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1))
def test_file_names_come_through_as_they_are(name):
    path = f"./{name}"
    assert parse(["-InMrc", path, "-OutMrc", "a, b.mrc"]).text("-InMrc") == path


WORDS = ["-Patch", "-gain", "-Gpu", "--threads", "-Foo", "-1", "5 5", "a,b", "", "-", "--", ","]


@given(st.lists(st.sampled_from(WORDS)))
def test_no_command_line_breaks_the_parser(words):
    try:
        options = parse(words)
    except SettingsError:
        return
    assert options.values.keys() == DEFAULTS.keys()
    assert all(len(options.values[f.name]) == f.arity for f in FLAGS if f.arity)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("-FmDose 1,25", "-FmDose 1.25."),
        ("-PixSize 0,885", "-PixSize 0.885."),
        ("-PixSize ,885", "-PixSize .885."),
        ("-PixSize 1,", None),
        ("-Mag 1,015 0,998 34,2", "-Mag 1.015 0.998 34.2."),
        ("-Mag 1,015 34", "-Mag 1.015 34."),
        ("-Mag 1.015,0.998,34.2", None),
        ("-kV 300,0", "-kV 300.0."),
        ("-FtBin 1,5", "-FtBin 1.5."),
        ("-Tol 0,5 -Iter 7", "-Tol 0.5."),
        ("-InitDose 12,345", "-InitDose 12.345."),
        ("-SumRange 3,5 25", "-SumRange 3.5 25."),
        ("-SumRange 3,25", None),
        ("-SumRange 3,05", "-SumRange 3.05."),
        ("-Bft 500,150", None),
        ("-Bft 500,0,150,0", "-Bft 500.0.150.0."),
        ("-GpuMemUsage 0,5", "-GpuMemUsage 0.5."),
        ("-Iter 1,000", "-Iter 1.000."),
        ("-Patch 7,5,20", None),
        ("-Gpu 0,1,2,3", None),
        ("-Group 1,4", None),
    ],
)
def test_a_comma_is_no_decimal_point(line, shown):
    if shown is None:
        parse(line.split())
        return
    with pytest.raises(SettingsError) as caught:
        parse(line.split())
    assert str(caught.value).endswith(f"Write decimal points: {shown}")


def test_a_comma_in_one_argument_of_several_values():
    with pytest.raises(SettingsError, match=r"Write decimal points: -Mag 1\.015 0\.998 34\.2\."):
        parse(["-Mag", "1,015 0,998 34,2"])
