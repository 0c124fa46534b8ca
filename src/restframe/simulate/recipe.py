"""The parameters of simulated movies, and presets with names."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class DetectorObjects:
    """Things that stand still on the detector and that no defect list names. The counts below are per movie."""

    clusters: int = 0  # of 4 to 8 pixels a side, whose counts are Poisson with 3 times the mean plus 1
    bands: int = 0  # of 9 to 24 whole columns or rows, dead or saturated
    blocks: int = 0  # of 24 to 48 pixels a side, dead or saturated
    gaps: bool = False  # between chips: 12 columns, 38 rows and 300 single pixels, all bits set
    beam_radius: float = 0.0  # of the illuminated disk, in shorter sides of the frame; 0: all is illuminated
    beam_edge_px: tuple[float, float] = (10.0, 40.0)  # range of the width of the beam's edge
    dust: int = 0  # round spots of 15 to 60 pixels, transmission 0.6 to 0.97
    scratches: int = 0  # lines of 3 pixels, transmission 0.7
    quadrant_gain: float = 1.0  # transmission of one quadrant that the gain reference does not know
    texture_area: float = 0.0  # fraction of the frame that is replaced by blocks of a fixed texture
    texture_contrast: tuple[float, float] = (0.02, 0.4)  # range of the texture's standard deviation


@dataclass(frozen=True)
class SpecimenObjects:
    """Things that move with the specimen, in addition to its particles."""

    beads: float = 0.0  # dark round markers in 10^6 A², transmission 0.15 to 0.3
    bead_diameter: tuple[float, float] = (6.0, 18.0)  # A, range
    bright_beads: float = 0.0  # bright spots in 10^6 A², 5 to 45 times as bright as the background, sigma 1 to 2 pixels
    lattice: float = 0.0  # contrast of a hexagonal lattice
    lattice_spacing: float = 20.0  # A
    ice_texture: float = 0.0  # standard deviation of the ice's brightness
    ice_grain: float = 60.0  # A, standard deviation of the Gaussian that blurs the texture
    carbon_transmission: float = 1.0  # of a carbon film on one side of a curved edge; 1: no film
    carbon_grain: float = 0.1  # standard deviation of the film's phase contrast
    detail: float = 0.0  # standard deviation of an image whose amplitudes fall as 1/k up to the Nyquist frequency


@dataclass(frozen=True)
class Recipe:
    """The parameters of a movie with known motion.

    The defaults are those of a Falcon movie, 4096 x 4096 x 40 at 1 A per pixel.

    Densities are per area, so that a smaller ``shape`` gives a part of the same kind of movie. The same recipe
    gives the same bytes.
    """

    kind: str = "falcon"
    shape: tuple[int, int, int] = (40, 4096, 4096)  # (t, h, w)
    pixel_size: float = 1.0  # A
    frame_dose: float = 1.2  # e/A²
    seed: int = 1

    # microscope
    voltage: float = 300.0  # kV
    defocus: float = 12000.0  # A, underfocus positive, mean of the two principal values
    astigmatism: float = 150.0  # A, difference of the two
    astigmatism_angle: float = 35.0  # degrees from x towards y
    cs: float = 2.7  # mm
    amplitude_contrast: float = 0.07
    bfactor: float = 40.0  # A², on the signal: exp(-B k²/4)

    # specimen: particles in 10^6 A²
    large: float = 19.67  # hollow cylinders, 330 on 4096² pixels of 1 A
    small: float = 53.64  # balls, 900 there

    # motion, A
    settle: float = 9.0  # common, 1 - exp(-D / 2.5)
    settle_dose: float = 2.5  # e/A², also of the local motion's fastest part
    drift: float = 4.5  # common, in proportion to the dose
    walk: float = 0.12  # common, random walk, standard deviation of a frame's step in x and in y
    local_rms: float = 1.2  # polynomials and bumps, rms over positions and frames
    bubble: float = 0.0  # a point from which everything is pushed away: largest displacement
    jump: float = 0.0  # common, between the two middle frames; with half as much local motion
    swing: float = 0.0  # degrees by which the ice turns as it settles, about an axis in its plane: parallax

    # ice
    tilt: float = 0.0  # degrees, about y: the defocus changes across x
    thickness: float = 0.0  # A; particles are at all heights

    # camera
    gain_white: float = 0.05  # standard deviation from pixel to pixel
    gain_smooth: float = 0.10  # standard deviation of the smooth part
    gain_upside_down: bool = False  # the gain that comes with the movie does not fit it
    hot: float = 60.0  # single pixels in 4096²
    dead: float = 200.0
    clusters: float = 2.0  # of hot pixels
    count_type: str = "uint8"  # NumPy's name of the type of the counts; larger counts are clipped

    # what makes movies difficult
    detector_objects: DetectorObjects = DetectorObjects()
    specimen_objects: SpecimenObjects = SpecimenObjects()

    @property
    def total_dose(self) -> float:
        """Dose of all frames, e/A²."""
        return self.frame_dose * self.shape[0]


_FALCON = Recipe()
_DEMO = replace(
    _FALCON, kind="demo", shape=(24, 2048, 2048), frame_dose=2.0, large=40.0, small=20.0, local_rms=2.0, defocus=18000.0
)
_COARSE = replace(_DEMO, shape=(12, 2048, 2048), pixel_size=1.5, frame_dose=4.0)
_TILT = replace(
    _FALCON, kind="tilt", shape=(8, 2048, 2048), pixel_size=1.6, frame_dose=0.4, defocus=30000.0, large=30.7, small=83.8
)
_EMPTY = replace(_FALCON, shape=(12, 512, 512), large=0.0, small=0.0, settle=0.0, walk=0.0, local_rms=0.0)
WEAK_FRACTION = 0.09  # of the dose of the kind "weak" is derived from

PRESETS: dict[str, Recipe] = {
    recipe.kind: recipe
    for recipe in (
        _FALCON,
        replace(_FALCON, kind="k3", shape=(40, 4092, 5760), pixel_size=0.85, frame_dose=1.25),
        replace(_FALCON, kind="k2", shape=(24, 3710, 3838), pixel_size=0.885, frame_dose=1.98),
        replace(_FALCON, kind="few", large=3.0, small=0.0),
        replace(
            _FALCON, kind="k3super", shape=(40, 8184, 11520), pixel_size=0.425, frame_dose=1.25
        ),  # to be binned by 2
        replace(_FALCON, kind="lowdose", shape=(100, 4096, 4096), frame_dose=0.4),
        replace(_FALCON, kind="quiet", settle=1.0, drift=1.0, walk=0.03, local_rms=0.05),
        replace(_FALCON, kind="early", settle=30.0, settle_dose=1.5, local_rms=3.0),
        replace(_FALCON, kind="jump", jump=8.0),
        replace(_FALCON, kind="bubble", bubble=8.0),
        replace(_FALCON, kind="tilted", tilt=30.0, thickness=800.0, swing=0.3, local_rms=2.5),
        replace(_FALCON, kind="noise", large=0.0, small=0.0),
        replace(_FALCON, kind="wronggain", gain_upside_down=True),
        replace(_FALCON, kind="frames8", shape=(8, 4096, 4096), frame_dose=6.0),
        replace(_FALCON, kind="frames3", shape=(3, 4096, 4096), frame_dose=16.0),
        _DEMO,
        # what stands still on the detector
        replace(_COARSE, kind="clusters", detector_objects=DetectorObjects(clusters=6)),
        replace(_COARSE, kind="bands", detector_objects=DetectorObjects(bands=1)),
        replace(_COARSE, kind="blocks", detector_objects=DetectorObjects(blocks=2)),
        replace(_COARSE, kind="gaps", detector_objects=DetectorObjects(gaps=True), count_type="uint16"),
        replace(_DEMO, kind="beamedge", detector_objects=DetectorObjects(beam_radius=0.61)),
        replace(_COARSE, kind="dust", detector_objects=DetectorObjects(dust=6, scratches=1)),
        replace(_COARSE, kind="quadrant", detector_objects=DetectorObjects(quadrant_gain=0.9)),
        replace(_COARSE, kind="texture", detector_objects=DetectorObjects(texture_area=0.1)),
        # what moves with the specimen
        replace(_COARSE, kind="beads", specimen_objects=SpecimenObjects(beads=20.0)),
        replace(
            _EMPTY,
            kind="brightbeads",
            shape=(5, 512, 512),
            frame_dose=20.0,
            drift=5.0,
            specimen_objects=SpecimenObjects(bright_beads=450.0),
            count_type="uint16",
        ),
        replace(_EMPTY, kind="lattice", frame_dose=4.0, drift=8.0, specimen_objects=SpecimenObjects(lattice=0.3)),
        replace(_COARSE, kind="texturedice", specimen_objects=SpecimenObjects(ice_texture=0.03)),
        replace(_COARSE, kind="carbonedge", specimen_objects=SpecimenObjects(carbon_transmission=0.75)),
        replace(
            _EMPTY,
            kind="detail",
            shape=(20, 440, 256),
            frame_dose=100.0,
            drift=2.24,
            specimen_objects=SpecimenObjects(detail=0.3),
            count_type="uint16",
        ),
        replace(
            _EMPTY,
            kind="weakdetail",
            shape=(20, 440, 256),
            frame_dose=1.0,
            drift=2.24,
            specimen_objects=SpecimenObjects(detail=0.3),
        ),
        # little dose
        _TILT,
        replace(_TILT, kind="tiltclusters", detector_objects=DetectorObjects(clusters=3)),
        replace(_FALCON, kind="tiltweak", shape=(10, 1440, 1440), pixel_size=2.09, frame_dose=0.06, defocus=30000.0),
        replace(_COARSE, kind="weak", frame_dose=WEAK_FRACTION * 4.0, settle_dose=WEAK_FRACTION * _COARSE.settle_dose),
        replace(_DEMO, kind="fine", shape=(240, 2048, 2048), frame_dose=0.2),
        replace(_COARSE, kind="rigid", shape=(6, 2048, 2048), frame_dose=6.0, local_rms=0.0),
    )
}
