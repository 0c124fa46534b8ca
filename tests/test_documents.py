"""Files beside the code say the same version, and links between documents lead somewhere."""

import re
from pathlib import Path

import pytest

import restframe

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_newest_version_in_the_changelog():
    versions = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert versions[0] == restframe.__version__
    assert versions == sorted(versions, key=lambda version: [int(part) for part in version.split(".")], reverse=True)


def test_version_in_the_citation():
    citation = dict(re.findall(r'^([\w-]+): "?([^"\n]+)"?$', (ROOT / "CITATION.cff").read_text(), re.MULTILINE))
    assert citation["version"] == restframe.__version__
    assert {"cff-version", "message", "title"} <= citation.keys()


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        other = (document.parent / name) if name else document
        assert other.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", other.read_text(), re.MULTILINE)
            assert anchor in map(_anchor, headings), target


@pytest.mark.parametrize("name", ["reliability.md", "security.md"])
def test_promises_name_tests_that_exist(name):
    rows = [line for line in (ROOT / "docs" / name).read_text().splitlines() if line.startswith("| ")]
    promises = [row for row in rows if "`test" in row]
    assert len(promises) >= len([row for row in rows if row.split("|")[1].strip() not in ("promise", "what is done")])
    for row in promises:
        path = None
        for word in re.findall(r"`((?:tests/\S+::)?test_\w+)`", row.split("|")[2]):
            file, _, test = word.rpartition("::")
            path = ROOT / file if file else path
            assert path is not None and re.search(rf"^def {test}\(", path.read_text(), re.MULTILINE), word


def test_every_page_is_in_the_site():
    text = (ROOT / "mkdocs.yml").read_text()
    named = set(re.findall(r"([\w-]+\.md)$", text, re.MULTILINE))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} == named


def test_messages_of_the_troubleshooting_page_are_printed():
    """Every piece of a message is in the text of the program."""
    source = " ".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", source)
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(rows) > 8
    for message in rows:
        for piece in message.split("..."):
            assert piece.strip(" .") in joined, message
