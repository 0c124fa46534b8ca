"""The settings that the flags mean, and what a user may not expect of them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from restframe.batch.leases import GpuLeases
from restframe.cli.clients import RELION_EER_GROUPING
from restframe.cli.devices import WantedGpus, choose_gpus, find_gpus
from restframe.cli.flags import FLAGS, FlagValue
from restframe.cli.parse import Options
from restframe.errors import SettingsError
from restframe.movie import open_movie
from restframe.movie.integration import read_rows
from restframe.settings import SETTINGS, Row, Settings, usable_dose_range, with_choices

NO_EFFECT_WITHOUT_ALIGN = ("-InFmMotion", "-Patch", "-LogDir", "-LogFile", "-FmDose", "-SumRange")
EER_SAMPLING_MEANT = {4: 3}  # programs that mean 4 pixels along each axis
MEMORY_SIZE = re.compile(r"(\d+\.?\d*|\.\d+)\s*([KMGT])(i?)B?", re.IGNORECASE)


def settings_and_notes(
    options: Options, leases: GpuLeases | None = None, is_for_one_movie: bool = False
) -> tuple[Settings, tuple[str, ...]]:
    """The settings and lines for stdout about them. ``leases`` holds the GPUs where some of several are wanted.

    Raises SettingsError, DeviceError or NoFreeGpuError.
    """
    if options.text("--cluster"):  # whose workers have GPUs or not
        gpus = tuple(gpu for gpu in options.integers("-Gpu") if gpu >= 0)
        settings = settings_from(options, gpus)
        return settings, tuple(_notes(options, settings))
    wanted = WantedGpus(options.integers("-Gpu"), options.integer("-UseGpus"), is_for_one_movie)
    gpus, device = choose_gpus(wanted, find_gpus, leases or GpuLeases())
    settings = settings_from(options, gpus)
    return settings, (device, *_notes(options, settings))


def settings_from(options: Options, gpus: tuple[int, ...] = ()) -> Settings:
    """The library's settings that the flags mean. Raises SettingsError for values that exclude each other."""
    choices = {flag.field: _field_value(flag.field, options.values[flag.name]) for flag in FLAGS if flag.field}
    integration = options.text("-FmIntFile")
    choices |= {
        "eer_grouping": _eer_grouping(options),
        "eer_sampling": EER_SAMPLING_MEANT.get(options.integer("-EerSampling"), options.integer("-EerSampling")),
        "gpus": gpus,
        "group": tuple(max(size, 1) for size in options.integers("-Group")),
        "global_sum": bool(options.text("-FullSum")),
        "integration": read_rows(integration) if integration else None,
        "intraframe_motion": options.is_on("-InFmMotion") and options.is_on("-Align"),
        "max_memory": _memory_in_bytes("--max-memory", options.text("--max-memory")),
        "stack_group": max(options.integers("-OutStack")[1], 1),
        "sum_range": usable_dose_range(*options.numbers("-SumRange")) or (0.0, 0.0),
    }
    given = frozenset(flag.field for flag in FLAGS if flag.field and flag.name in options.given)
    return replace(with_choices(Settings(), choices), given=given)


def _eer_grouping(options: Options) -> int:
    """Raw frames in a fraction of an EER movie: -Group says so where nothing else does, as in MotionCor."""
    if options.text("-FmIntFile") or "--eer-grouping" in options.given:
        return options.integer("--eer-grouping")
    group = options.integer("-Group")
    return group if group > 1 else 0


def relions_fractions(movie: Path, settings: Settings) -> Settings:
    """Settings for an EER movie whose fractions RELION counts by its default: whole ones from raw frame 0 on.

    RELION means its own fractions with -Throw, -Trunc and -FmDose, too. Raises `InputError` for a movie that cannot be
    read.
    """
    raw_count = open_movie(movie).shape[0]
    exposure = settings.exposure
    throw, trunc = exposure.throw * RELION_EER_GROUPING, exposure.trunc * RELION_EER_GROUPING
    if raw_count < RELION_EER_GROUPING:
        return settings
    rows = (Row(raw_count, RELION_EER_GROUPING),)
    changed = replace(
        exposure,
        integration=rows,
        throw=throw,
        trunc=trunc + raw_count % RELION_EER_GROUPING,
        frame_dose=exposure.frame_dose / RELION_EER_GROUPING,
    )
    return replace(settings, exposure=changed)


def _field_value(field_name: str, values: tuple[FlagValue, ...]) -> object:
    """A flag's values as the field takes them."""
    setting_info = SETTINGS[field_name]
    if setting_info.count != 1:
        return values[: setting_info.count]
    if setting_info.value_type is object:
        return values[0] or None
    return values[0] != 0 if setting_info.value_type is bool else values[0]


def _memory_in_bytes(flag: str, text: str) -> int:
    """Bytes in "6GB", "1.5 GiB", "800M"; 0 for an empty text. Raises SettingsError for anything else."""
    if not text:
        return 0
    match = MEMORY_SIZE.fullmatch(text.strip())
    if not match or float(match[1]) == 0:
        raise SettingsError(f"{flag} {text}: expected a number above 0 and a unit, such as 6GB or 800MB.")
    base, exponent = 1024 if match[3] else 1000, "KMGT".index(match[2].upper()) + 1
    return int(float(match[1]) * base**exponent)


def _notes(options: Options, settings: Settings) -> list[str]:
    """Consequences of the flags that a user may not expect."""
    notes = []
    exposure = settings.exposure
    rows = exposure.integration if isinstance(exposure.integration, tuple) else ()
    has_dose = exposure.frame_dose > 0 or any(row.dose for row in rows)
    if has_dose and exposure.pixel_size == 0 and "-InEer" not in options.given:  # EER movies may state it
        notes.append("Warning: no dose weighting, which needs -PixSize.")
    if settings.transfer.spherical_aberration > 0 and exposure.pixel_size == 0:
        notes.append("Warning: no CTF estimation, which needs -PixSize.")
    if not settings.motion.align:
        without_effect = [flag for flag in NO_EFFECT_WITHOUT_ALIGN if flag in options.given]
        notes += [f"Note: {flag} has no effect with -Align 0." for flag in without_effect]
    if not options.is_on("-Serial"):
        without_effect = [flag for flag in ("-InSuffix", "-InSkips") if flag in options.given]
        notes += [f"Note: {flag} has no effect without -Serial 1." for flag in without_effect]
    if options.integer("-EerSampling") in EER_SAMPLING_MEANT:
        notes.append(
            "Note: -EerSampling 4 is taken for 4 pixels per physical pixel along each axis, as -EerSampling 3."
        )
    if options.integers("-Patch")[2]:
        notes.append("Note: the overlap after -Patch has no effect in restframe: patches always overlap.")
    return notes
