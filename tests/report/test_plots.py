"""restframe plot: figures from records alone."""

import json
import math

import imagecodecs
import numpy as np
import pytest
from made_records import done_record, failed_record, write_records

from restframe.cli.main import main
from restframe.ctf.model import CtfShape, Microscope, phase
from restframe.errors import InputError, SettingsError
from restframe.report.motion import local_motion, motion_errors, path_length_errors
from restframe.report.plots import ctf_sentence, ctf_zero, dose_weights, magnification, plot_record
from restframe.report.records import Record, read_record
from restframe.track.field import MotionField

pytest.importorskip("matplotlib")


def written(folder, record):
    write_records(folder, [record])
    return folder / f"{record['input']['name'].rsplit('.', 1)[0]}.json"


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_figure(tmp_path, suffix):
    record = written(tmp_path, done_record(1, "a<&$^movie.tif"))
    plot_record(record, tmp_path / f"figure.{suffix}")
    assert (tmp_path / f"figure.{suffix}").stat().st_size > 10_000


def test_equal_records_give_equal_bytes(tmp_path):
    record = written(tmp_path, done_record(1))
    for name in ("a.png", "b.png"):
        plot_record(record, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_rings_lie_where_the_ctf_is_zero(tmp_path):
    content = done_record(1)
    content["ctf"] |= {"phase_shift_deg": 40.0, "voltage_kv": 200.0}
    record = read_record(written(tmp_path, content))
    angle = np.linspace(0, np.pi, 7)
    values = content["ctf"]
    double_angle = np.deg2rad(2 * values["astigmatism_angle_deg"])
    astigmatism = values["defocus_u_a"] - values["defocus_v_a"]
    middle = 0.5 * (values["defocus_u_a"] + values["defocus_v_a"])
    components = astigmatism * np.cos(double_angle), astigmatism * np.sin(double_angle)
    shape = CtfShape(middle, *components, np.deg2rad(40))
    for number in (1, 4):
        squared = ctf_zero(record, number, angle) ** 2
        np.testing.assert_allclose(phase(Microscope(200.0), shape, squared, angle), number * np.pi, rtol=1e-6)
    assert "fit to" in ctf_sentence(record)
    assert np.isnan(ctf_zero(record, 10_000, angle)).all()


def test_little_is_known(tmp_path):
    """No dose, no pixel size, no pictures, no local motion, one frame."""
    content = done_record(1, pictures=False)
    content["frames"] |= {"dose": None, "accumulated_dose": None, "counts_per_pixel": None}
    content["motion"] = {"pixel_size": None, "global_shifts_px": [[0.0, 0.0]], "total": None}
    content["spectrum"], content["bad_pixels"] = None, {"count": 0, "fraction": 0.0, "positions": []}
    plot_record(written(tmp_path, content), tmp_path / "figure.png")
    assert imagecodecs.png_decode((tmp_path / "figure.png").read_bytes()).std() > 5


def test_command(tmp_path, capsys):
    record = written(tmp_path, done_record(1, "m.tif"))
    assert main(["plot", str(record)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/m_plot.png\n"
    assert main(["plot", str(record), "--out", str(tmp_path / "a.svg")]) == 0
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("words", "reason", "code"),
    [
        (["none.json"], "none.json cannot be read", 3),
        (["other.json"], "is no record of restframe", 3),
        (["broken.json"], "this movie failed", 3),
        (["m.json", "--out", "m.gif"], "a plot is .png, .svg or .pdf", 6),
        (["m.json", "--out", "none/m.png"], "none/m.png cannot be written", 4),
        ([], "restframe plot --help", 6),
    ],
)
def test_wrong_arguments(tmp_path, monkeypatch, capsys, words, reason, code):
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path, [done_record(1, "m.tif"), failed_record(2, "broken.tif", "It is cut short.")])
    (tmp_path / "other.json").write_text("[1]")
    assert main(["plot", *words]) == code
    assert reason in capsys.readouterr().err


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(SettingsError, match=r"restframe\[plot\]"):
        plot_record(written(tmp_path, done_record(1)), tmp_path / "a.png")
    with pytest.raises(InputError):
        read_record(tmp_path / "missing.json")


def test_local_motion_is_that_of_the_field(tmp_path):
    content = done_record(3)
    local = local_motion(Record(tmp_path / "a.json", content))
    field = MotionField.from_dict(content["motion"]["field"])
    expected = field(local.x, local.y) - field.global_displacement()[:, None]
    np.testing.assert_allclose(local.paths, np.moveaxis(expected - expected[:1], 0, 1), atol=1e-9)
    content["motion"]["field"]["modes"] = [[0, 0]]
    assert local_motion(Record(tmp_path / "a.json", content)) is None
    assert magnification(local, 5760) * np.hypot(*local.paths.T).max() <= 0.12 * 5760


def test_errors_of_lengths_are_those_of_repeated_measurements():
    rng = np.random.default_rng(1)
    track = np.cumsum(rng.normal([3, 1], 1.0, (15, 2)), 0)
    is_early = [step < 4 for step in range(14)]
    noisy = track + rng.normal(0, 0.05 / math.sqrt(2), (4000, 15, 2))
    lengths = np.hypot(*np.moveaxis(np.diff(noisy, axis=1), -1, 0))
    measured = [lengths.sum(1).std(), lengths[:, :4].sum(1).std(), lengths[:, 4:].sum(1).std()]
    assert path_length_errors(track, is_early, 0.05) == pytest.approx(measured, rel=0.1)


def test_unknown_errors_are_none(tmp_path):
    content = done_record(1)
    assert all(error > 0 for error in motion_errors(Record(tmp_path, content)))
    content["motion"]["stated_error_px"] = None
    assert motion_errors(Record(tmp_path, content)) == (None, None, None)


def test_dose_weights():
    weights = dose_weights(np.array([1.0, 1 + 2 * 6.39]), 0.2, 300)
    assert weights == pytest.approx([1, math.exp(-1)], rel=1e-3)


def test_numbers_of_a_record(tmp_path):
    record = Record(tmp_path / "a.json", json.loads('{"a": {"b": 1, "c": true, "d": [1, 2]}, "status": "done"}'))
    assert record.number("a.b") == 1 and record.number("a.c") is None and record.number("a.x.y") is None
    assert record.numbers("a.d") == [1, 2] and record.numbers("a.x") == [] and record.done
