"""Numbers about the measured motion, for programs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MotionReport:
    """Numbers about the measured motion; lengths in unbinned pixels. None where no local motion was measured."""

    stated_error: float  # standard deviation of the displacement, both axes together, rms over frames and tiles
    largest_intraframe_motion: float  # the longest global motion during one frame
    residual_local_motion: float | None = None  # standard deviation of the tiles' motion beyond the field
    blur_position_error: float | None = None  # the part of the stated error that is due to blurred frames
    local_degree: int | None = None  # total degree of the local motion that was kept; 0: none
    held_out_gain: float | None = None  # log likelihood that local motion gains in tiles left out of the fit
    # x, y, width, height of the places that stand still while the rest moves, the largest first; not used for measuring
    standing_places: tuple[tuple[int, int, int, int], ...] = ()
    standing_share: float = 0.0  # of the frame's area

    def numbers(self) -> dict[str, float]:
        """What `Result.numbers` lists."""
        listed = {
            "error_px": self.stated_error,
            "own_motion_px": self.residual_local_motion,
            "local_degree": self.local_degree,
            "held_out_gain": self.held_out_gain,
        }
        return {name: float(value) for name, value in listed.items() if value is not None}
