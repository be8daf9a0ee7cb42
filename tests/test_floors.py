"""The floors of the house: who may name what. Read from the sources, by their words."""

import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
STRING = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)


def sources(*folders: str) -> list[Path]:
    """The Rust files below these folders, or these files."""
    found: list[Path] = []
    for folder in folders:
        path = PROJECT / folder
        found += [path] if path.is_file() else sorted(path.rglob("*.rs"))
    return found


def code(path: Path) -> str:
    """A file without comments and texts."""
    return COMMENT.sub("", STRING.sub('""', path.read_text()))


def offences(files: list[Path], pattern: str) -> list[str]:
    """Where code matches, as `file:line: text`."""
    found = []
    for path in files:
        for number, line in enumerate(code(path).splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{path.relative_to(PROJECT)}:{number}: {line.strip()}")
    return found


def inside(path: Path, *folders: str) -> bool:
    return any(path.is_relative_to(PROJECT / folder) for folder in folders)


# An exported symbol has to be marked so; that alone does nothing.
UNSAFE = r"\bunsafe\b(?!\(no_mangle\))"
MODULE = sources("src", "build.rs")
CORE = sources("crates/core")
HOST = sources("crates/host")
CTL = sources("crates/wsgictl")


def test_there_are_sources():
    """The other tests look at something."""
    assert len(MODULE) > 5
    assert len(CORE) > 5
    assert len(HOST) > 5
    assert len(CTL) > 3
    assert (PROJECT / "src/httpd").is_dir()
    assert (PROJECT / "crates/host/src/python").is_dir()


def test_bindings():
    """Only src/httpd names httpd's C interface: the bindings, its types and its functions."""
    files = [path for path in sources("src") if not inside(path, "src/httpd")]
    assert (
        offences(
            files,
            r"(?<!std::)(?<!unix::)\bffi\b|\bbindings\b|\b(ap|apr)_\w+\s*\(|\brequest_rec\b|\bapr_\w+_t\b|\bserver_rec\b",
        )
        == []
    )


def test_unsafe_of_module():
    """Unsafe code of the module stands in src/httpd, and where the host is loaded and called."""
    files = [path for path in sources("src") if not inside(path, "src/httpd", "src/host")]
    assert offences(files, UNSAFE) == []


def test_python_interface():
    """Only crates/host/src/python names Python's C interface."""
    files = [path for path in HOST if not inside(path, "crates/host/src/python")]
    assert offences(files, r"\bpyo3_ffi\b|\bpyo3::ffi\b|\bffi::Py|\bPy_[A-Z]\w+\s*\(|\bPy[A-Z]\w+_[A-Z]\w+\s*\(") == []


def test_unsafe_of_host():
    """Unsafe code of the host stands in its Python layer, at the C functions, and where Python starts and ends."""
    edge = {
        PROJECT / "crates/host/src" / name
        for name in ("embedded.rs", "environment.rs", "host.rs", "stats.rs", "worker/entry.rs")
    }
    files = [path for path in sources("crates/host/src") if not inside(path, "crates/host/src/python")]
    assert offences([path for path in files if path not in edge], UNSAFE) == []
    assert "#![forbid(unsafe_code)]" in (PROJECT / "crates/host/src/adapter/mod.rs").read_text()


@pytest.mark.parametrize("pattern", [r"\bpyo3\b", r"\bapr?_\w+\b", r"\bbindgen\b", r"\blibc::"])
def test_core_is_ground(pattern):
    """The ground crate names neither httpd nor Python nor the system's C library."""
    assert offences(CORE, rf"^\s*(pub )?use .*{pattern}|{pattern}") == []


def test_core_forbids_unsafe():
    """The ground crate forbids unsafe code."""
    assert re.search(r"#!\[forbid\(unsafe_code\)\]", (PROJECT / "crates/core/src/lib.rs").read_text())
    assert offences(CORE, r"\bunsafe\s*(\{|impl)") == []


def test_command_is_apart():
    """wsgictl knows neither httpd's interface nor Python's."""
    assert offences(CTL, r"\bpyo3\b|\bapr?_\w+\s*\(") == []


def test_floors_of_module():
    """In the module nothing calls upwards: src/httpd uses no other part of it, embedded no wiring."""
    below = sources("src/httpd")
    assert offences(below, r"\bcrate::(module|directives|handler|embedded|environ|alias|config|host)\b") == []
    middle = [path for path in sources("src") if path.name in ("embedded.rs", "environ.rs", "alias.rs", "hook.rs")]
    assert offences(middle, r"\bcrate::(directives|handler|access|dispatch)\b") == []


def test_floors_of_host():
    """In the host nothing calls upwards: python → nothing, adapter → python, api → both."""
    assert offences(sources("crates/host/src/python"), r"\bcrate::(adapter|api|worker)\b") == []
    assert offences(sources("crates/host/src/adapter"), r"\bcrate::(worker)\b") == []


def test_every_unsafe_has_its_reason():
    """Each unsafe block has a SAFETY comment above it."""
    missing = []
    for path in MODULE + HOST + CTL:
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            text = COMMENT.sub("", STRING.sub('""', line))
            if not re.search(r"\bunsafe\s*(impl\b|\{)", text):
                continue
            above = "\n".join(lines[max(0, number - 12) : number + 1])
            if "SAFETY:" not in above:
                missing.append(f"{path.relative_to(PROJECT)}:{number + 1}: {line.strip()}")
    assert missing == []


def test_panics_are_fenced():
    """Each function that C calls runs behind the fence, by itself or by one of its file; or it cannot panic."""
    harmless = {"wsgi_host", "register_hooks", "close_descriptor"}
    missing = []
    for path in sources("src", "crates/host/src"):
        text = COMMENT.sub("", path.read_text())
        bodies = {match[1]: balanced(text, match.start(2)) for match in re.finditer(r"\bfn (\w+)[^;{]*?(\{)", text)}
        fenced = {name for name, body in bodies.items() if re.search(r"\bfence\(|\bcatch_unwind\(", body)}
        calls = re.compile(rf"\b(?:fence|{'|'.join(fenced)})\b" if fenced else r"\bfence\b")
        for name in re.findall(r'extern "C" fn (\w+)[^;{]*?\{', text):
            if name not in harmless and not calls.search(bodies[name]):
                missing.append(f"{path.relative_to(PROJECT)}: {name}")
    assert missing == []


def balanced(text: str, start: int) -> str:
    """The block that begins with the brace at `start`."""
    depth = 0
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[start : index + 1]
    return text[start:]


def test_files_say_what_they_are():
    """Each file opens by a line that says what lives there; the tests of a file need none."""
    silent = [path for path in MODULE + CORE + HOST + CTL if not path.read_text().startswith("//!")]
    assert [str(path.relative_to(PROJECT)) for path in silent if path.name != "tests.rs"] == []


def test_module_needs_no_python(pytestconfig):
    """mod_wsgi.so is linked to no Python, and its host to none either."""
    if pytestconfig.option.peer:
        pytest.skip("stock mod_wsgi differs: it is linked to one Python")
    module = Path(pytestconfig.getoption("--module")).resolve()
    for library in (module, module.parent / "mod_wsgi/wsgi_host.abi3.so"):
        run = subprocess.run(["readelf", "--dynamic", library], capture_output=True, text=True, check=True)
        assert not [line for line in run.stdout.splitlines() if "NEEDED" in line and "python" in line]
