"""The table of flags and what is made from it."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from restframe.cli.flags import FLAG_WORDS, FLAGS, Status
from restframe.cli.help import echo, flags_markdown, help_text, version_text
from restframe.cli.parse import parse
from restframe.settings import SETTINGS
from restframe.version import VERSION

ROOT = Path(__file__).parents[2]
COMPATIBLE = """
InMrc InTiff InEer InSuffix InSkips OutMrc ArcDir FullSum TmpFile Tilt Crop InitDose Gain Dark DefectFile
DefectMap InAln OutAln LogDir LogFile FmIntFile EerSampling Patch Iter Tol Bft PhaseOnly FtBin FmDose PixSize
kV Cs AmpCont ExtPhase Throw Trunc SumRange Group FmRef Serial Align OutStack RotGain FlipGain InvGain Mag
InFmMotion SplitSum Gpu UseGpus GpuMemUsage OutStar TiffOrder CorrInterp MaskCent MaskSize StackZ
"""


def test_every_flag_of_the_programs_that_it_replaces_is_there():
    assert {f"-{name}" for name in COMPATIBLE.split()} <= {flag.name for flag in FLAGS}


def test_names_differ_in_more_than_case():
    names = [flag.name.lower() for flag in FLAGS]
    assert len(set(names)) == len(names)


def test_flags_stay_in_their_groups():
    groups = [flag.group for flag in FLAGS]
    assert len(set(groups)) == 1 + sum(a != b for a, b in pairwise(groups))


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_defaults_keep_the_rules_of_their_flag(flag):
    for value in flag.default:
        assert type(value) is flag.type
        assert not flag.choices or value in flag.choices
        assert flag.low is None or value >= flag.low
        assert flag.high is None or value <= flag.high
    assert flag.since


def test_every_field_has_a_flag_with_its_own_defaults_and_bounds():
    flags = {flag.name: flag for flag in FLAGS}
    assert {words.split()[0] for words in FLAG_WORDS.values()} <= flags.keys()
    for flag in FLAGS:
        if flag.field:
            info = SETTINGS[flag.field]
            assert flag.name == FLAG_WORDS[flag.field] and flag.unit == info.rule.unit
            assert flag.low == info.rule.low or flag.name in ("-Group", "-SplitSum") or info.value_type is bool


def test_descriptions_name_flags_not_fields():
    assert not [flag.name for flag in FLAGS if "{" in flag.description]
    assert "-FmIntFile" in next(flag.description for flag in FLAGS if flag.name == "-FmDose")


def test_docs_are_up_to_date():
    assert (ROOT / "docs" / "flags.md").read_text() == flags_markdown(), "python -m restframe.cli.help > docs/flags.md"


def test_help_and_docs_name_every_flag():
    for flag in FLAGS:
        assert re.search(rf"^{flag.name} ", help_text(), re.MULTILINE)
        assert f"| `{flag.name}` |" in flags_markdown()


def test_help_begins_as_callers_know_it():
    assert help_text().startswith("\nUsage: ")


def test_echo_has_the_tag_in_fifteen_columns_and_its_values():
    lines = echo(parse(["-Patch", "7", "5", "-PixSize", "0.412751", "-InTiff", "a b.tif", "-Tilt", "1", "2"]))
    assert lines[0] == "" and lines[-1] == ""
    assert "-Patch           7 5 0" in lines
    assert "-PixSize         0.412751" in lines
    assert "-InTiff          a b.tif" in lines
    assert "-SumRange        3 25" in lines
    assert "-Tilt            1 2" in lines
    assert "-Cs              0" in lines
    assert not any(line.startswith("-StackZ ") for line in lines)


def test_version_speaks_for_callers_and_for_people():
    lines = version_text().splitlines()
    assert [line for line in lines if line.startswith("MotionCor")] == ["MotionCor2 version 1.5.0"]
    assert lines[0] == f"restframe {VERSION}"
    assert re.fullmatch(r"Built on [A-Z][a-z]{2} \d{1,2} \d{4}", lines[1])


def test_version_is_the_packages():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_the_map_names_every_flag():
    page = (ROOT / "docs" / "flag-map.md").read_text()
    first_cells = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    named = re.findall(r"`(-\w+)`", first_cells)
    assert len(named) == len(set(named)), "a flag has two rows"
    assert {f.name for f in FLAGS if not f.name.startswith("--")} | {f"-{n}" for n in COMPATIBLE.split()} <= set(named)


def test_the_manual_tells_of_every_flag_that_works():
    pages = (ROOT / "docs" / "manual.md").read_text()
    assert [f.name for f in FLAGS if f.status is Status.WORKS and f"`{f.name}" not in pages] == []


def test_links_between_pages_lead_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
