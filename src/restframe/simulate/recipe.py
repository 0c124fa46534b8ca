"""The parameters of simulated movies, and presets with names."""

from __future__ import annotations

from dataclasses import dataclass, replace


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

    @property
    def total_dose(self) -> float:
        """Dose of all frames, e/A²."""
        return self.frame_dose * self.shape[0]


_FALCON = Recipe()

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
        replace(
            _FALCON,
            kind="demo",
            shape=(24, 2048, 2048),
            frame_dose=2.0,
            large=40.0,
            small=20.0,
            local_rms=2.0,
            defocus=18000.0,
        ),
    )
}
