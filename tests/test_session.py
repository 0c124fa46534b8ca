"""Sessions: the same bytes as single runs, references read once, any thread, clear ends."""

import threading

import mrcfile
import numpy as np
import pytest

import restframe
from restframe import session as session_module
from restframe.errors import DetectorError, InputError, SettingsError
from restframe.progress import Progress
from restframe.session import Session
from restframe.settings import Settings, with_choices

SHAPE = (4, 160, 192)
CHOICES = {"patches": (3, 3), "pixel_size": 1.0, "frame_dose": 1.2}


def counts(seed):
    rng = np.random.default_rng(seed)
    scene = np.full((SHAPE[1] + 8, SHAPE[2] + 8), 4.0)
    for y, x in zip(rng.integers(0, SHAPE[1], 150), rng.integers(0, SHAPE[2], 150), strict=True):
        scene[y : y + 5, x : x + 5] += 6
    return rng.poisson([scene[8 - t : 8 - t + SHAPE[1], t : t + SHAPE[2]] for t in range(4)]).astype(np.uint8)


@pytest.fixture
def gain(tmp_path):
    values = np.random.default_rng(5).uniform(0.9, 1.1, SHAPE[1:]).astype(np.float32)
    mrcfile.write(tmp_path / "gain.mrc", values)
    return tmp_path / "gain.mrc"


def test_the_same_bytes_as_alone_and_references_read_once(gain, monkeypatch):
    calls = []
    own_references = session_module.own_references
    monkeypatch.setattr(session_module, "own_references", lambda *given: calls.append(given) or own_references(*given))
    with restframe.Session(gain=gain, **CHOICES) as session:
        results = [session.correct(counts(seed)) for seed in range(3)]
    assert len(calls) == 1
    for seed, result in enumerate(results):
        alone = restframe.correct(counts(seed), gain=gain, **CHOICES)
        for name in ("sum", "dose_weighted", "global_shifts"):
            assert getattr(result, name).tobytes() == getattr(alone, name).tobytes()
        assert result.field.amplitudes.tobytes() == alone.field.amplitudes.tobytes()
    assert len(calls) == 4


def test_motion_is_measured_as_it_is_corrected(gain):
    with restframe.Session(gain=gain, **CHOICES) as session:
        measured, result = session.measure_motion(counts(1)), session.correct(counts(1))
    assert measured.field.amplitudes.tobytes() == result.field.amplitudes.tobytes()
    alone = restframe.measure_motion(counts(1), gain=gain, **CHOICES)
    assert alone.field.amplitudes.tobytes() == result.field.amplitudes.tobytes()


def test_kernels_are_made_once(gain, monkeypatch):
    made = []
    make = session_module.make_kernels
    monkeypatch.setattr(session_module, "make_kernels", lambda machine: made.append(machine) or make(machine))
    with restframe.Session(gain=gain) as session:
        for seed in range(2):
            session.correct(counts(seed))
    assert len(made) == 1


def test_a_bad_movie_does_not_harm_the_next(gain):
    with restframe.Session(gain=gain) as session:
        with pytest.raises(DetectorError):
            session.correct(counts(0)[:, 1:])
        with pytest.raises(InputError):
            session.correct("none.tif")
        after = session.correct(counts(1))
    assert after.sum.tobytes() == restframe.correct(counts(1), gain=gain).sum.tobytes()


def test_from_another_thread(gain):
    results = []
    with restframe.Session(gain=gain) as session:
        thread = threading.Thread(target=lambda: results.append(session.correct(counts(2))))
        thread.start()
        thread.join()
        results.append(session.correct(counts(2)))
    assert results[0].sum.tobytes() == results[1].sum.tobytes()


def test_two_sessions_in_two_threads_give_the_same_bytes():
    """Both limit the threads of BLAS, which belong to the process."""
    results = [restframe.correct(counts(seed), **CHOICES) for seed in range(2)]

    def work(seed):
        with restframe.Session(**CHOICES) as session:
            for _ in range(2):
                result = session.correct(counts(seed))
                same.append(result.dose_weighted.tobytes() == results[seed].dose_weighted.tobytes())

    same = []
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == [True] * 4


def test_a_closed_session():
    with restframe.Session() as session:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        session.correct(counts(0))


def test_wrong_choices():
    with pytest.raises(SettingsError, match="patches"):
        restframe.Session(patches=(2.5, 2.5))
    with pytest.raises(TypeError, match="patchs"):
        restframe.Session(patchs=(5, 5))


def test_a_result_says_what_it_was_made_with(tmp_path):
    with mrcfile.new(tmp_path / "movie.mrc", data=counts(0).astype(np.int16)) as mrc:
        mrc.set_image_stack()
    result = restframe.correct(tmp_path / "movie.mrc", frame_dose=2, initial_dose=1, throw=1, pixel_size=1.5)
    assert result.movie.path == tmp_path / "movie.mrc" and result.movie.format == "mrc"
    assert result.movie.size == (tmp_path / "movie.mrc").stat().st_size
    assert result.movie.shape == SHAPE and result.movie_shape == (3, *SHAPE[1:])
    assert result.settings.exposure.throw == 1
    np.testing.assert_allclose(result.accumulated_dose, [5, 7, 9])
    assert "Gain ref not found." in result.warnings
    assert 0 < result.timings.survey < result.timings.motion < result.timings.sums


class ShortOfMemory:
    """Kernels whose device has too little memory, `failures` times."""

    def __init__(self, kernels, failures):
        self.kernels, self.failures = kernels, failures

    def __getattr__(self, name):
        return getattr(self.kernels, name)

    def add_frames(self, *arguments):
        if self.failures:
            self.failures -= 1
            raise MemoryError("device")
        return self.kernels.add_frames(*arguments)

    def is_out_of_memory(self, error):
        return isinstance(error, MemoryError)


@pytest.mark.parametrize("failures", [1, 2])
def test_little_memory_on_the_device(failures):
    """First with less memory for frames, then on the CPU; the text is said once."""
    expected = restframe.correct(counts(3), **CHOICES)
    session, said = Session(**CHOICES), []
    session.kernels = ShortOfMemory(session.kernels, failures)
    session.settings = with_choices(session.settings, {"gpus": (0,)})  # as if these were a GPU's
    result = session.correct(counts(3), report=said.append)
    assert result.dose_weighted.tobytes() == expected.dose_weighted.tobytes()
    assert [line for line in said if line.startswith("GPU memory")] == [
        "GPU memory is short: frames are read again in every pass.",
        "GPU memory is too short: the CPU is used.",
    ][:failures]
    assert said.count("Warning: Gain ref not found.") == 1
    assert sum(line.count("Full-frame") for line in said) == 1


def test_progress_says_each_line_once():
    said = []
    progress = Progress(said.append)
    for line in ("one", "Warning: two", "one", "Warning: two"):
        progress.say(line)
    assert said == ["one", "Warning: two"] and progress.warnings == ["two"]


def test_settings_of_one_movie_keep_the_sessions_camera_and_machine(gain):
    with restframe.Session(gain=gain, threads=1) as session:
        prepared = session.prepare(counts(0), with_choices(Settings(), {"throw": 2}))
        result = session.correct_prepared(prepared, with_choices(Settings(), {"throw": 2}))
    assert len(prepared.used.frames) == 2
    assert result.settings.detector.gain == gain and result.settings.machine.threads == 1
