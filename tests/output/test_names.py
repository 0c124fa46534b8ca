"""Names of images and logs."""

import pytest

from restframe.output.names import image_paths, log_dir_base, log_file_base


@pytest.mark.parametrize(
    ("out", "root"),
    [
        ("mc/movie.mrc", "mc/movie"),
        ("mc/movie.MRC", "mc/movie"),
        ("mc/movie", "mc/movie"),
        ("a b, c.mrc", "a b, c"),
        ("run.mrc_d/x.store/y.mrc", "run.mrc_d/x.store/y"),
        ("temphost.gpuid_0_sum.mrc", "temphost.gpuid_0_sum"),
        ("s.mrc.1.mrc", "s.mrc.1"),
        ("s.mrcs", "s"),
        ("s.tif", "s.tif"),
    ],
)
def test_images(out, root):
    paths = {name: str(path) for name, path in image_paths(out).items()}
    assert paths == {
        "sum": f"{root}.mrc",
        "dose_weighted": f"{root}_DW.mrc",
        "dose_weighted_range": f"{root}_DWS.mrc",
        "odd": f"{root}_ODD.mrc",
        "even": f"{root}_EVN.mrc",
    }
    assert list(paths)[-1] == "sum"


@pytest.mark.parametrize("folder", ["log", "log/", "./log"])
@pytest.mark.parametrize(
    ("movie", "stem"),
    [("m/m-1.tiff", "m-1"), ("m.TIF", "m"), ("x.tif.d/a.b.eer", "a.b"), ("a.mrc.tif", "a"), ("a.dat", "a.dat")],
)
def test_logs_in_a_folder(folder, movie, stem):
    assert log_dir_base(folder, movie) == f"log/{stem}"


@pytest.mark.parametrize("name", ["mc/movie", "x_aligned.log", "./x"])
def test_logs_with_a_given_start(name):
    assert log_file_base(name) == name + "0"
