"""The STAR file and the gain that it names, read by RELION's polishing itself (relion_motion_refine, 3.1 or later).

Three movies go through restframe and are then listed in a corrected_micrographs.star, by a batch or here by hand.
RELION loads the tracks of particles and writes them without a step of its own optimisation, and cuts particles from the
raw movies.
"""

import re
import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from scipy import ndimage

from restframe.cli.main import main
from restframe.movie.events import Coding
from restframe.output.alignment import read_alignment
from restframe.simulate.eer import encode, write_eer

PROGRAM = shutil.which("relion_motion_refine")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="RELION is not installed (Debian: apt-get install relion)")

FRAMES, HEIGHT, WIDTH, BOX, PIXEL = 8, 320, 384, 32, 1.5
POSITIONS = [(x, y) for x in (70, 190, 310) for y in (60, 160, 250)]
TRACK_TOLERANCE_PX = 0.06
OPTICS_LABELS = ["OpticsGroupName", "OpticsGroup", "MicrographOriginalPixelSize", "Voltage", "SphericalAberration"]
OPTICS_LABELS.append("AmplitudeContrast")
BFACTOR_LABELS = ["MovieFrameNumber", "BfactorUsedForSharpening", "FittedInterceptGuinierPlot"]


def moving_scene(seed, frames=FRAMES):
    """A strong specimen that moves as a whole and, smoothly, from place to place; (t, h, w) expected counts."""
    rng = np.random.default_rng(seed)
    margin = 24
    shape = HEIGHT + 2 * margin, WIDTH + 2 * margin
    scene = np.full(shape, 8.0)
    for y, x in zip(rng.integers(0, shape[0] - 6, 900), rng.integers(0, shape[1] - 6, 900), strict=True):
        scene[y : y + 4, x : x + 4] += 12
    y, x = np.mgrid[:HEIGHT, :WIDTH] + float(margin)
    u, v = x / shape[1] - 0.5, y / shape[0] - 0.5
    for t in range(frames):
        dx = 0.6 * t + (1.2 * u - 0.8 * v + 0.5 * u * v) * t / frames
        dy = -0.4 * t + (0.7 * v + 0.9 * u * u) * t / frames
        yield ndimage.map_coordinates(scene, [y - dy, x - dx], order=1)


def gain_pattern(seed=3):
    """A gain that fits in no other orientation, with some dead pixels."""
    rng = np.random.default_rng(seed)
    gain = np.exp(rng.normal(0, 0.25, (HEIGHT, WIDTH))).astype(np.float32)
    gain[:, : WIDTH // 3] *= 1.5
    gain[: HEIGHT // 4] *= 0.7
    gain[10, 20:24] = 0
    return gain


def as_given(gain, rotation, flip, inverted):
    """The gain file that -RotGain, -FlipGain and -InvGain turn into ``gain``."""
    if inverted:
        gain = np.divide(1, gain, out=np.zeros_like(gain), where=gain != 0)
    if flip == 1:
        gain = gain[::-1]
    if flip == 2:
        gain = gain[:, ::-1]
    return np.ascontiguousarray(np.rot90(gain, rotation))


@pytest.fixture(scope="module")
def movies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("movies")
    gain = gain_pattern()
    safe = np.where(gain == 0, 1, gain)
    for number in range(3):
        rng = np.random.default_rng(50 + number)
        counts = np.stack([rng.poisson(scene / safe) for scene in moving_scene(number)]).astype(np.uint8)
        tifffile.imwrite(folder / f"m{number}.tif", counts[:, ::-1], compression="lzw", photometric="minisblack")
        with mrcfile.new(folder / f"m{number}.mrc", data=counts.astype(np.int16)) as mrc:
            mrc.set_image_stack()
    return folder


@pytest.fixture
def project(movies, tmp_path, monkeypatch):
    for file in movies.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "mc").mkdir()
    monkeypatch.chdir(tmp_path)
    write_reference(BOX, PIXEL)
    return tmp_path


def write_reference(box, pixel):
    """A map, its mask, and a perfect Fourier shell correlation."""
    rng = np.random.default_rng(1)
    radius = np.sqrt(((np.indices((box,) * 3) - box / 2) ** 2).sum(0))
    image = (np.where(radius < box / 4, 1, 0) + 0.3 * rng.normal(size=(box,) * 3) * (radius < box / 4)).astype(
        np.float32
    )
    for name, data in (("half1", image), ("half2", image), ("mask", (radius < box / 3).astype(np.float32))):
        with mrcfile.new(f"{name}.mrc", data=data) as mrc:
            mrc.voxel_size = pixel
    general = {"FinalResolution": 4 * pixel, "MaskName": "mask.mrc"}
    general |= {"UnfilteredMapHalf1": "half1.mrc", "UnfilteredMapHalf2": "half2.mrc"}
    shells = ["SpectralIndex", "Resolution", "AngstromResolution", "FourierShellCorrelationCorrected"]
    rows = [(i, i / box / pixel, box * pixel / i if i else 999, float(i < box // 2 - 2)) for i in range(box // 2 + 1)]
    Path("postprocess.star").write_text(pairs("general", general) + loop("fsc", shells, rows))


def pairs(name, values):
    return f"\ndata_{name}\n\n" + "".join(f"_rln{label} {value}\n" for label, value in values.items()) + "\n"


def loop(name, labels, rows):
    head = "".join(f"_rln{label} #{number}\n" for number, label in enumerate(labels, 1))
    return (
        f"\n# version 30001\n\ndata_{name}\n\nloop_\n{head}"
        + "".join(" ".join(map(str, row)) + "\n" for row in rows)
        + "\n"
    )


def polish(stars, positions, *more, box=BOX, pixel=PIXEL, dose=1.0):
    """Run RELION on movies' STAR files, listed by hand: (its stdout, the folder of its results)."""
    names = [f"mic{number}.mrc" for number in range(len(stars))]
    micrographs = loop("optics", [*OPTICS_LABELS, "MicrographPixelSize"], [[*optics(pixel), pixel]])
    micrographs += loop(
        "micrographs",
        ["MicrographName", "MicrographMetadata", "OpticsGroup"],
        [(name, star, 1) for name, star in zip(names, stars, strict=True)],
    )
    Path("corrected_micrographs.star").write_text(micrographs)
    write_particles(names, positions, box, pixel)
    return refine_motion("corrected_micrographs.star", pixel, "--fdose", str(dose), *more)


def optics(pixel):
    """The values of OPTICS_LABELS."""
    return ["all", 1, pixel, 300, 2.7, 0.07]


def write_particles(names, positions, box, pixel):
    """particles.star: particles at ``positions`` of each micrograph."""
    labels = ["CoordinateX", "CoordinateY", "ImageName", "MicrographName", "OpticsGroup", "RandomSubset", "AngleRot"]
    labels += ["AngleTilt", "AnglePsi", "OriginXAngst", "OriginYAngst", "DefocusU", "DefocusV", "DefocusAngle"]
    particles = loop(
        "optics",
        [*OPTICS_LABELS, "ImagePixelSize", "ImageSize", "ImageDimensionality"],
        [[*optics(pixel), pixel, box, 2]],
    )
    rows = [
        (x, y, f"{number + 1:06d}@parts.mrcs", name, 1, 1 + number % 2, 20, 30, 40, 0, 0, 9000, 9000, 0)
        for name in names
        for number, (x, y) in enumerate(positions)
    ]
    Path("particles.star").write_text(particles + loop("particles", labels, rows))


def refine_motion(micrographs, pixel, *more):
    """Run relion_motion_refine without a step of optimisation: (its stdout, the folder of its results)."""
    shutil.rmtree("Polish", ignore_errors=True)
    Path("Polish").mkdir()
    words = [PROGRAM, "--i", "particles.star", "--f", "postprocess.star", "--m1", "half1.mrc", "--m2", "half2.mrc"]
    words += ["--mask", "mask.mrc", "--corr_mic", str(micrographs), "--o", "Polish/", "--max_iters", "0"]
    words += ["--angpix_ref", str(pixel), "--debug_mov", "--j", "1", *more]
    process = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == 0, process.stdout[-1000:] + process.stderr[-1000:]
    return process.stdout, Path("Polish")


def tracks(path, pixel=PIXEL):
    """(particles, t, 2) unbinned pixels."""
    blocks = re.split(r"^data_\d+\s*$", path.read_text(), flags=re.MULTILINE)[1:]
    rows = [[line.split() for line in block.splitlines()] for block in blocks]
    return np.array([[row for row in block if len(row) == 2 and "_rln" not in row[0]] for block in rows], float) / pixel


def correct(name, *words):
    code = main(
        [*(f"-In{'Tiff' if name.endswith('tif') else 'Mrc'} {name} -OutMrc mc/{name[:-4]}.mrc".split()), *words]
    )
    assert code == 0
    return Path("mc", name[:-4] + ".star")


def check_tracks(folder, number, alignment, start, count):
    return check_track_file(folder / f"mic{number}_tracks.star", alignment, count)


def check_track_file(path, alignment, count):
    """RELION's tracks of the particles at POSITIONS are the field's."""
    field = read_alignment(alignment).field
    found = tracks(path)
    assert found.shape == (len(POSITIONS), count, 2)
    distance = []
    for (x, y), track in zip(POSITIONS, found, strict=True):
        expected = field(x, y)
        distance.append((track - track[0]) - (expected - expected[0]))
    rms = np.sqrt((np.array(distance) ** 2).sum(-1).mean())
    assert rms < TRACK_TOLERANCE_PX, f"RELION's tracks are {rms:.3f} px rms from the field"
    return rms


@pytest.mark.parametrize("bin_factor", [1, 2])
def test_relion_reads_the_set_of_a_batch(project, capfd, bin_factor):
    """corrected_micrographs.star as a batch writes it is all that polishing needs of restframe."""
    mrcfile.write("gain.mrc", gain_pattern())
    words = "-Serial 1 -InTiff ./ -OutMrc mc/ -Gain gain.mrc -Patch 3 3 -PixSize 1.5 -FmDose 1 -OutStar 1 -OutAln mc"
    assert main([*words.split(), "-FmRef", "0", "-FtBin", str(bin_factor), "-Gpu", "-1"]) == 0
    capfd.readouterr()
    names = [f"mc/m{number}_DW.mrc" for number in range(3)]
    coordinates = [(x / bin_factor, y / bin_factor) for x, y in POSITIONS]
    write_particles(names, coordinates, BOX, PIXEL)
    output, folder = refine_motion("mc/corrected_micrographs.star", PIXEL, "--fdose", "1")
    assert output.count("-> gain: gain.mrc") == 3
    for number in range(3):
        check_track_file(folder / f"mc/m{number}_DW_tracks.star", f"mc/m{number}.aln", FRAMES)


@pytest.mark.parametrize("words", [[], ["-Throw", "2"], ["-Throw", "1", "-Trunc", "1", "-FtBin", "2"]], ids=" ".join)
@pytest.mark.parametrize("suffix", [".tif", ".mrc"])
def test_tracks_as_relion_loads_them(project, capfd, words, suffix):
    mrcfile.write("gain.mrc", gain_pattern())
    line = "-Gain gain.mrc -Patch 3 3 -PixSize 1.5 -FmDose 1 -OutStar 1 -OutAln mc -FmRef 0 -Gpu -1"
    common = line.split()
    stars = [correct(f"m{number}{suffix}", *common, *words) for number in range(3)]
    throw = int(words[1]) if words else 0
    trunc = 1 if "-Trunc" in words else 0
    frames = ["--first_frame", str(throw + 1), "--last_frame", str(FRAMES - trunc)]
    bin_factor = 2 if "-FtBin" in words else 1  # coordinates are those of binned micrographs
    coordinates = [(x / bin_factor, y / bin_factor) for x, y in POSITIONS]
    out, folder = polish(stars, coordinates, *frames)
    assert out.count("-> gain: gain.mrc") == 3
    for number in range(3):
        check_tracks(folder, number, f"mc/m{number}.aln", throw, FRAMES - throw - trunc)
    capfd.readouterr()


def particle_correlations(folder, number, image):
    """How well RELION's particles agree with restframe's sum at their places."""
    with mrcfile.open(folder / f"mic{number}_shiny.mrcs") as mrc:
        particles = mrc.data.astype(float)
    found = []
    for (x, y), particle in zip(POSITIONS, particles, strict=True):
        crop = image[y - BOX // 2 : y + BOX // 2, x - BOX // 2 : x + BOX // 2]
        found.append(
            abs(
                np.corrcoef(ndimage.gaussian_filter(crop, 1).ravel(), ndimage.gaussian_filter(particle, 1).ravel())[
                    0, 1
                ]
            )
        )
    return np.array(found)


@pytest.mark.parametrize("inverted", [0, 1])
@pytest.mark.parametrize("flip", [0, 1, 2])
@pytest.mark.parametrize("rotation", [0, 1, 2, 3])
def test_relion_applies_the_gain_rightly_in_every_orientation(project, capfd, rotation, flip, inverted):
    mrcfile.write("gain.mrc", as_given(gain_pattern(), rotation, flip, inverted))
    words = f"-Gain gain.mrc -RotGain {rotation} -FlipGain {flip} -InvGain {inverted} -PixSize 1.5 -FmDose 1 -FmRef 0"
    star = correct("m0.tif", *words.split(), "-OutStar", "1", "-OutAln", "mc", "-Gpu", "-1")
    out, folder = polish([star], POSITIONS, "--combine_frames")
    named = re.search(r"-> gain: (.*)", out)[1]
    as_it_lies = (rotation, flip, inverted) == (0, 0, 0)
    assert (named == "gain.mrc") == as_it_lies
    np.testing.assert_allclose(mrcfile.read(named), gain_pattern(), rtol=1e-5)
    check_tracks(folder, 0, "mc/m0.aln", 0, FRAMES)
    correlations = particle_correlations(folder, 0, mrcfile.read("mc/m0.mrc"))
    assert np.median(correlations) > 0.97 and correlations.min() > 0.8
    if not as_it_lies:  # as if the gain had been named as it was given
        text = star.read_text()
        if mrcfile.read("gain.mrc").shape == (HEIGHT, WIDTH):
            star.write_text(text.replace(named, "gain.mrc"))
            _, folder = polish([star], POSITIONS, "--combine_frames")
            wrong = particle_correlations(folder, 0, mrcfile.read("mc/m0.mrc"))
            assert np.median(wrong) < 0.95
    capfd.readouterr()


def test_relion_divides_eer_frames_by_the_gain_that_is_named(tmp_path, monkeypatch, capfd):
    """RELION 3.1 reads EER movies of 4096² pixels only. The fractions begin at raw frame 3, its own at 2 and 4."""
    monkeypatch.chdir(tmp_path)
    side, raw_frames, box = 4096, 12, 64
    rng = np.random.default_rng(0)
    gain = np.exp(rng.normal(0, 0.35, (side, side))).astype(np.float32)
    gain[:, :1300] *= 1.5
    scene = (np.kron(rng.integers(1, 9, (side // 4 + 12,) * 2), np.ones((4, 4))) / 45).astype(np.float32)

    def electrons():
        for raw_frame in range(raw_frames):
            moved = raw_frame // 2
            rate = scene[20 - moved : 20 - moved + side, 20 + moved : 20 + moved + side] / gain
            hit = np.flatnonzero(rng.random((side, side), dtype=np.float32) < rate)
            yield encode(hit, *rng.integers(0, 4, (2, len(hit))), side * side, Coding(7, 2, 2))

    write_eer(Path("m.eer"), (side, side), electrons(), 65001)
    Path("mc").mkdir()
    write_reference(box, 1.0)
    mrcfile.write("gain.mrc", as_given(gain, 1, 2, True))
    words = "-InEer m.eer -OutMrc mc/m.mrc -Gain gain.mrc -RotGain 1 -FlipGain 2 -InvGain 1 -Group 2 -PixSize 1 "
    words += "-FmDose 0.5 -FmRef 0 -OutStar 1 -OutAln mc -Gpu -1 -Throw 3"
    assert main(words.split()) == 0
    capfd.readouterr()
    positions = [(x, y) for x in (400, 2000, 3600) for y in (500, 2100, 3500)]
    image = mrcfile.read("mc/m.mrc")
    star = Path("mc/m.star").read_text()
    correlations = {}
    Path("b.star").write_text(loop("perframe_bfactors", BFACTOR_LABELS, [(frame, -1.0, -1.0) for frame in range(4)]))
    mrcfile.write("one.mrc", np.ones((side, side), np.float32))
    mrcfile.write("multiplied.mrc", gain)
    for name in (None, "one.mrc", "multiplied.mrc", "gain.mrc"):
        text = re.sub(r"(_rlnMicrographGainName +).*", rf"\1{name}", star) if name else star
        Path("mc/used.star").write_text(text)
        frames = ["--first_frame", "3", "--last_frame", "6", "--combine_frames", "--bfactors", "b.star"]
        _, folder = polish(["mc/used.star"], positions, *frames, box=box, pixel=1.0)
        particles = mrcfile.read(folder / "mic0_shiny.mrcs")
        crops = [image[y - 32 : y + 32, x - 32 : x + 32] for x, y in positions]
        pairs_of_images = zip(crops, particles, strict=True)
        correlations[name] = np.median([abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in pairs_of_images])
    assert max(correlations, key=correlations.get) is None and correlations[None] > correlations["one.mrc"] + 0.02
    (track,) = {tuple(map(tuple, np.round(found, 3))) for found in tracks(folder / "mic0_tracks.star", 1.0)}
    expected = np.outer(np.arange(4), [-1, 1])  # of the whole frame, from RELION's frame 3 on: raw frames 4 and 5
    assert np.sqrt(((np.array(track) - track[0] - expected) ** 2).sum(1).mean()) < TRACK_TOLERANCE_PX
