"""The command with movies whose metadata state pixel size and dose, and with stacks behind one directory."""

import bz2

import mrcfile
import numpy as np
import pytest
import tifffile

from restframe.cli.main import main
from restframe.movie.events import CODINGS
from restframe.simulate.eer import electrons, write_eer

XML = (
    '<metadata><item name="sensorPixelSize.height">{pixel}</item><item name="sensorPixelSize.width">{pixel}</item>'
    '<item name="totalDose">{dose}</item></metadata>\0'
)


@pytest.fixture
def movie(tmp_path):
    counts = np.random.default_rng(0).poisson(6, (96, 128))
    frames = electrons(counts, 60, CODINGS[65001], np.random.default_rng(1))
    write_eer(tmp_path / "m.eer", (96, 128), frames, 65001, metadata=XML.format(pixel=0.9e-10, dose=48.6).encode())
    return tmp_path / "m.eer"


@pytest.mark.parametrize(
    ("arguments", "pixel_size", "weighted"),
    [
        ([], 0.9, True),
        (["-EerSampling", "2"], 0.45, True),
        (["-EerSampling", "2", "-PixSize", "0.9", "-OutStack", "1"], 0.45, True),
        (["-EerSampling", "2", "-PixSize", "0.45"], 0.45, True),
        (["-EerSampling", "3", "-PixSize", "0.9", "-FtBin", "2"], 0.45, True),
    ],
)
def test_defaults_from_the_file(movie, tmp_path, capfd, arguments, pixel_size, weighted):
    assert main(["-InEer", str(movie), "-OutMrc", str(tmp_path / "o.mrc"), *arguments]) == 0
    output = capfd.readouterr()
    assert output.err == "" and "Dose: 1 e/A² per raw frame, from the movie's metadata." in output.out
    assert "no dose weighting" not in output.out
    for name in ["o.mrc"] + ["o_DW.mrc"] * weighted + ["o_Stk.mrc"] * ("-OutStack" in arguments):
        with mrcfile.open(tmp_path / name) as file:
            assert file.voxel_size.x == pytest.approx(pixel_size, rel=1e-4)


def test_values_that_differ_are_named(movie, tmp_path, capfd):
    arguments = ["-InEer", str(movie), "-OutMrc", str(tmp_path / "o.mrc"), "-PixSize", "1.2", "-FmDose", "2"]
    assert main(arguments) == 0
    text = capfd.readouterr().out
    assert "Warning: -PixSize 1.2: the movie's metadata say 0.9 A for a pixel." in text
    assert "Warning: -FmDose 2: 2 e/A² per raw frame, 120 in all; the movie's metadata say 1, 60 in all." in text


def test_dose_without_a_pixel_size(tmp_path, capfd):
    frames = electrons(np.full((64, 64), 3), 20, CODINGS[65001], np.random.default_rng(1))
    write_eer(tmp_path / "m.eer", (64, 64), frames, 65001)
    assert main(["-InEer", str(tmp_path / "m.eer"), "-OutMrc", str(tmp_path / "o.mrc"), "-FmDose", "1"]) == 0
    assert "Warning: no dose weighting, which needs -PixSize." in capfd.readouterr().out


def test_equal_sums_of_equal_frames(tmp_path, capfd):
    """One TIFF with a directory for each frame, an ImageJ stack, compressed MRC: one sum."""
    frames = np.random.default_rng(2).poisson(5, (4, 64, 80)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "plain.tif") as file:
        for frame in frames:
            file.write(frame, photometric="minisblack", metadata=None)
    tifffile.imwrite(tmp_path / "imagej.tif", frames, imagej=True, truncate=True)
    with mrcfile.new(tmp_path / "m.mrc", frames[:, ::-1].astype(np.int16)) as file:
        file.set_image_stack()
    (tmp_path / "m.mrc.bz2").write_bytes(bz2.compress((tmp_path / "m.mrc").read_bytes()))
    sums = []
    for name, flags in (
        ("plain.tif", []),
        ("imagej.tif", []),
        ("m.mrc.bz2", []),
        ("m.mrc.bz2", ["--max-memory", "1GB"]),
    ):
        assert main(["-InTiff", str(tmp_path / name), "-OutMrc", str(tmp_path / "o.mrc"), *flags]) == 0
        sums.append(mrcfile.read(tmp_path / "o.mrc"))
    for other in sums[1:]:
        np.testing.assert_allclose(other, sums[0], rtol=1e-6)
    assert "its ImageJ description says 4 frames" in capfd.readouterr().out
