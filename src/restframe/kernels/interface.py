"""The interface of all implementations of the kernels: the loops over pixels, tiles and frames that take most time.

`Reference` is the specification: plain array formulas. `Cpu` and `Cuda` compute the same fast. An implementation is
made once per run (`restframe.kernels.make_kernels`) and passed on. Work is done inside ``with kernels.active():``.

Letters in shapes: t frames, h rows, w columns, p tiles, m the highest frequency that is kept of a tile. Images are
(h, w), row first; positions and displacements are (x, y) in pixels. Spectra of tiles are half spectra
(p, t, 2m+1, m+1) in two arrays, the real and the imaginary part. Their row m is ky = 0 and their column 0 is kx = 0, in
cycles per tile. A ring is the set of coefficients whose |k| rounds to the same whole number.

"Host" means NumPy arrays. All other arrays lie where the kernels work: NumPy on the CPU, CuPy on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from numpy.typing import DTypeLike

from restframe.arrays import AnyArray, Array, FloatArray, IntArray
from restframe.detector.calibration import Calibration

if TYPE_CHECKING:
    from restframe.movie import RawFrames

Item = TypeVar("Item")
Value = TypeVar("Value")


class DisplacementField(Protocol):
    """What `Kernels.displacement_grid` needs of a motion field."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the frames that it describes."""

    @property
    def n_frames(self) -> int:
        """Number of frames."""

    def __call__(self, x: FloatArray, y: FloatArray, frames: Any = ..., /) -> FloatArray:
        """Displacements (x, y) in pixels of ``frames`` at positions x, y in pixels: (frames, *x.shape, 2)."""


@dataclass(frozen=True, eq=False)
class Resampling:
    """From output pixels to positions on the detector, and the weights of the resampling there: input of `gather`.

    The displacement is detector position less output position, in pixels. It is given at the output pixels
    ``origin + j * spacing`` of either axis and is bilinear in between.

    Fields:
        grid: displacements (t, rows, columns, 2) float32, x first, for the frames that are gathered
        spacing: output pixels from one grid point to the next, a multiple of 4
        origin: index of the output pixel at grid point 0, negative where the output image has a margin
        table: (n + 2, 4) float32, weights of the four samples around a position, at n + 1 offsets 0 ... 1; the last
            row is there twice
    """

    grid: Array
    spacing: int
    origin: int
    table: FloatArray


class Kernels(Protocol):
    """One method per loop. The classes `Reference`, `Cpu` and `Cuda` have these methods with these parameters."""

    frames_per_block: int
    """Number of frames that callers should pass together: as fit into the cache, or as keep a GPU busy."""

    compiling_notice: str
    """Text for the user before the first run on a machine, when kernels are compiled."""

    # --- where the work is done -------------------------------------------------------------------------------------
    def active(self) -> AbstractContextManager[None]:
        """The device and the number of threads are those of these kernels inside this context, for this thread."""
        ...

    def single_threaded(self) -> Kernels:
        """The same kernels for use inside `parallel_map`."""
        ...

    def parallel_map(self, work: Callable[[Item], Value], items: Iterable[Item]) -> list[Value]:
        """``work(item)`` of each item, in their order; on the CPU in parallel threads."""
        ...

    def is_compiled(self) -> bool:
        """Whether an earlier process left compiled kernels behind."""
        ...

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether ``error`` says that the device has too little memory. If so, unused device memory is released."""
        ...

    def device_frames(self, raw: RawFrames, memory_share: float) -> Any:
        """Raw frames (`movie.RawFrames`) whose blocks lie where the kernels work.

        ``memory_share``: fraction of the free device memory that they may take.
        """
        ...

    def to_device(self, array: Array) -> Array:
        """The array where the kernels work; a host array is copied to a GPU."""
        ...

    def to_host(self, array: Array) -> AnyArray:
        """The array as NumPy array."""
        ...

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """An array of zeros where the kernels work."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """An array of undefined values where the kernels work."""
        ...

    # --- frames -----------------------------------------------------------------------------------------------------
    def add_frames(self, frames: Array, gain: Array, dark: Array, total: Array) -> FloatArray:
        """total += the sum of raw frames (t, h, w), exactly where they are integers.

        ``gain`` (h, w) float32, ``dark`` (h, w) float32 or (1, 1) for none. Returns the sum over pixels of
        (raw - dark) * gain for each frame: (t,) float64 on the host.
        """
        ...

    def pixel_counts(self, frames: Array, rows: IntArray, columns: IntArray) -> AnyArray:
        """Raw counts of the n pixels at ``rows``, ``columns`` (n,) in frames (t, h, w): (t, n) on the host."""
        ...

    def corrected_frame(self, frames: Array, calibration: Calibration, index: int) -> Array:
        """Frame ``index`` of raw frames (t, h, w) as (raw - dark) * gain less its mean count: (h, w) float32.

        Counts at or above the frame's limit become zero, the mean. Bad pixels get the local mean.
        """
        ...

    def mark_bad_pixels(self, gain: Array, rows: IntArray, columns: IntArray) -> Array:
        """The gain (h, w) in the form these kernels take it; bad pixels lie at ``rows``, ``columns`` (n,)."""
        ...

    def make_binned_frames(
        self,
        frames: Array,
        calibration: Calibration,
        filter_taps: FloatArray,
        binning_factor: int,
        levels_per_deviation: float,
        binned: Array,
    ) -> None:
        """Corrected frames (t, h, w), low-passed and decimated, into ``binned`` (t, h // factor, w // factor) int8.

        ``filter_taps`` (n,) is applied along both axes, with zeros off the frame. Each binned frame is scaled so that
        its standard deviation is ``levels_per_deviation``, then rounded and clipped to -127 ... 127.
        """
        ...

    # --- images -----------------------------------------------------------------------------------------------------
    def rfft2(self, images: Array, columns: int | None = None) -> Array:
        """Half spectra (..., h, w // 2 + 1) complex of images (..., h, w) of any type of real numbers.

        ``columns``: only this many columns, from kx = 0.
        """
        ...

    def irfft2(self, spectra: Array, image_shape: tuple[int, int]) -> Array:
        """Images (..., h, w) of half spectra, which may be overwritten; ``image_shape`` is (h, w)."""
        ...

    def mean_of_good_pixels(self, image: Array, bad_pixels: Array) -> float:
        """Mean of an image (h, w) over pixels where ``bad_pixels`` (h, w) bool is false; 0 if there are none."""
        ...

    def local_mean(self, image: Array, bad_pixels: Array, window_size: int, fallback: float) -> Array:
        """Mean of the good pixels in a square of ``window_size`` pixels around each pixel, (h, w) float32.

        The image continues by reflection. ``fallback`` stands where the square has no good pixel.
        """
        ...

    def defect_cluster_mask(self, bad_pixels: Array) -> Array:
        """Good pixels that touch a bad one and have three or more bad ones in the 5 x 5 around them, (h, w) bool."""
        ...

    def order_statistics(self, values: Array, ranks: Sequence[int]) -> AnyArray:
        """The values (n,) with these ranks in ascending order, counted from 0: (len(ranks),) on the host."""
        ...

    def standard_deviation(self, values: Array) -> float:
        """Standard deviation of all values, without Bessel's correction."""
        ...

    def nyquist_power(self, images: Array) -> tuple[float, float]:
        """Power of int8 images (t, h, w) at the Nyquist frequency of both axes.

        That component is c = a - b - d + e for each 2 x 2 pixels (a b; d e). Returns the mean of (sum_t c_t)² and the
        sum over images of the mean of c_t².
        """
        ...

    def correlation_peaks(self, surfaces: Array) -> tuple[IntArray, FloatArray]:
        """Peaks of cross-correlation surfaces (t, h, w), on the host.

        Returns the index of each highest value in the flat surface, (t,), the first if several are equal, and
        (peak - mean) / standard deviation of the surface, (t,).
        """
        ...

    # --- tiles ------------------------------------------------------------------------------------------------------
    def empty_spectra(self, shape: tuple[int, ...]) -> Array:
        """Room for one part, real or imaginary, of spectra of tiles, in the number type these kernels store."""
        ...

    def tile_spectra(
        self,
        frames: Array,
        tile_origins: IntArray,
        taper: FloatArray,
        window_weights: FloatArray,
        real: Array,
        imaginary: Array,
    ) -> None:
        """Spectra of square tiles of binned frames (t, h, w), times a window, into ``real``, ``imaginary``.

        ``tile_origins`` (t, p, 2): first row and column of each tile; pixels off the frame are zero. The window of a
        tile of n = len(taper) pixels is taper(y) taper(x) W(y, x), where W interpolates ``window_weights``
        (p, c+1, c+1) bilinearly: values at the corners of c x c equal cells of the tile. The mean, weighted by the
        window, is subtracted first, so that the coefficient at k = 0 is zero.
        """
        ...

    def scale_spectra(self, real: Array, imaginary: Array, scale: Array) -> None:
        """Spectra (p, t, 2m+1, m+1) times ``scale`` (t, 2m+1, m+1), in place."""
        ...

    def subtract_fixed_pattern(self, real: Array, imaginary: Array, phase_factors: Array, fraction: float) -> None:
        """Spectra less a fraction of what frames share after ``phase_factors`` (t, 2m+1, m+1) complex, in place.

        F_t -= fraction conj(c_t) sum_s c_s F_s, for each tile.
        """
        ...

    def pattern_bias(
        self,
        displacement: FloatArray,
        directions: FloatArray,
        strength: FloatArray,
        power: FloatArray,
        fraction: float,
        tile_size: int,
        with_gradient: bool = True,
    ) -> tuple[float, FloatArray]:
        """How the subtraction of a fixed pattern biases the log likelihood of a displacement.

        ``displacement`` (p, t, 2) in pixels of a tile of ``tile_size`` pixels, ``directions`` (2, n) unit vectors,
        ``strength`` (t, rings), ``power`` (p, rings). With V = sum_t strength_t exp(-2 pi i r / tile_size n·u_t) for
        ring r and direction n, the value is -sum power log(1 - fraction |V|²) over tiles, rings and directions.
        Returns the value and its derivatives by the displacement, (p, t, 2) on the host; these are zeros without
        ``with_gradient``.
        """
        ...

    def ring_sums(self, values: Array, ring_index: IntArray, weight: FloatArray) -> FloatArray:
        """Sums over rings of values (p, 2m+1, m+1) times ``weight`` (2m+1, m+1): (p, m+1) on the host.

        ``ring_index`` (2m+1, m+1): the ring of each coefficient, -1 for none.
        """
        ...

    def ring_power_sums(self, real: Array, imaginary: Array, ring_index: IntArray, weight: FloatArray) -> FloatArray:
        """`ring_sums` of real² + imaginary²."""
        ...

    def filter_spectra(
        self, real: Array, imaginary: Array, ring_filter: FloatArray, ring_index: IntArray, weight: FloatArray
    ) -> tuple[Array, Array]:
        """Spectra (p, 2m+1, m+1) times ``ring_filter`` (p, m+1) of the ring and ``weight`` of the coefficient.

        Coefficients that are in no ring become zero. Returns the real and the imaginary part.
        """
        ...

    def align_spectra(
        self, real: Array, imaginary: Array, phase_steps: FloatArray, phase_variance: FloatArray
    ) -> tuple[Array, Array, Array]:
        """Sum over frames of spectra F (p, t, 2m+1, m+1) whose displacement is undone.

        R = sum_t G_t exp(i k·step_t) with G_t = F_t exp(-variance_t k²/2). ``phase_steps`` (p, t, 2): phase in radians
        at one cycle per tile along x and y; ``phase_variance`` (p, t): its variance. Returns the real and imaginary
        part of R and sum_t |G_t|², each (p, 2m+1, m+1). Beyond |k| = m + 1/2, where no ring is, these may be zero.
        """
        ...

    def shift_gradient(
        self,
        real: Array,
        imaginary: Array,
        phase_steps: FloatArray,
        phase_variance: FloatArray,
        weighted_real: Array,
        weighted_imaginary: Array,
    ) -> FloatArray:
        """Derivatives by ``phase_steps`` of a quadratic function of the aligned sum: (p, t, 2) on the host.

        -sum_k k Im(conj(W) G_t exp(i k·step_t)), k in cycles per tile, G_t as in `align_spectra`; ``weighted_real``
        and ``weighted_imaginary`` (p, 2m+1, m+1) hold W. With W = filter R this is half the derivative of
        sum_k filter |R|².
        """
        ...

    def trajectories_to_device(self, information: FloatArray, linear: FloatArray) -> tuple[Array, Array]:
        """The log likelihood of trajectories to where `log_evidence` works on it."""
        ...

    def log_evidence(
        self, information: Array, linear: Array, prior_precision: FloatArray, negligible: float
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Log evidence for the scales of a Gaussian prior, for each trajectory with coefficients x of either axis.

        The log likelihood is linear·x - x·information·x / 2, with ``information`` (m, n, n) and ``linear`` (m, n, 2).
        ``prior_precision`` (m, 2, n): the prior's precision is Q = A_0 + A_1, diagonal, one part for each scale. With
        P = information + Q, x = P⁻¹ linear and W = Q⁻¹ - P⁻¹, for both axes together: the evidence is
        linear·x / 2 + log det Q - log det P, its derivative x·A x / 2 - tr(W A), the covariance of the derivatives
        tr(W A W A') (Harville 1977, section 5).

        Returns on the host, for each trajectory: the evidence (m,), its derivatives by the logs of the two scales
        (m, 2), minus its second derivatives (m, 2, 2), and their expectation (m, 2, 2). Information between
        coefficients is ignored after the last coefficient whose own information exceeds ``negligible`` times the
        prior's precision. Raises LinAlgError where P is not positive definite.
        """
        ...

    # --- sums -------------------------------------------------------------------------------------------------------
    def displacement_grid(self, field: DisplacementField, x: FloatArray, y: FloatArray, offset: FloatArray) -> Array:
        """``offset`` plus the field's displacement at positions x, y, for every frame: (t, rows, columns, 2) float32.

        x, y (rows, columns) and ``offset`` (rows, columns, 2) in pixels.
        """
        ...

    def subpixel_histogram(self, displacements: Array, bins: int) -> FloatArray:
        """Histogram of the sub-pixel offsets of displacements (t, n, 2) x, y: fractions (t, bins, bins), y first.

        On the host. Bin i is the offset i / bins. An offset between two bins counts for both in proportion, so that
        averages of a linear function of the offset are exact.
        """
        ...

    def gather(
        self, frames: Array, calibration: Calibration, resampling: Resampling, coefficients: FloatArray, images: Array
    ) -> None:
        """images[r] += sum_t coefficients[r, t] * corrected frame t, sampled where each output pixel was then.

        ``frames`` (t, h, w) raw, ``coefficients`` (r, t), ``images`` (r, output h, output w) float32. Off the frame
        the local mean of the nearest edge is taken.
        """
        ...

    def add_weighted_spectrum(
        self, total: Array, spectrum: Array, samples: FloatArray, sample_steps: Sequence[float] | AnyArray
    ) -> None:
        """total += weight(|k|) * the low frequencies of a half spectrum; ``total`` may be smaller than ``spectrum``.

        The weight interpolates ``samples`` (n,) linearly; ``sample_steps``: samples per row and per column.
        """
        ...

    def multiply_interpolated(self, total: Array, factors: AnyArray) -> None:
        """A half spectrum times complex ``factors``, in place.

        ``factors`` (rows, columns) on the host cover ky from -Nyquist to Nyquist and kx from 0 to Nyquist, bilinear in
        between.
        """
        ...
