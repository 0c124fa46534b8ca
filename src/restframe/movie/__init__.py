"""Movies as cameras write them, behind one interface (`Movie`)."""

from restframe.movie.fractions import Fractions, make_fractions
from restframe.movie.movie import ArrayMovie, Movie
from restframe.movie.raw import RawFrames
from restframe.movie.read import open_movie, read_frames

__all__ = ["ArrayMovie", "Fractions", "Movie", "RawFrames", "make_fractions", "open_movie", "read_frames"]
