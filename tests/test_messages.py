"""Texts that name settings, and that no text of the library names a flag."""

import ast
import pickle
import re
from pathlib import Path

import pytest

import restframe
from restframe.cli.flags import FLAGS
from restframe.errors import InputError, SettingsError, error_message
from restframe.messages import Message, Setting

SOURCE = Path(restframe.__file__).parent
FLAG = re.compile(rf"(?<![\w-])({'|'.join(re.escape(flag.name) for flag in FLAGS)})(?![\w-])")
COMMAND_LINES = ("cli/", "settings.py", "simulate/files.py", "report/session_data.py")
# the command; the table; a command that is printed; the page, which shows commands


def test_a_message_is_a_text_that_names_fields():
    message = Message("Use ", Setting("throw", 2), " or ", Setting("trunc"), ".")
    assert message == "Use throw=2 or trunc."
    assert Message("Error: ", message).parts == ("Error: ", *message.parts)


def test_messages_and_errors_can_be_sent_to_another_process():
    message = Message("Use ", Setting("patches", (5, 5)))
    error = SettingsError(message, ".")
    for received in (pickle.loads(pickle.dumps(message)), pickle.loads(pickle.dumps(error)).message):
        assert received.parts[:2] == message.parts
    assert str(pickle.loads(pickle.dumps(error))) == "Use patches=(5, 5)."


def test_an_error_with_a_plain_text():
    assert error_message(InputError("m.mrc is empty.")) == ("m.mrc is empty.", 3)
    assert error_message(MemoryError())[0] == (
        "out of memory (no details). Use fewer threads, or a machine with more memory."
    )


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_text_of_the_library_names_a_flag(path):
    if str(path.relative_to(SOURCE)).startswith(COMMAND_LINES):
        return
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [text for text in texts if text not in docstrings and FLAG.search(text)] == []
