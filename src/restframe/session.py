"""Sessions: movies of one camera and one set of choices, corrected one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from threading import Lock
from types import TracebackType
from typing import TypeAlias, TypeVar, Unpack

from restframe.arrays import AnyArray
from restframe.blas import single_blas_thread
from restframe.detector.references import References
from restframe.kernels import make_kernels
from restframe.kernels.interface import Kernels
from restframe.movie import Movie, open_movie
from restframe.pipeline import TakeStack, restore, track
from restframe.prepare import Prepared, own_references, prepare
from restframe.progress import Progress, Report
from restframe.result import Result
from restframe.settings import Choices, Detector, Machine, Settings, with_choices
from restframe.track.field import MotionField
from restframe.track.measure import Measured

MovieSource: TypeAlias = Movie | AnyArray | str | PathLike[str]
Value = TypeVar("Value")

SMALL_GPU_SHARE = 0.02  # of the GPU's free memory: what frames may take when there was too little


def correct(
    movie: MovieSource,
    settings: Settings | None = None,
    *,
    field: MotionField | None = None,
    stack: TakeStack | None = None,
    report: Report | None = None,
    **choices: Unpack[Choices],
) -> Result:
    """Correct the motion of one movie and sum its frames.

    ``movie``: a path, what `open_movie` returns, or an array (t, h, w) of raw counts. ``choices``: any field of the
    classes in `restframe.settings` by its name; they replace those of ``settings``. ``field``: motion that is known;
    it is applied, not measured. ``stack`` is called with an iterator of corrected frames, ``stack_group`` of them
    summed to one, (h, w) float32 like the sums; it may be called again from the start. ``report`` is called with
    lines of text as the work goes on. Raises `RestframeError` when the input allows no result.

        result = restframe.correct("movie.tif", gain="gain.mrc", pixel_size=0.85, frame_dose=1.2, patches=(5, 5))
    """
    with Session(settings, **choices) as session:
        return session.correct(movie, field=field, stack=stack, report=report)


def measure_motion(
    movie: MovieSource,
    settings: Settings | None = None,
    *,
    report: Report | None = None,
    **choices: Unpack[Choices],
) -> Measured:
    """The motion of one movie as `correct` finds it, with the same arguments; no sum is made."""
    with Session(settings, **choices) as session:
        return session.measure_motion(movie, report=report)


class Session:
    """What several movies share: settings, references, kernels and, on a GPU, its memory and the CUDA context.

    References are read once for each size of frames. Any thread may use a session, one at a time. Each result has the
    same bytes as that of `correct` with the same choices.

        with restframe.Session(gain="gain.mrc", pixel_size=0.85, frame_dose=1.2, gpus=(0,)) as session:
            for movie in movies:
                result = session.correct(movie)

    Raises `SettingsError` for choices that cannot be, `DeviceError` when there is no such GPU.
    """

    def __init__(self, settings: Settings | None = None, **choices: Unpack[Choices]) -> None:
        self.settings = with_choices(settings or Settings(), choices)
        self.kernels = make_kernels(self.settings.machine)
        self._references: SharedReferences | None = SharedReferences(self.settings.detector, self.kernels)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the references. The session cannot be used any more."""
        self._references = None

    def correct(
        self,
        movie: MovieSource,
        *,
        field: MotionField | None = None,
        stack: TakeStack | None = None,
        report: Report | None = None,
    ) -> Result:
        """Correct the motion of one movie and sum its frames; see `restframe.correct`."""
        return self.correct_prepared(self.prepare(movie), field=field, stack=stack, report=report)

    def measure_motion(self, movie: MovieSource, *, report: Report | None = None) -> Measured:
        """The motion of one movie as `correct` finds it; no sum is made."""

        def measure(kernels: Kernels, prepared: Prepared, settings: Settings, progress: Progress) -> Measured:
            measured = track(kernels, prepared, settings, None, progress).measured
            prepared.raw.release()
            return measured

        return self._with_memory_fallback(measure, self.prepare(movie), self.settings, report)

    def open(self, movie: MovieSource) -> Movie:
        """The movie as the session's settings read it. Raises `InputError`."""
        sampling, max_memory = self.settings.exposure.eer_sampling, self.settings.machine.max_memory
        return open_movie(movie, eer_sampling=sampling, max_memory=max_memory)

    def prepare(self, movie: MovieSource, settings: Settings | None = None) -> Prepared:
        """What is known before frames are read: the first step of `correct`.

        ``settings``: other ones for this movie; camera and machine are always the session's. Raises `RestframeError`.
        """
        if self._references is None:
            raise RuntimeError("The session is closed.")
        opened = self.open(movie)
        with self.kernels.active():
            return prepare(self.kernels, opened, self._own(settings), self._references.of(opened))

    def fill(self, prepared: Prepared) -> None:
        """Read the frames now, not when they are first asked for. Raises `InputError` for damaged ones."""
        with self.kernels.active():
            prepared.raw.load()

    def correct_prepared(
        self,
        prepared: Prepared,
        settings: Settings | None = None,
        *,
        field: MotionField | None = None,
        stack: TakeStack | None = None,
        report: Report | None = None,
    ) -> Result:
        """`correct` for a movie that is prepared, with the same ``settings``. Raises `RestframeError`.

        Releases the raw frames as soon as they are not needed.
        """

        def work(kernels: Kernels, prepared: Prepared, settings: Settings, progress: Progress) -> Result:
            tracked = track(kernels, prepared, settings, field, progress)
            return restore(kernels, prepared, settings, tracked, stack, progress)

        return self._with_memory_fallback(work, prepared, self._own(settings), report)

    def _own(self, settings: Settings | None) -> Settings:
        """``settings`` with the session's camera and machine."""
        if settings is None:
            return self.settings
        return replace(settings, detector=self.settings.detector, machine=self.settings.machine)

    def _with_memory_fallback(
        self,
        work: Callable[[Kernels, Prepared, Settings, Progress], Value],
        prepared: Prepared,
        settings: Settings,
        report: Report | None,
    ) -> Value:
        """The value of ``work``. Where GPU memory is short, with less of it for frames; then on the CPU."""
        kernels, progress = self.kernels, Progress(report)
        settings = replace(settings, exposure=prepared.exposure)
        with single_blas_thread():
            while True:
                try:
                    with kernels.active():
                        return work(kernels, prepared, settings, progress)
                except Exception as error:
                    if not kernels.is_out_of_memory(error):
                        raise
                machine, prepared = _with_less_memory(kernels, prepared, settings.machine, progress)
                settings = replace(settings, machine=machine)
                if not machine.gpus:
                    kernels = make_kernels(machine)
                with kernels.active():
                    raw = kernels.device_frames(prepared.raw, machine.gpu_memory)
                prepared = replace(prepared, raw=raw)


def _with_less_memory(
    kernels: Kernels, prepared: Prepared, machine: Machine, progress: Progress
) -> tuple[Machine, Prepared]:
    """A machine that needs less GPU memory than ``machine``, and the movie with its frames in memory of the host."""
    frames, references = prepared.raw.to_host(), prepared.references
    if machine.gpu_memory > SMALL_GPU_SHARE:
        machine = replace(machine, gpu_memory=SMALL_GPU_SHARE)
        progress.say("GPU memory is short: frames are read again in every pass.")
    else:
        machine, references = replace(machine, gpus=()), references.on_host(kernels)
        progress.say("GPU memory is too short: the CPU is used.")
    return machine, replace(prepared, references=references, raw=frames)


class SharedReferences:
    """The references of a camera, read once for each size of frames that follows another. Threads may share it."""

    def __init__(self, detector: Detector, kernels: Kernels) -> None:
        self._detector, self._kernels = detector, kernels
        self._lock = Lock()
        self._shape: tuple[int, ...] = ()
        self._references = References()

    def of(self, movie: Movie) -> References:
        """Those that fit ``movie``, with the gain in its header where no other is given.

        The gain lies where the kernels work, if there is room. Raises as `references`.
        """
        if self._detector.gain is None and movie.header_gain() is not None:
            return own_references(movie, self._detector)
        shape = movie.shape[1:]
        with self._lock:
            if shape != self._shape:
                with self._kernels.active():
                    self._references = own_references(movie, self._detector).on_device(self._kernels)
                self._shape = shape
            return self._references
