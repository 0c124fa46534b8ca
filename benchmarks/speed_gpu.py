"""Speed on a GPU: stage by stage against what the card can do, decoding and copying by themselves, batches.

    python benchmarks/speed.py --device gpu --out speed.json

makes its own movies (K3: 5760 x 4092 x 40, LZW and Deflate; EER: 4096², 1000 raw frames), so it needs nothing but the
GPU, 30 GB of memory and 5 GB on the disk of --folder.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
from gpu_movies import make, save, save_eer
from watched import watched

from restframe.cores import available_cores
from restframe.settings import Settings, with_choices

K3 = (40, 4092, 5760)
REPEATS = 20
CHOICES = {"pixel_size": 0.85, "frame_dose": 1.2, "patches": (7, 5), "gpus": (0,)}


def median_ms(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Between two events on the GPU, after one run that is not counted."""
    import cupy

    work()
    times = []
    for _ in range(repeats):
        before, after = cupy.cuda.Event(), cupy.cuda.Event()
        before.record()
        work()
        after.record()
        after.synchronize()
        times.append(cupy.cuda.get_elapsed_time(before, after))
    return statistics.median(times)


def median_s(work: Callable[[], object], repeats: int = 3) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


HOLD = """extern "C" __global__ void hold(long long ns) {
    long long start, now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start));
    do asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    while (now - start < ns);
}"""
HELD = 5_000_000  # ns: longer than the host takes for what one call does


class Timed:
    """The kernels, each call between two events; sums by function. The GPU is held before each, so that it goes from
    one kernel to the next without waiting for the host.
    """

    def __init__(self, kernels) -> None:
        import cupy

        self.kernels = kernels
        self.events: list[tuple[str, object, object]] = []
        self.hold = cupy.RawKernel(HOLD, "hold")

    def single_threaded(self) -> Timed:
        return self

    def __getattr__(self, name: str):
        import cupy

        function = getattr(self.kernels, name)
        if not callable(function) or name in ("to_device", "zeros", "empty", "empty_spectra", "parallel_map", "active"):
            return function

        def timed(*arguments):
            before, after = cupy.cuda.Event(), cupy.cuda.Event()
            self.hold((1,), (1,), (HELD,))
            before.record()
            result = function(*arguments)
            after.record()
            self.events.append((name, before, after))
            return result

        return timed

    def ms(self) -> dict[str, float]:
        import cupy

        cupy.cuda.Device().synchronize()
        sums: dict[str, float] = {}
        for name, before, after in self.events:
            sums[name] = sums.get(name, 0.0) + cupy.cuda.get_elapsed_time(before, after)
        self.events.clear()
        return sums


class OnDevice:
    """Raw frames that lie in GPU memory."""

    keep_frames, fits_another_movie, supports_frame_groups, limiting_setting = True, True, False, ""

    def __init__(self, frames) -> None:
        self.frames, self.shape, self.dtype, self.frames_per_block = frames, frames.shape, frames.dtype, len(frames)

    def __len__(self) -> int:
        return len(self.frames)

    def blocks(self):
        yield slice(0, len(self)), self.frames

    def blocks_including(self, frames):
        return self.blocks()

    def release_frames(self, frames) -> None: ...

    def load(self) -> None: ...

    def release(self) -> None: ...


def ceilings() -> dict[str, float]:
    """Of the card, measured: GB/s of a copy (read and written), GFLOP/s of a float32 matrix product."""
    import cupy

    source = cupy.random.randint(0, 255, 1 << 30, dtype=cupy.uint8)
    target = cupy.empty_like(source)
    matrix = cupy.random.standard_normal((8192, 8192), dtype=cupy.float32)
    return {
        "copy_gb_s": 2 * source.nbytes / median_ms(lambda: cupy.copyto(target, source)) / 1e6,
        "float32_gflop_s": 2 * 8192**3 / median_ms(lambda: matrix @ matrix) / 1e6,
    }


def stages(counts: np.ndarray, gain: np.ndarray, settings: Settings, say: Callable[[str], None]) -> dict:
    """Of the K3 movie in GPU memory: ms of each kernel, GPU time and wall time from raw frames to finished sums."""
    import cupy

    from restframe.session import Session

    session = Session(with_choices(settings, {"gain": gain}))
    frames = cupy.asarray(counts)
    prepared = replace(session.prepare(counts), raw=OnDevice(frames))
    wall = median_s(lambda: session.correct_prepared(prepared), REPEATS)
    timed, runs = Timed(session.kernels), []
    session.kernels = timed
    for _ in range(REPEATS + 1):
        session.correct_prepared(prepared)
        runs.append(timed.ms())
    names = sorted({name for run in runs for name in run})
    by_kernel = {name: statistics.median(run.get(name, 0.0) for run in runs[1:]) for name in names}
    copies = by_kernel.pop("to_host", 0.0)
    total = statistics.median(
        sum(milliseconds for kernel, milliseconds in run.items() if kernel != "to_host") for run in runs[1:]
    )
    return {"by_kernel_ms": by_kernel, "to_host_ms": copies, "gpu_ms": total, "wall_s": wall}


def counted(counts: np.ndarray, images: int) -> dict[str, tuple[float, float]]:
    """Minimum GB and GFLOP of the kernels that process all frames: each value read or written once."""
    frame_count, height, width = counts.shape
    pixels = frame_count * height * width
    binned_pixels = pixels / 4
    return {
        "add_frames": (pixels / 1e9 + height * width * 8 / 1e9, 3 * pixels / 1e9),
        "make_binned_frames": (pixels / 1e9 + binned_pixels / 1e9, binned_pixels * (12 + 24) * 2 / 1e9),
        "gather": (pixels / 1e9 + images * height * width * 8 / 1e9, pixels * (2 * 20 + 2 * 28 + 2 * images) / 1e9),
    }


def decoding(files: dict[str, Path], say: Callable[[str], None]) -> dict:
    """ms on the GPU and s on the CPU; upload: page cache to GPU; together: reading a movie completely."""
    import cupy

    from restframe.kernels.cuda import decode, device_frames
    from restframe.movie import RawFrames, open_movie
    from restframe.movie.compressed import compressed_events, compressed_strips
    from restframe.session import Session

    results = {}
    for name, path in files.items():
        movie = open_movie(path)
        raw = Session(gpus=(0,)).prepare(movie).raw.raw
        numbers = raw.frame_numbers
        packed = compressed_strips(raw.movie, numbers) or compressed_events(raw.movie, numbers)
        first, last = int(packed.offsets.min()), int((packed.offsets + packed.counts).max())
        data = device_frames.upload(path, first, last)
        start, count = packed.offsets.ravel() - first, packed.counts.ravel()
        if name == "eer":
            place = cupy.zeros(raw.shape, raw.dtype)

            def work(start=start, count=count, data=data, packed=packed, place=place):
                decode.add_events(data, start, count, packed.coding, packed.level, packed.targets, place)
        else:
            size = np.tile(packed.sizes, len(packed.offsets))

            def work(start=start, count=count, data=data, packed=packed, size=size):
                decode.decode(packed.codec, data, start, count, size)

        results[name] = {
            "file_mb": path.stat().st_size / 1e6,
            "streams": len(start),
            "decode_gpu_ms": median_ms(work, 5),
            "upload_ms": 1e3
            * median_s(
                lambda file=path, first_byte=first, end_byte=last: device_frames.upload(file, first_byte, end_byte)
            ),
            "together_gpu_ms": 1e3 * median_s(lambda raw=raw: device_frames.DeviceFrames(raw, 0.75).load()),
            "decode_cpu_s": median_s(lambda raw=raw: RawFrames(raw.movie, raw.frame_numbers).load(), 1),
        }
        say(f"{name}: {results[name]}")
        del data
    return results


START = 24  # movies, during which a batch's processes start


def batch(path: Path, gain: Path | str, folder: Path, start: int, movies: int, more_arguments: list[str]) -> dict:
    """Seconds per movie in `restframe -Serial 1`, from the difference of two lengths of batch; peak memory of all its
    processes, and on the GPU.
    """
    times, host, device = {}, 0.0, 0.0
    for movie_count in (start, start + movies):
        shutil.rmtree(folder / "in", ignore_errors=True)
        shutil.rmtree(folder / "done", ignore_errors=True)
        (folder / "in").mkdir()
        (folder / "done").mkdir()
        for movie_index in range(movie_count):
            os.symlink(path, folder / "in" / f"m{movie_index:03d}{path.suffix}")
        flag = "-InEer" if path.suffix == ".eer" else "-InTiff"
        arguments = [flag, f"{folder}/in/m", "-InSuffix", path.suffix[1:], "-OutMrc", f"{folder}/done/", "-Serial", "1"]
        arguments += (["-Gain", str(gain)] if gain else []) + more_arguments
        times[movie_count], host, device = watched(command(arguments), usual(), taken_on_gpu)
    return {
        "s_per_movie": (times[start + movies] - times[start]) / movies,
        f"first_{start}_s": times[start],
        "peak_host_gb": host,
        "peak_gpu_gb": device,
    }


def taken_on_gpu() -> int:
    import cupy

    free, total = cupy.cuda.runtime.memGetInfo()
    return total - free


def resources(path: Path, sums: list[np.ndarray], folder: Path, decoded: dict, gpu_ms: float) -> dict[str, float]:
    """Seconds that each resource is needed for one movie, each by itself."""
    from restframe.output.images import mrc_writer

    def write() -> None:
        for image_index, image in enumerate(sums):
            mrc_writer(image, 1.0)(folder / f"alone{image_index}.mrc")

    return {
        "read": median_s(lambda: path.read_bytes()),
        "copy": decoded["upload_ms"] / 1e3,
        "decode": decoded["decode_gpu_ms"] / 1e3,
        "compute": gpu_ms / 1e3,
        "write": median_s(write),
    }


def usual() -> dict[str, str]:
    """The environment, in which Python keeps compiled modules."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "restframe", *arguments, "-Gpu", "0"]


def run(arguments: list[str]) -> None:
    done = subprocess.run(command(arguments), capture_output=True, text=True, env=usual())
    if done.returncode or done.stderr:
        raise SystemExit(f"{done.stdout[-2000:]}\n{done.stderr}")


def fresh(path: Path, gain: Path, folder: Path) -> float:
    """Wall time of one process, kernels compiled before, sums written to new files: to take an old one's place costs
    time.
    """
    given, number = ["-InTiff", str(path), "-Gain", str(gain), *FLAGS, "-Patch", "7", "5"], count()
    return median_s(lambda: run([*given, "-OutMrc", str(folder / f"one{next(number)}.mrc")]))


FLAGS = ["-PixSize", "0.85", "-kV", "300", "-FmDose", "1.2"]


def measure(folder: Path, movies: int, say: Callable[[str], None] = print) -> dict:
    import cupy
    import mrcfile

    properties = cupy.cuda.runtime.getDeviceProperties(0)
    results: dict = {"device": properties["name"].decode(), "cores": available_cores(), **ceilings()}
    say(
        f"{results['device']}, {results['cores']} cores; copy {results['copy_gb_s']:.0f} GB/s, "
        f"float32 {results['float32_gflop_s']:.0f} GFLOP/s"
    )
    counts, gain = make(K3, 0.9)
    with mrcfile.new(folder / "gain.mrc", overwrite=True) as mrc:
        mrc.set_data(gain[::-1])  # rows of a TIFF are flipped on reading
    settings = with_choices(Settings(), CHOICES)
    results["stages"] = stages(counts, gain, settings, say)
    for name, milliseconds in sorted(results["stages"]["by_kernel_ms"].items(), key=lambda item: -item[1]):
        gigabytes, gflop = counted(counts, 10).get(name, (0, 0))
        percent = gigabytes / milliseconds * 1e5 / results["copy_gb_s"]
        share = f"{gigabytes:6.2f} GB, {percent:3.0f} % of copying; {gflop:6.0f} GFLOP" if gigabytes else ""
        say(f"  {name:16s} {milliseconds:8.2f} ms  {share}")
    stage_results = results["stages"]
    say(
        f"  GPU {stage_results['gpu_ms']:.1f} ms, copies to the host {stage_results['to_host_ms']:.1f} ms, "
        f"wall {stage_results['wall_s']:.3f} s per movie"
    )
    files = {
        "lzw": save(folder / "k3_lzw.tif", counts, "lzw", 45),
        "deflate": save(folder / "k3_zip.tif", counts, "zlib", 45),
    }
    k2 = save(folder / "k2.tif", counts[:24, :3838, :3710].copy(), "lzw", 45)
    with mrcfile.new(folder / "k2gain.mrc", overwrite=True) as mrc:
        mrc.set_data(gain[:3838, :3710][::-1])
    files["eer"] = save_eer(folder / "m.eer", 4096, 1000, 0.03)
    del counts
    cupy.get_default_memory_pool().free_all_blocks()
    results["decoding"] = decoding(files, say)
    cupy.get_default_memory_pool().free_all_blocks()
    results["fresh_process_s"] = fresh(files["lzw"], folder / "gain.mrc", folder)
    say(f"one movie, fresh process: {results['fresh_process_s']:.2f} s")
    sums = [np.random.default_rng(0).normal(size=K3[1:]).astype(np.float32) for _ in range(3)]
    results["alone_s"] = resources(files["lzw"], sums, folder, results["decoding"]["lzw"], stage_results["gpu_ms"])
    say(f"each resource alone, K3 LZW: {results['alone_s']}")
    for name, path, reference, start, movie_count, more in (
        ("batch_k3_lzw", files["lzw"], "gain.mrc", START, movies, ["-Patch", "7", "5"]),
        ("batch_k2_lzw", k2, "k2gain.mrc", START, movies, ["-Patch", "5", "5"]),
        ("batch_eer", files["eer"], "", START, movies // 2, ["-Patch", "5", "5"]),
    ):
        results[name] = batch(path, reference and folder / reference, folder, start, movie_count, [*FLAGS, *more])
        say(f"{name}: {results[name]}")
    for name, shape, rate, start, more in (
        ("batch_k3_super", (40, 8184, 11520), 0.225, 8, ["-FtBin", "2"]),
        ("batch_k3_200", (200, 4092, 5760), 0.9, 8, []),
    ):
        counts, gain = make(shape, rate)
        with mrcfile.new(folder / "large.mrc", overwrite=True) as mrc:
            mrc.set_data(gain[::-1])
        path = save(folder / "large.tif", counts, "lzw", 45)
        del counts
        cupy.get_default_memory_pool().free_all_blocks()
        given = [*FLAGS, "-Patch", "7", "5", *more]
        alone = ["-InTiff", str(path), "-Gain", str(folder / "large.mrc"), "-OutMrc", str(folder / "large_sum.mrc")]
        _, host, device = watched(command([*alone, *given]), usual(), taken_on_gpu)
        results[name] = batch(path, folder / "large.mrc", folder, start, max(movies // 5, 2), given)
        results[name] |= {"one_host_gb": host, "one_gpu_gb": device}
        say(f"{name}: {results[name]}")
    return results
