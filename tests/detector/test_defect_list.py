"""Bad pixels as regions with kinds, and as rectangles that cover exactly them."""

import numpy as np

from restframe.detector.defect_list import defect_file_text, defect_regions, defect_sentence
from restframe.detector.listed import read_defect_file

SHAPE = 120, 200


def bad_positions():
    mask = np.zeros(SHAPE, bool)
    mask[5, 7] = mask[40, 199] = True
    mask[20:24, 30:33] = True
    mask[:, 100:112] = True
    mask[60:90, 10:50] = True
    rows, columns = np.nonzero(mask)
    return mask, np.stack([columns, rows], 1)


def test_kinds_and_the_largest_regions():
    mask, positions = bad_positions()
    regions = defect_regions(positions, SHAPE)
    assert [region.kind for region in regions] == ["band", "block", "cluster", "single pixel", "single pixel"]
    assert regions[0] == ("band", 100, 0, 12, 120, 1440)
    assert sum(region.pixels for region in regions) == mask.sum()
    assert defect_sentence(regions) == (
        "Defects: 2 single pixels, 1 cluster, 1 band, 1 block. Largest (x y w h): 100 0 12 120; 10 60 40 30; 30 20 3 4"
    )
    assert defect_sentence(defect_regions(positions[:0], SHAPE)) == ""


def test_the_written_file_is_read_as_the_same_pixels(tmp_path):
    generator = np.random.default_rng(1)
    for mask in (bad_positions()[0], generator.random(SHAPE) < 0.1, np.zeros(SHAPE, bool), np.ones(SHAPE, bool)):
        rows, columns = np.nonzero(mask)
        path = tmp_path / "defects.txt"
        path.write_text(defect_file_text(np.stack([columns, rows], 1), SHAPE))
        assert np.array_equal(read_defect_file(path, SHAPE), mask)
