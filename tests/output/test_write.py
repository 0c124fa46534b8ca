"""All files of one movie together."""

from pathlib import Path

import numpy as np
import pytest

from restframe.errors import OutputError
from restframe.output.names import image_paths
from restframe.output.write import write_result
from restframe.result import Result
from restframe.track.field import MotionField

IMAGE = np.ones((4, 6), np.float32)
FIELD = MotionField.at_rest(2, (4, 6))


def test_only_what_the_result_has_and_the_sum_last(tmp_path):
    images = image_paths(str(tmp_path / "x.mrc"))
    result = Result(IMAGE, 1.0, FIELD, dose_weighted=IMAGE, even=IMAGE)
    paths = write_result(result, images, {tmp_path / "x.log": "text\n"})
    assert [p.name for p in paths] == ["x_DW.mrc", "x_EVN.mrc", "x.mrc"]
    assert {p.name for p in tmp_path.iterdir()} == {"x.log", "x_DW.mrc", "x_EVN.mrc", "x.mrc"}


def test_the_sum_does_not_appear_when_another_file_cannot_be_placed(tmp_path):
    images = image_paths(str(tmp_path / "x.mrc"))
    (tmp_path / "x.mrc").write_bytes(b"old")
    (tmp_path / "x_DW.mrc").mkdir()
    with pytest.raises(OutputError, match=r"x_DW\.mrc"):
        write_result(Result(IMAGE, 1.0, FIELD, dose_weighted=IMAGE), images, {})
    assert (tmp_path / "x.mrc").read_bytes() == b"old"
    assert sorted(p.name for p in Path(tmp_path).iterdir()) == ["x.mrc", "x_DW.mrc"]
