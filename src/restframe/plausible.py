"""Values that are possible but seldom meant: warnings that name the setting, its value and the usual range."""

from __future__ import annotations

from collections.abc import Sequence

from restframe.errors import SettingsError
from restframe.fields import SettingInfo, bounds_text
from restframe.messages import Message, Setting
from restframe.settings import SETTINGS, USUAL_SCALES, USUAL_TOTAL_DOSE, Exposure, Settings

LARGEST_EXPONENT = 700.0  # exp(-x) of a larger x is no usable floating point number


def unusual_values(settings: Settings) -> tuple[Message, ...]:
    """A warning for each value outside its usual range."""
    topics = (settings.detector, settings.exposure, settings.motion, settings.sums, settings.transfer, settings.machine)
    warnings = []
    for info in SETTINGS.values():
        topic = next(topic for topic in topics if hasattr(topic, info.name))
        value = getattr(topic, info.name)
        if info.rule.usual and not _is_usual(info, value):
            warnings.append(_warning(info.name, value, info.rule.usual, info.rule.unit))
    scales = settings.sums.magnification[:2]
    if not all(USUAL_SCALES[0] <= scale <= USUAL_SCALES[1] for scale in scales):
        warnings.append(_warning("magnification", settings.sums.magnification, USUAL_SCALES, ""))
    return tuple(warnings)


def _is_usual(info: SettingInfo, value: object) -> bool:
    """A default, such as 0 for unknown, is usual whatever the range."""
    if value == info.default or info.rule.usual is None:
        return True
    low, high = info.rule.usual
    values = value if isinstance(value, tuple) else (value,)
    return all(low <= number <= high for number in values)


def _warning(name: str, value: object, usual: tuple[float, float], unit: str) -> Message:
    usual_range = f"{bounds_text(*usual)} {unit}".rstrip()
    return Message("Warning: ", Setting(name, value), f" is outside the usual range, {usual_range}.")


def total_dose_warning(accumulated: Sequence[float], exposure: Exposure) -> tuple[Message, ...]:
    """A warning where the specimen received more than usual; ``accumulated``: e/A² at the end of each used frame."""
    total = max(accumulated)
    if total <= USUAL_TOTAL_DOSE:
        return ()
    text = f" makes a total dose of {total:.6g} e/A², outside the usual range, up to {USUAL_TOTAL_DOSE:g} e/A²."
    return (Message("Warning: ", _dose_setting(accumulated, exposure), text),)


def check_dose_weights(accumulated: Sequence[float], smallest_critical_dose: float, exposure: Exposure) -> None:
    """Raise SettingsError where even the first used frame shows nothing that dose weights could be computed from.

    ``smallest_critical_dose``: e/A², that of the highest spatial frequency.
    """
    first = min(accumulated)
    if first <= LARGEST_EXPONENT * smallest_critical_dose:
        return
    raise SettingsError(
        _dose_setting(accumulated, exposure),
        f": {first:.6g} e/A² by the end of the first used frame leave nothing of the specimen, so there are no dose "
        f"weights. A total dose up to {USUAL_TOTAL_DOSE:g} e/A² is usual.",
    )


def _dose_setting(accumulated: Sequence[float], exposure: Exposure) -> Setting:
    """The setting that most of the dose comes from."""
    if exposure.initial_dose > max(accumulated) / 2:
        return Setting("initial_dose", exposure.initial_dose)
    rows = exposure.integration
    if rows is not None and not (isinstance(rows, tuple) and not any(row.dose for row in rows)):
        return Setting("integration")
    return Setting("frame_dose", exposure.frame_dose)
