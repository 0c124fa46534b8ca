"""The record of a movie: what docs/record.md promises, RELION's motion, and no NaN."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import restframe
from restframe.output.motion_summary import accumulated_motion, largest_intraframe_motion, local_rms
from restframe.output.names import record_path
from restframe.output.pictures import make_pictures
from restframe.output.record import OutputFile, PictureFiles, StepSeconds, make_record, peak_memory_bytes, write_record
from restframe.result import Result
from restframe.settings import Settings, with_choices
from restframe.track.field import MotionField

DOCUMENT = Path(__file__).parents[2] / "docs" / "record.md"
TYPES = {
    "text": str, "integer": int, "number": (int, float), "boolean": bool, "list": list, "object": dict,
}  # fmt: skip


def documented():
    """The types of each key in docs/record.md."""
    rows = re.findall(r"^\| `([\w.\[\]]+)` \| ([\w ]+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    return {key: words.split(" or ") for key, words in rows}


def flat(value, key=""):
    """Every key of a record with its value; objects that the document does not describe further are values."""
    if isinstance(value, dict) and key not in {k for k, words in documented().items() if words == ["object"]}:
        for name, one in value.items():
            yield from flat(one, f"{key}.{name}".strip("."))
    elif key in ("outputs", "pictures"):
        for one in value:
            for name, entry in one.items():
                yield f"{key}[].{name}", entry
    else:
        yield key, value


def fits(value, words):
    if value is None:
        return "null" in words
    if isinstance(value, bool):
        return "boolean" in words
    return any(isinstance(value, TYPES[word]) for word in words if word != "null")


@pytest.fixture(scope="module")
def movie():
    rng = np.random.default_rng(2)
    scene = np.full((200, 220), 4.0)
    for y, x in zip(rng.integers(0, 190, 150), rng.integers(0, 210, 150), strict=True):
        scene[y : y + 5, x : x + 5] += 6
    return rng.poisson([np.roll(scene, t, 1)[:, 8:] for t in range(5)]).astype(np.uint8)


@pytest.fixture(scope="module")
def result(movie):
    ctf = {"spherical_aberration": 2.7}
    gain = np.random.default_rng(3).uniform(0.9, 1.1, movie.shape[1:]).astype(np.float32)
    return restframe.correct(movie, gain=gain, pixel_size=1.1, frame_dose=1.5, patches=(3, 3), **ctf)


def record_of(result, tmp_path):
    path = tmp_path / "sum.mrc"
    path.write_bytes(b"x" * 20)
    return make_record(result, [OutputFile("sum", path)], tmp_path / "restframe", StepSeconds(0.5, 0.25))


def with_pictures(result, tmp_path):
    pictures = make_pictures(result)
    paths = tuple(tmp_path / "restframe" / "pictures" / f"{one.kind}.jpg" for one in pictures.pictures)
    paths[0].parent.mkdir(parents=True)
    for path in paths:
        path.write_bytes(b"x")
    path = tmp_path / "sum.mrc"
    path.write_bytes(b"x" * 20)
    files = PictureFiles(pictures, paths)
    sums, seconds = [OutputFile("sum", path)], StepSeconds(0.5, 0.25)
    return make_record(result, sums, tmp_path / "restframe", seconds, pictures=files)


def test_the_record_is_what_the_document_says(result, tmp_path):
    values = dict(flat(with_pictures(result, tmp_path)))
    assert set(values) == set(documented())
    wrong = {key: value for key, value in values.items() if not fits(value, documented()[key])}
    assert wrong == {}


def test_unknown_values_are_null(movie, tmp_path):
    result = restframe.correct(movie, align=False)
    values = dict(flat(record_of(result, tmp_path)))
    no_values = ("gain_check.", "spectrum.", "pictures[]", "ctf.")
    keys = {key for key in documented() if not key.startswith(no_values)}
    assert set(values) == keys | {"gain_check", "spectrum", "ctf"}
    assert values.pop("gain_check") is values.pop("spectrum") is values.pop("ctf") is None
    assert {key: value for key, value in values.items() if not fits(value, documented()[key])} == {}
    unknown = ("motion.total", "motion.early", "motion.stated_error_px", "frames.dose", "ispyb.totalMotion")
    assert [values[key] for key in unknown] == [None] * len(unknown)
    assert values["motion.total_px"] == 0


def test_values(result, movie, tmp_path):
    record = record_of(result, tmp_path)
    motion = record["motion"]
    assert motion["global_shifts_px"] == np.round(result.global_shifts, 4).tolist()
    assert motion["total"] == pytest.approx(1.1 * motion["total_px"])
    assert motion["early"] + motion["late"] == pytest.approx(motion["total"])
    assert motion["early"] == pytest.approx(1.1 * np.hypot(*(result.global_shifts[1] - result.global_shifts[0])))
    assert record["ispyb"]["totalMotion"] == motion["total"]
    assert record["ispyb"]["averageMotionPerFrame"] == pytest.approx(motion["total"] / 5)
    assert (record["ispyb"]["firstFrame"], record["ispyb"]["lastFrame"]) == (1, 5)
    assert motion["stated_error_px"] == result.numbers["error_px"]
    assert record["frames"]["accumulated_dose"] == [1.5, 3, 4.5, 6, 7.5]
    assert record["settings"]["detector"]["gain"] == {"shape": list(movie.shape[1:]), "dtype": "float32"}
    assert record["settings"]["motion"]["patches"] == [3, 3]
    assert record["input"]["shape"] == list(movie.shape) and record["input"]["format"] == "array"
    assert record["bad_pixels"]["count"] == len(result.bad_pixels)
    assert record["outputs"] == [{"kind": "sum", "path": "../sum.mrc", "size": 20}]
    assert record["decisions"]["sentences"] == list(result.decisions)


def test_no_nan_reaches_the_file(result, tmp_path):
    broken = Result(result.sum, 1.0, result.field, global_shifts=result.global_shifts, numbers={"gain": float("nan")})
    target = tmp_path / "new" / "sum.json"
    write_record(target, broken, [], StepSeconds(float("inf"), 0))
    record = json.loads(target.read_text(), parse_constant=lambda word: pytest.fail(word))
    assert record["decisions"]["values"] == {"gain": None} and record["seconds"]["reading"] is None
    assert [p.name for p in target.parent.iterdir()] == ["sum.json"]


def test_two_results_can_be_compared(result):
    assert (result == result) is True
    assert (result == Result(result.sum, 1.0, result.field)) is False
    assert (result.patches == restframe.errors) is False


def test_where_it_goes():
    assert record_path(Path("out/a_DW.b.mrc"), in_batch=False) == Path("out/a_DW.b.json")
    assert record_path(Path("out/a.mrc"), in_batch=True) == Path("out/restframe/a.json")


@pytest.mark.parametrize(("first_dose", "early"), [(1.0, 3), (0.0, 4), (4.5, 0)])
def test_relions_early_motion(first_dose, early):
    """Seven steps of length 1 and 1 e/A² a frame: those up to an accumulated dose of 4 are early."""
    shifts = np.stack([np.arange(8.0), np.zeros(8)], 1)
    path = accumulated_motion(shifts, first_dose + np.arange(8.0))
    assert (path.total, path.early, path.late) == (7, early, 7 - early)
    assert path.average_per_frame == 7 / 8


def test_without_a_dose_and_with_one_frame():
    path = accumulated_motion(np.array([[0.0, 0], [3, 4]]), np.zeros(2))
    assert (path.total, path.early, path.late) == (5, None, None)
    assert accumulated_motion(np.zeros((1, 2)), np.zeros(1)).total == 0
    still = MotionField.at_rest(1, (40, 50))
    assert local_rms(still) == 0 == largest_intraframe_motion(still, [1.0])


def test_local_and_intraframe_motion():
    """Mode (1, 0) is x from -1 to 1 over the frame: its mean square on a fine grid is 1/3."""
    amplitudes = np.zeros((2, 3, 2))
    amplitudes[0, :, 1] = 0, 2, 4
    amplitudes[1, :, 0] = -1, 0, 1
    field = MotionField(((0, 0), (1, 0)), amplitudes, (90, 90))
    x = (2 * np.linspace(0, 89, 9) + 1) / 90 - 1
    assert local_rms(field) == pytest.approx(np.sqrt(2 / 3 * (x**2).mean()))
    assert largest_intraframe_motion(field, [1, 1, 1]) == pytest.approx(np.hypot(2, x.max()))


def test_settings_hold_paths_and_rows(result, tmp_path):
    choices = {"gain": Path("a/gain.mrc"), "integration": tmp_path / "rows.txt", "gpus": (0, 1)}
    settings = with_choices(Settings(), choices)
    other = Result(result.sum, 1.0, result.field, global_shifts=result.global_shifts, settings=settings)
    entry = record_of(other, tmp_path)["settings"]
    assert entry["detector"]["gain"] == "a/gain.mrc" and entry["machine"]["gpus"] == [0, 1]


def test_the_field_of_a_record_is_a_motion_field(result, tmp_path):
    field = MotionField.from_dict(record_of(result, tmp_path)["motion"]["field"])
    assert np.abs(field.amplitudes - result.field.amplitudes).max() <= 5.1e-5
    assert field.modes == result.field.modes and field.reference == result.field.reference


def test_counts_and_bad_pixels(result, movie, tmp_path):
    record = record_of(result, tmp_path)
    assert record["frames"]["counts_per_pixel"] == pytest.approx(movie.sum(0).mean(), rel=0.02)
    assert len(record["bad_pixels"]["positions"]) == min(record["bad_pixels"]["count"], 500)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux has /proc")
def test_the_peak_memory_is_of_this_process_alone():
    """Linux counts in ru_maxrss also what the parent had in memory when it started the child."""
    code = "from restframe.output.record import peak_memory_bytes; print(peak_memory_bytes())"

    def peak_of_child() -> int:
        return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    alone = peak_of_child()
    before = peak_memory_bytes()
    held = np.ones(400_000_000, np.uint8)
    assert peak_memory_bytes() >= max(before, held.nbytes)
    assert peak_of_child() < alone + 100_000_000
