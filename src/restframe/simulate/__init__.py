"""Movies with known motion, to measure how well it is found and undone."""

from restframe.simulate.files import write
from restframe.simulate.motion import Truth
from restframe.simulate.movie import Simulated, simulate
from restframe.simulate.recipe import PRESETS, Recipe

__all__ = ["PRESETS", "Recipe", "Simulated", "Truth", "simulate", "write"]
