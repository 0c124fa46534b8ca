"""How the cost grows with frames, pixels and patches, and the gain by a second thread. For speed.py --scaling."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from cheap import cheap_movie
from speed_cpu import Cost, restframe_command, run

MIDDLE = (20, 2048, 2048)  # (t, h, w)
FRAMES = ((10, 2048, 2048), MIDDLE, (40, 2048, 2048))
PIXELS = ((20, 1024, 2048), MIDDLE, (20, 2048, 4096))
PATCHES = (3, 6, 12)


def measure_scaling(cache: Path, threads: int, repeats: int) -> dict:
    """Print costs of the whole process, the best of ``repeats``; the same as numbers."""
    results: dict[str, dict] = {}

    def cost(label: str, shape: tuple[int, int, int], threads: int, patches: int = 5) -> Cost:
        movie = cheap_movie(cache / f"files-cheap-{'x'.join(map(str, shape))}", shape)
        with tempfile.TemporaryDirectory() as name:
            command = restframe_command(movie, threads, Path(name), "-Patch", str(patches), str(patches))
            best = min((run(command, Path(name)) for _ in range(repeats)), key=lambda cost: cost.wall)
        results[label] = asdict(best)
        print(f"{label:<40}{best.wall:8.2f} s {best.cpu:8.2f} s {best.peak:7.2f} GB", flush=True)
        return best

    print(f"{'':<40}{'wall':>10} {'CPU':>10} {'peak memory':>12}")
    nothing = 2, 256, 256
    cost("first run (may compile): 2 x 256 x 256", nothing, threads)
    smallest = cost("next to nothing: 2 x 256 x 256", nothing, threads)
    for name, shapes in (("frames", FRAMES), ("pixels", PIXELS)):
        costs = [
            cost(f"{name}: {frame_count} x {height} x {width}", (frame_count, height, width), threads)
            for frame_count, height, width in shapes
        ]
        extra_costs = [one.cpu - smallest.cpu for one in costs]
        print(f"  CPU time beyond next to nothing, for 1, 2, 4 times the {name}: 1, ", end="")
        print(", ".join(f"{extra / extra_costs[0]:.2f}" for extra in extra_costs[1:]))
    costs = [cost(f"patches: {count} x {count}", MIDDLE, threads, count) for count in PATCHES]
    print(f"  12 x 12 against 3 x 3 patches: {costs[-1].cpu / costs[0].cpu:.2f} times the CPU time")
    one_thread, two_threads = (cost(f"threads: {count}", FRAMES[-1], count) for count in (1, 2))
    print(f"  two threads: {one_thread.wall / two_threads.wall:.2f} times as fast")
    return results
