"""How fast a movie is corrected, and where the time goes: a table, and JSON with --out.

python benchmarks/speed.py --device gpu
python benchmarks/speed.py --device cpu
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import speed_cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="gpu")
    parser.add_argument("--out", type=Path, help="JSON")
    parser.add_argument("--folder", type=Path, help="for the movies; a temporary one unless given")
    parser.add_argument(
        "--movies", type=int, default=40, help="in a batch, beyond those during which its processes start (40)"
    )
    speed_cpu.arguments(parser)
    options = parser.parse_args()
    if options.device == "cpu" and options.scaling:
        import scaling

        found = scaling.measure_scaling(options.cache, options.threads, options.repeats)
    elif options.device == "cpu":
        found = speed_cpu.from_options(options)
    else:
        import speed_gpu

        if options.folder:
            options.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            found = speed_gpu.measure(Path(folder), options.movies)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
