"""Movies as cameras write them, behind one interface."""

from restframe.movie.fractions import Fractions, fractions
from restframe.movie.movie import ArrayMovie, Movie
from restframe.movie.raw import RawFrames
from restframe.movie.read import open_movie, read_frames

__all__ = ["ArrayMovie", "Fractions", "Movie", "RawFrames", "fractions", "open_movie", "read_frames"]
