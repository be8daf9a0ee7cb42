"""Types of the module `apache` that the server puts into each of its Python interpreters."""

from typing import Final

version: Final[tuple[int, int, int]]
description: Final[str]
mpm_name: Final[str]
build_date: Final[str]
maximum_processes: Final[int]
threads_per_process: Final[int]
