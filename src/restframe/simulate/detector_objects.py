"""What stands still on the detector: defects that no list names, uneven light, a fixed texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from restframe.arrays import AnyArray, BoolArray, FloatArray, IntArray
from restframe.simulate.recipe import Recipe

OBJECT_STREAM, COUNT_STREAM = 8, 9  # of random numbers
CLUSTER_RATE = 3.0  # of the mean count, plus 1
CLUSTER_SIDE_PX = 4, 8  # range
BAND_WIDTH_PX = 9, 24
BLOCK_SIDE_PX = 24, 48
GAP_COLUMNS, GAP_ROWS, GAP_PIXELS = 12, 38, 300
DUST_DIAMETER_PX = 15.0, 60.0
DUST_TRANSMISSION = 0.6, 0.97
SCRATCH_WIDTH_PX, SCRATCH_TRANSMISSION = 3.0, 0.7
SOFT_EDGE_PX = 1.0  # of dust and scratches
TEXTURE_BLOCK_PX = 144
TEXTURE_SIGMA_PX = 1.5
POISSON, ALL_BITS = -1, -2  # in place of a constant count


@dataclass(frozen=True, eq=False)
class StandingObjects:
    """Objects of one movie; what changes its counts."""

    seed: int
    defects: IntArray  # (n, 4) x, y, width, height of unlisted defects in pixels
    counts: IntArray  # (n,) constant count of each defect, `POISSON` or `ALL_BITS`
    defect_rate: float  # mean count per frame of a `POISSON` defect
    transmission: FloatArray | None  # (h, w) fraction of the electrons that are counted; None: all
    texture: FloatArray | None  # (h, w) mean counts that replace those of the movie, NaN elsewhere; None: nowhere

    def apply(self, counts: AnyArray, frame: int) -> AnyArray:
        """The counts (h, w) of a frame as they are with these objects."""
        random = np.random.default_rng([self.seed, COUNT_STREAM, frame])
        largest = np.iinfo(counts.dtype).max
        result = counts.copy()
        if self.transmission is not None:
            dimmed = self.transmission < 1
            result[dimmed] = random.binomial(counts[dimmed], self.transmission[dimmed])
        if self.texture is not None:
            replaced = np.isfinite(self.texture)
            result[replaced] = np.minimum(random.poisson(self.texture[replaced]), largest)
        for (left, top, width, height), count in zip(self.defects.tolist(), self.counts.tolist(), strict=True):
            region = result[top : top + height, left : left + width]
            if count == POISSON:
                region[:] = np.minimum(random.poisson(self.defect_rate, region.shape), largest)
            else:
                region[:] = largest if count == ALL_BITS else count
        return result

    def defect_mask(self, shape: tuple[int, int]) -> BoolArray:
        """Mask (h, w) of the unlisted defects."""
        mask = np.zeros(shape, bool)
        for left, top, width, height in self.defects.tolist():
            mask[top : top + height, left : left + width] = True
        return mask


def make_standing_objects(recipe: Recipe, gain: FloatArray) -> StandingObjects | None:
    """Draw the objects of a recipe; None where there are none. ``gain``: (h, w), the true one."""
    objects = recipe.detector_objects
    if objects == type(objects)():
        return None
    random = np.random.default_rng([recipe.seed, OBJECT_STREAM])
    mean_count = recipe.frame_dose * recipe.pixel_size**2
    defects, counts = _draw_defects(recipe, random)
    transmission = _draw_transmission(recipe, random)
    texture = _draw_texture(recipe, random)
    if texture is not None:
        texture = mean_count * texture / gain
    return StandingObjects(recipe.seed, defects, counts, CLUSTER_RATE * mean_count + 1, transmission, texture)


def _draw_defects(recipe: Recipe, random: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Rectangles (n, 4) and their counts (n,)."""
    objects, (_, height, width) = recipe.detector_objects, recipe.shape
    rectangles: list[tuple[int, int, int, int]] = []
    counts: list[int] = []

    def add(rectangle_width: int, rectangle_height: int, count: int) -> None:
        left = int(random.integers(0, width - rectangle_width + 1))
        top = int(random.integers(0, height - rectangle_height + 1))
        rectangles.append((left, top, rectangle_width, rectangle_height))
        counts.append(count)

    def draw_side(low: int, high: int) -> int:
        return int(random.integers(low, high + 1))

    for _ in range(objects.clusters):
        add(draw_side(*CLUSTER_SIDE_PX), draw_side(*CLUSTER_SIDE_PX), POISSON)
    for _ in range(objects.blocks):
        add(draw_side(*BLOCK_SIDE_PX), draw_side(*BLOCK_SIDE_PX), int(random.choice((0, ALL_BITS))))
    for _ in range(objects.bands):
        band_width, along_columns = draw_side(*BAND_WIDTH_PX), random.random() < 0.5
        sides = (band_width, height) if along_columns else (width, band_width)
        add(*sides, int(random.choice((0, ALL_BITS))))
    if objects.gaps:
        add(GAP_COLUMNS, height, ALL_BITS)
        add(width, GAP_ROWS, ALL_BITS)
        for _ in range(GAP_PIXELS):
            add(1, 1, ALL_BITS)
    return np.array(rectangles, int).reshape(-1, 4), np.array(counts, int)


def _draw_transmission(recipe: Recipe, random: np.random.Generator) -> FloatArray | None:
    """(h, w) float32: beam, dust, scratches and a wrong quadrant."""
    objects, (_, height, width) = recipe.detector_objects, recipe.shape
    if not (objects.beam_radius or objects.dust or objects.scratches or objects.quadrant_gain != 1):
        return None
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]
    transmission = np.ones((height, width), np.float32)

    def dim(distance_inside: FloatArray, edge_width: float, inside: float) -> None:
        """Multiply by ``inside`` where ``distance_inside`` is above 0."""
        coverage = 1 / (1 + np.exp(-np.clip(4 * distance_inside / edge_width, -40, 40)))
        np.multiply(transmission, 1 - (1 - inside) * coverage, out=transmission)

    if objects.beam_radius:
        edge_width = float(np.exp(random.uniform(*np.log(objects.beam_edge_px))))
        distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
        dim(distance - objects.beam_radius * min(height, width), edge_width, 0.0)
    for _ in range(objects.dust):
        radius = random.uniform(*DUST_DIAMETER_PX) / 2
        centre_x, centre_y = random.uniform(0, width), random.uniform(0, height)
        distance = np.hypot(y - centre_y, x - centre_x)
        dim(radius - distance, SOFT_EDGE_PX, random.uniform(*DUST_TRANSMISSION))
    for _ in range(objects.scratches):
        angle = random.uniform(0, np.pi)
        centre_x, centre_y = random.uniform(0.2, 0.8, 2) * (width, height)
        along = (x - centre_x) * np.cos(angle) + (y - centre_y) * np.sin(angle)
        across = (y - centre_y) * np.cos(angle) - (x - centre_x) * np.sin(angle)
        inside = np.minimum(SCRATCH_WIDTH_PX / 2 - abs(across), random.uniform(0.1, 0.3) * width - abs(along))
        dim(inside, SOFT_EDGE_PX, SCRATCH_TRANSMISSION)
    if objects.quadrant_gain != 1:
        first_row, first_column = random.integers(0, 2, 2)
        rows = slice(first_row * (height // 2), height // 2 + first_row * height)
        columns = slice(first_column * (width // 2), width // 2 + first_column * width)
        transmission[rows, columns] *= objects.quadrant_gain
    return transmission


def _draw_texture(recipe: Recipe, random: np.random.Generator) -> FloatArray | None:
    """(h, w) float32, one on average in blocks that cover ``texture_area``, NaN elsewhere."""
    objects, (_, height, width) = recipe.detector_objects, recipe.shape
    if not objects.texture_area:
        return None
    side = min(TEXTURE_BLOCK_PX, height // 2, width // 2)
    contrast = np.exp(random.uniform(*np.log(objects.texture_contrast)))
    pattern = ndimage.gaussian_filter(random.standard_normal((height, width), np.float32), TEXTURE_SIGMA_PX)
    pattern = np.maximum(1 + contrast * pattern / pattern.std(), 0)
    # whole blocks of a grid, so that they do not overlap
    rows, columns = np.divmod(np.arange((height // side) * (width // side)), width // side)
    block_count = min(max(1, round(objects.texture_area * height * width / side**2)), len(rows))
    texture = np.full((height, width), np.nan, np.float32)
    for block in random.choice(len(rows), block_count, replace=False):
        top, left = rows[block] * side, columns[block] * side
        texture[top : top + side, left : left + side] = pattern[top : top + side, left : left + side]
    return texture
