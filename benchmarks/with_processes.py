"""The command with several processes that correct movies, as on GPUs, on a computer without a GPU.

    python benchmarks/with_processes.py -InMrc movies/ -Serial 1 -OutMrc out/ --threads 3 ...

On the CPU the command corrects one movie at a time. Here it believes that there is room for three, so that what
happens to processes that are killed, or get a signal, can be tried everywhere.
"""

from __future__ import annotations

import sys

MOVIES_AT_ONCE = 3


def main() -> int:
    from restframe.batch import runner
    from restframe.cli.main import main as restframe
    from restframe.movie.raw import RawFrames

    RawFrames.concurrent_movies = MOVIES_AT_ONCE  # type: ignore[assignment,method-assign]
    runner.MOVIES_PER_START = 1  # type: ignore[misc]
    return restframe(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
