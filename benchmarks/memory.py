"""Peak memory of one movie's process (ru_maxrss), with the raw frames kept and with --max-memory, and whether both
give the same bytes.

`--super-resolution` makes the K3 movie of MotionCor2's manual, section 1.1: 11520 x 8184 x 100, 8 bits. It needs about
4 GB of disk and is simulated cheaply: Poisson counts around a smooth image that drifts by known shifts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from cheap import cheap_movie
from movies import DEFAULT_CACHE
from speed_cpu import movie_folder, restframe_command, run, show

from restframe.cores import available_cores

SUPER = (100, 8184, 11520)  # (t, h, w)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default="falcon", help="of restframe simulate")
    parser.add_argument("--movie", type=Path, help="a folder that restframe simulate made, instead of --kind")
    parser.add_argument("--size", type=int, help="at most so many pixels along an edge")
    parser.add_argument("--super-resolution", action="store_true")
    parser.add_argument("--limit", default="", help="for the second run: as after --max-memory; without it, one run")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--json", type=Path, help="write the results there")
    args = parser.parse_args()

    if args.super_resolution:
        movie = cheap_movie(args.cache / "files-k3-super-resolution", SUPER)
    else:
        movie = (args.movie or movie_folder(args.kind, args.size, None, args.cache)).resolve()
    costs, files = {}, {}
    print(f"{movie.name}\n{'':<40}{'wall':>10} {'CPU':>10} {'peak memory':>12}")
    for name, more in {"frames kept": (), f"--max-memory {args.limit}": ("--max-memory", args.limit)}.items():
        if more and not args.limit:
            continue
        with tempfile.TemporaryDirectory() as folder:
            costs[name] = run(restframe_command(movie, args.threads, Path(folder), *more), Path(folder))
            files[name] = {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.mrc"))}
        show(name, costs[name])
    same = len(files) > 1 and all(other == next(iter(files.values())) for other in files.values())
    if len(files) > 1:
        print("The same bytes." if same else "NOT the same bytes.")
    if args.json:
        result = {
            "movie": str(movie),
            "runs": {name_of_run: asdict(cost) for name_of_run, cost in costs.items()},
            "same_bytes": same,
        }
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    if len(files) > 1 and not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
