"""Sees to it that `leak.rs` is refused: with each of its modules, for reasons at just the lines that are marked."""

import os
import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SOURCE = Path("tests/module/leak.rs")
COMPILE = ["cargo", "rustc", "--quiet", "--locked", "--example", "panicking", "--profile", "check"]


def marked(leak: str) -> set[int]:
    """The lines of that module which must be refused."""
    found, inside = set(), False
    for number, line in enumerate((PROJECT / SOURCE).read_text().splitlines(), 1):
        inside = line == f"mod {leak} {{" or (inside and line != "}")
        if inside and line.endswith("// ERROR"):
            found.add(number)
    return found


def refused(leak: str) -> set[int]:
    """The lines that the compiler refuses."""
    os.utime(PROJECT / SOURCE)  # cargo would take what was compiled with another --cfg
    run = subprocess.run(
        [*COMPILE, "--message-format", "short", "--", "--cfg", f'leak="{leak}"'],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    found = {int(line) for line in re.findall(rf"^{SOURCE}:(\d+):\d+: error", run.stderr, re.MULTILINE)}
    if (run.returncode == 0) != (not found):
        sys.exit(f"leaks: {SOURCE} cannot be judged:\n{run.stderr}")
    return found


for leak in ("none", "longer", "elsewhere"):
    wanted, found = marked(leak), refused(leak)
    if bool(wanted) != (leak != "none") or wanted != found:
        sys.exit(f"leaks: {SOURCE}, module {leak}: refused are lines {sorted(found)}, marked {sorted(wanted)}")
