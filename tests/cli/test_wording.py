"""Messages of the library with flags in place of fields."""

from pathlib import Path

import pytest

from restframe.cli.streams import errors_as_messages, say
from restframe.cli.wording import with_flags
from restframe.errors import SettingsError
from restframe.messages import Message, Setting
from restframe.settings import SETTINGS


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (Setting("patches"), "-Patch"),
        (Setting("patches", (5, 7)), "-Patch 5 7"),
        (Setting("sum_range", (3.0, 25.0)), "-SumRange 3 25"),
        (Setting("bin", 1.5), "-FtBin 1.5"),
        (Setting("align", False), "-Align 0"),
        (Setting("weights", "bfacter"), "--weights bfacter"),
        (Setting("stack_group", 3), "-OutStack 1 3"),
        (Setting("stack_group"), "-OutStack"),
        (Setting("integration", Path("a/i.txt")), "-FmIntFile a/i.txt"),
        (Setting("max_memory", 50_000_000), "--max-memory 0.05GB"),
        (Setting("field"), "-InAln"),
    ],
)
def test_a_setting_is_written_as_the_user_would_give_it(setting, expected):
    assert with_flags(Message("Use ", setting, ".")) == f"Use {expected}."


def test_every_field_has_a_flag():
    for name in SETTINGS:
        assert with_flags(Message(Setting(name))).startswith("-")


def test_other_text_stays_as_it_is():
    assert with_flags("patches=(5, 7)") == "patches=(5, 7)"


def test_lines_and_errors_of_the_command_name_flags(capsys):
    def fail():
        say(Message("Note: ", Setting("throw", 2), " is used."))
        raise SettingsError(Setting("trunc", 3), ": too many.")

    assert errors_as_messages(fail) == 6
    assert capsys.readouterr() == ("Note: -Throw 2 is used.\n", "Error: -Trunc 3: too many.\n")
