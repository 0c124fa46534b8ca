"""The shift table, as its readers read it."""

import numpy as np
import pytest

from restframe.output.text import shift_table


def test_the_table_to_the_letter():
    assert shift_table(np.array([[-0.0, 0.0], [-0.8321, 0.5239], [-0.0004, 123.4]])) == [
        "",
        "Full-frame alignment shift",
        "...... Frame (  1) shift:     0.000      0.000",
        "...... Frame (  2) shift:    -0.832      0.524",
        "...... Frame (  3) shift:     0.000    123.400",
        "",
    ]


@pytest.mark.parametrize("count", [1, 3, 1200])
@pytest.mark.parametrize("scale", [1, 1e6])
def test_numbers_are_found_after_the_colon(count, scale):
    shifts = np.random.default_rng(1).normal(0, 5 * scale, (count, 2))
    rows = shift_table(shifts)[2:-1]
    read = [[float(v) for v in row[row.index("shift:") + 7 :].split()] for row in rows]
    np.testing.assert_allclose(read, shifts, atol=5.1e-4)
    np.testing.assert_allclose([[float(v) for v in row.split()[-2:]] for row in rows], read)
