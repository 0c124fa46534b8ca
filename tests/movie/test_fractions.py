import numpy as np
import pytest

from restframe.errors import InputError, SettingsError
from restframe.movie import make_fractions
from restframe.movie.integration import divide_frames, fit_rows_to_movie, read_rows
from restframe.settings import Exposure, Row


def test_what_is_thrown_away_counts_as_dose():
    used = make_fractions(10, Exposure(frame_dose=1.5, initial_dose=4.0, throw=2, trunc=3))
    assert used.frames == tuple(range(i, i + 1) for i in range(2, 7)) and not used.are_sums
    np.testing.assert_allclose(used.dose, 1.5)
    np.testing.assert_allclose(used.accumulated, [8.5, 10.0, 11.5, 13.0, 14.5])


def test_every_frame_by_default():
    used = make_fractions(3, Exposure())
    assert [*map(list, used.frames)] == [[0], [1], [2]] and used.notes == ()
    np.testing.assert_array_equal(used.accumulated, 0)


def test_one_frame_may_be_left():
    assert make_fractions(5, Exposure(throw=2, trunc=2)).frames == (range(2, 3),)


@pytest.mark.parametrize(("throw", "trunc"), [(5, 0), (0, 5), (3, 2), (9, 9)])
def test_no_frame_left(throw, trunc):
    with pytest.raises(SettingsError, match=f"throw={throw} and trunc={trunc} leave none of the movie's 5 frames"):
        make_fractions(5, Exposure(throw=throw, trunc=trunc))


@pytest.mark.parametrize("name", ["throw", "trunc", "frame_dose", "initial_dose"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_impossible_values(name, value):
    with pytest.raises(SettingsError, match=rf"^{name}=.*: expected an? \w+, 0 or more"):
        make_fractions(5, Exposure(**{name: value}))


@pytest.mark.parametrize(
    "text",
    [
        "120 3 0.1\n447 7 0.1\n",
        "120\t3\t0.1\n447\t7\t0.1",  # no newline at the end
        "\n  120   3   1e-1  \r\n\r\n 447 7 0.1\n\n\n  \n",
        "# frames, to one, dose\n120 3 0.1 # early\n447 7 .1\n#end",
        "\ufeff120.0 3 0.1\n447 7.0 0.1",
    ],
)
def test_integration_files(tmp_path, text):
    (tmp_path / "i.txt").write_bytes(text.encode())
    assert read_rows(tmp_path / "i.txt") == (Row(120, 3, 0.1), Row(447, 7, 0.1))


def test_two_columns_and_a_dose_of_zero(tmp_path):
    (tmp_path / "i.txt").write_text("20 2\n30 3 0\n40 4 0.5\n")
    rows = read_rows(str(tmp_path / "i.txt"))
    assert rows == (Row(20, 2, 0), Row(30, 3, 0), Row(40, 4, 0.5))
    used = make_fractions(90, Exposure(integration=tmp_path / "i.txt", frame_dose=0.25))
    np.testing.assert_allclose(used.dose, [0.5] * 10 + [0.75] * 10 + [2] * 10)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("20\n", "line 1: '20'"),
        ("20 2\n\n3 4 5 6\n", "line 3: '3 4 5 6'"),
        ("20 two\n", "line 1: '20 two'"),
        ("0 2\n", "count frames"),
        ("20 0 1\n", "count frames"),
        ("20 1.5 1\n", "count frames"),
        ("20 1 -1\n", "line 1"),
        ("20 1 nan\n", "line 1"),
        ("inf 1 1\n", "line 1"),
        ("", "no rows"),
        ("# only\n\n", "no rows"),
    ],
)
def test_wrong_integration_files(tmp_path, text, found):
    (tmp_path / "i.txt").write_text(text)
    with pytest.raises(SettingsError, match=found) as error:
        read_rows(tmp_path / "i.txt")
    assert "i.txt" in str(error.value) and "expected: number of raw frames" in str(error.value)


def test_an_integration_file_that_is_not_there(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(InputError, match=f"integration='{path}' cannot be read"):
            read_rows(path)


def test_the_manuals_eer_example():
    """Section 14: 567 raw frames, 40 fractions and 63."""
    used = make_fractions(567, Exposure(integration=(Row(120, 3, 0.1), Row(447, 7, 0.1))))
    sizes = [len(raw) for raw in used.frames]
    assert sizes == [3] * 40 + [7] * 57 + [8] * 6
    np.testing.assert_allclose(used.dose, 0.1 * np.array(sizes))
    np.testing.assert_allclose(used.accumulated, 0.1 * np.cumsum(sizes))
    assert used.notes == ("Fractions: 103, each the sum of 3 to 8 of the 567 raw frames used.",)


def test_the_manuals_exposures_of_different_length():
    """Section 9.2."""
    used = make_fractions(140, Exposure(integration=(Row(20, 1, 0.15), Row(40, 1, 0.3), Row(80, 1, 0.45))))
    assert len(used.frames) == 140 and not used.are_sums
    np.testing.assert_allclose(used.dose, [0.15] * 20 + [0.3] * 40 + [0.45] * 80)
    np.testing.assert_allclose(used.accumulated[[0, 19, 20, 59, 139]], [0.15, 3, 3.3, 15, 51])


def test_thrown_frames_are_raw_and_their_dose_counts():
    rows = (Row(6, 2, 0.1), Row(12, 3, 0.2), Row(4, 4, 0.5))
    used = make_fractions(22, Exposure(integration=rows, throw=3, trunc=5, initial_dose=7))
    assert used.frames == (range(3, 6), range(6, 9), range(9, 13), range(13, 17))
    np.testing.assert_allclose(used.dose, [0.3, 0.6, 0.8, 0.8])
    np.testing.assert_allclose(used.accumulated, [7.6, 8.2, 9.0, 9.8])
    assert make_fractions(22, Exposure(integration=rows, throw=21)).frames == (range(21, 22),)


@pytest.mark.parametrize("seed", range(30))
def test_every_frames_dose_however_rows_and_frames_agree(seed):
    """Against a frame by frame account."""
    rng = np.random.default_rng(seed)
    rows = tuple(Row(int(rng.integers(1, 30)), int(rng.integers(1, 9)), float(rng.uniform(0.1, 1))) for _ in range(4))
    n_raw, throw, trunc = int(rng.integers(10, 90)), int(rng.integers(0, 5)), int(rng.integers(0, 5))
    used = make_fractions(n_raw, Exposure(integration=rows, throw=throw, trunc=trunc, initial_dose=2))
    each = np.concatenate([[row.dose] * row.frames for row in rows] + [[rows[-1].dose] * n_raw])[:n_raw]
    assert [i for raw in used.frames for i in raw] == list(range(throw, n_raw - trunc))
    np.testing.assert_allclose(used.dose, [each[raw.start : raw.stop].sum() for raw in used.frames])
    np.testing.assert_allclose(used.accumulated, [2 + each[: raw.stop].sum() for raw in used.frames])


def test_rows_that_hold_more_or_fewer_frames_than_the_movie():
    rows = (Row(10, 1), Row(20, 2), Row(30, 3))
    assert fit_rows_to_movie(rows, 60) == rows
    assert fit_rows_to_movie(rows, 45) == (Row(10, 1), Row(20, 2), Row(15, 3))
    assert fit_rows_to_movie(rows, 30) == rows[:2]
    assert fit_rows_to_movie(rows, 7) == (Row(7, 1),)
    assert fit_rows_to_movie(rows, 64) == (*rows[:2], Row(34, 3))
    assert fit_rows_to_movie((Row(10**15, 4),), 8) == (Row(8, 4),)
    assert (
        "lists 60 raw frames, the movie has 45; rows are cut" in make_fractions(45, Exposure(integration=rows)).notes[0]
    )
    assert (
        "lists 60 raw frames, the movie has 64; its last row" in make_fractions(64, Exposure(integration=rows)).notes[0]
    )


@pytest.mark.parametrize("n", [1, 2, 5, 24, 25, 447])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 100])
def test_what_is_left_over_goes_to_the_last(n, size):
    parts = divide_frames(range(5, 5 + n), size)
    sizes = [len(part) for part in parts]
    assert [i for part in parts for i in part] == list(range(5, 5 + n))
    assert len(parts) == max(1, n // size)
    assert sizes == sorted(sizes) and sizes[-1] - sizes[0] <= 1


def test_event_movies_are_divided_without_being_asked():
    used = make_fractions(1000, Exposure(), events=True)
    assert {len(raw) for raw in used.frames} == {25} and len(used.frames) == 40
    assert "Fractions: 40, each the sum of 25" in used.notes[0]
    assert len(make_fractions(1000, Exposure(frame_dose=0.06), events=True).frames) == 62  # of about 1 e/A²
    assert len(make_fractions(300, Exposure(frame_dose=0.01), events=True).frames) == 10
    assert len(make_fractions(1000, Exposure(frame_dose=1), events=True).frames) == 100
    assert len(make_fractions(7, Exposure(), events=True).frames) == 7
    assert len(make_fractions(1000, Exposure(integration=(Row(1000, 500),)), events=True).frames) == 2


def test_a_dose_for_some_frames_only_is_said():
    used = make_fractions(20, Exposure(integration=(Row(10, 1, 0.5), Row(10, 1))))
    assert any("dose for some frames only" in note for note in used.notes)
