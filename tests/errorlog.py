"""httpd's error log as records, of which a test names those that it provokes; any other warning is a failure."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from client import PATIENCE

FORMAT = "[%-m:%l] [%P:%{g}T] [%a] %M"
"""The `ErrorLogFormat` that this module reads."""

# httpd leaves the client out, with its brackets, where there is none.
LINE = re.compile(r"\[(\w*):(\w+)\] \[(\d+):(\d+)\] (?:\[((?:\d+\.){3}\d+:\d+)\] )?(.*)")
# wsgid and daemons write past httpd, in the form that it has by default.
PAST = re.compile(r"\[[A-Z][a-z]{2} [^\]]*\] \[(\w+):(\w+)\] \[pid (\d+)(?::tid (\d+))?\] (?:\[group \w+\] )?(.*)")
HARMLESS = ("notice", "info", "debug", *(f"trace{n}" for n in range(1, 9)))
ALARMS = re.compile(r"exit signal|AH0005[0-2]|panicked|Fatal Python error|possible coredump")
# httpd's own remarks: all workers are busy, which is no wonder with so few, a connection came while it was stopping, or
# a child takes three seconds to end, which it may on a slow machine. (One that httpd has to kill is told otherwise.)
# Ours: how many of a record that a test names were left out, in a flood.
OWN = re.compile(r"AH(10159|00161|00286|00045|0048[45]|0309[23]|0349[02])|WSGI0121")


@dataclass(frozen=True)
class Record:
    """One line of the log."""

    module: str
    level: str
    pid: int
    tid: int
    client: str
    text: str

    @property
    def severe(self) -> bool:
        """Level warn or above, or a line that did not come through httpd's logging, or news of a dead child."""
        return (self.level not in HARMLESS and not OWN.match(self.text)) or bool(ALARMS.search(self.text))


def parse(line: str) -> Record:
    """One line; what some library wrote past httpd's logging gets the level `raw`."""
    if match := LINE.fullmatch(line):
        module, level, pid, tid, client, text = match.groups()
        return Record(module, level, int(pid), int(tid), client or "", text)
    if match := PAST.fullmatch(line):
        module, level, pid, tid, text = match.groups()
        return Record(module, level, int(pid), int(tid or 0), "", text)
    return Record("", "raw", 0, 0, "", line)


class ErrorLog:
    """The log from the point where `begin` was called last."""

    def __init__(self, path: Path):
        self.path = path
        self.offset = 0
        self.expected: set[int] = set()
        self.patterns: list[re.Pattern] = []

    def begin(self) -> None:
        """Forgets everything so far, but for a line that is still being written."""
        self.offset += len(self._whole())
        self.expected.clear()
        self.patterns.clear()

    def records(self) -> list[Record]:
        """All records since `begin`."""
        text = self._whole().decode("utf-8", "backslashreplace")
        return [parse(line) for line in text.split("\n") if line]

    def _whole(self) -> bytes:
        """The lines since `begin`, without a last one that is still being written."""
        if not self.path.exists():
            return b""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            text = file.read()
        return text[: text.rfind(b"\n") + 1]

    def find(self, pattern: str) -> list[Record]:
        """The records since `begin` whose text matches."""
        return [record for record in self.records() if re.search(pattern, record.text)]

    def allow(self, pattern: str) -> None:
        """Records that match may or may not come."""
        self.patterns.append(re.compile(pattern))

    def expect(self, pattern: str, count: int = 1, timeout: float = PATIENCE) -> list[Record]:
        """Waits for `count` matching records and returns all that match."""
        self.allow(pattern)
        deadline = time.monotonic() + timeout
        while len(found := self.find(pattern)) < count:
            assert time.monotonic() < deadline, (
                f"{len(found)} of {count} records match {pattern!r}; the log has:\n{self.text()}"
            )
            time.sleep(0.01)
        return found

    def expect_traceback(self, exception: str, count: int = 1) -> list[list[Record]]:
        """Waits for `count` tracebacks that end in `exception` (a regex); returns their records, header first."""
        pattern = re.compile(rf"^(\[script [^\]]*\]:? )?([\w.]+\.)?{exception}")
        last = self.expect(pattern.pattern, count)
        records = self.records()
        blocks = []
        for end in (index for index, record in enumerate(records) if record in last and pattern.search(record.text)):
            block = [end]
            for index in range(end - 1, -1, -1):
                if records[index].tid != records[end].tid:
                    continue
                block.insert(0, index)
                if is_header(records[index]):
                    break
            self.expected.update(block)
            blocks.append([records[index] for index in block])
        return blocks

    def unexpected(self) -> list[Record]:
        """The severe records since `begin` that no `expect` or `allow` names."""
        return [
            record
            for index, record in enumerate(self.records())
            if record.severe
            and index not in self.expected
            and not any(pattern.search(record.text) for pattern in self.patterns)
        ]

    def text(self) -> str:
        """Everything since `begin`, for a message."""
        return (
            "\n".join(f"  [{record.module}:{record.level}] {record.text}" for record in self.records()) or "  nothing"
        )


def is_header(record: Record) -> bool:
    """Whether a record opens a traceback: it names the script, while the traceback's lines start otherwise."""
    return bool(re.search(r"\[script [^\]]+\]", record.text)) and bool(
        re.search(r"exception|raised|failed|cannot", record.text, re.IGNORECASE)
    )
