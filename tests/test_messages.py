"""The codes of messages: each of the sources stands in docs/errors.md, once, and the other way round."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
PAGE = PROJECT / "docs/errors.md"

LITERAL = re.compile(r"\bWSGI(0\d{3})\b")
NUMBERS = {
    # By function: the first argument is the code.
    "crates/wsgictl/src": re.compile(r"\bFault::new\(\s*(\d{3})\b"),
    "crates/core/src/configtest": re.compile(r"\bself\.find\((\d{3})\b|\bcode: (\d{3})\b|: u16 = (\d{3});"),
}
SHARED = {
    "0131": "a library is loaded in two steps",
    "0153": "each step of talking to wsgid",
    "0199": "the two sides of one question",
    "0712": "found by wsgid, or by the new process",
}
"""Codes that stand in more than one file, or function, for one meaning."""


def sources() -> list[Path]:
    folders = [PROJECT / "src", *(PROJECT / "crates").glob("*/src")]
    found = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".rs", ".py")]
    return [path for path in found if path.name != "tests.rs"]


def codes() -> dict[str, set[str]]:
    """The files of each code."""
    found = defaultdict(set)
    for path in sources():
        name = str(path.relative_to(PROJECT))
        # What unit tests expect is no message.
        text = re.split(r"#\[cfg\(test\)\]\s*mod tests \{", path.read_text())[0]
        for code in LITERAL.findall(re.sub(r"//[^\n]*", "", text)):
            found[code].add(name)
        for folder, pattern in NUMBERS.items():
            if name.startswith(folder):
                for groups in pattern.finditer(text):
                    found["0" + next(filter(None, groups.groups()))].add(name)
    return found


def rows() -> list[tuple[str, list[str]]]:
    """The rows of the page's tables: code and cells."""
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| WSGI\d", line)]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [(row[0].removeprefix("WSGI"), row) for row in cells]


def test_there_are_codes():
    """The other tests look at something."""
    assert len(codes()) > 150
    assert {"0101", "0212", "0402", "0440", "0507", "0653", "0711", "0186"} <= set(codes())


def test_page_and_sources_agree():
    """Each code of the sources is on the page, and each of the page is in the sources."""
    listed = {code for code, _ in rows()}
    assert sorted(set(codes()) - listed) == [], "not in docs/errors.md"
    assert sorted(listed - set(codes())) == [], "not in the sources"


def test_page_is_sorted_and_complete():
    """Sorted, no code twice, and each row says what, why and what to do."""
    order = [code for code, _ in rows()]
    assert order == sorted(set(order))
    assert [row for _, row in rows() if len(row) != 4 or not all(row)] == []


def test_one_meaning():
    """A code stands in one file only, so that nobody uses it for something else."""
    several = {code: sorted(files) for code, files in codes().items() if len(files) > 1 and code not in SHARED}
    assert several == {}


@pytest.mark.parametrize("path", sorted((PROJECT / "tests").glob("*.py")), ids=lambda path: path.stem)
def test_tests_know_no_others(path):
    """Tests expect codes that there are."""
    listed = {code for code, _ in rows()}
    assert sorted(set(LITERAL.findall(path.read_text())) - listed - {"0123"}) == []
