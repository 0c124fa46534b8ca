"""Movies with known motion, to measure how well motion is found and corrected."""

from restframe.simulate.files import write
from restframe.simulate.motion import Truth
from restframe.simulate.movie import SimulatedMovie, simulate
from restframe.simulate.recipe import PRESETS, Recipe

__all__ = ["PRESETS", "Recipe", "SimulatedMovie", "Truth", "simulate", "write"]
