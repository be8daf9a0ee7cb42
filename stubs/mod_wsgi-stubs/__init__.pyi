"""Types of the module that the server puts into each of its Python interpreters; it cannot be imported elsewhere."""

import logging
from collections.abc import Iterator
from typing import Any, Final, Protocol, TypedDict, TypeVar

class _EventCallback(Protocol):
    def __call__(self, name: str, /, **payload: Any) -> dict[str, Any] | None: ...

_Callback = TypeVar("_Callback", bound=_EventCallback)

class _File(Protocol):
    def read(self, size: int, /) -> bytes: ...

class _Thread(TypedDict):
    thread_id: int
    request_count: int

class _ProcessMetrics(TypedDict):
    pid: int
    request_busy_time: float
    request_count: int
    memory_max_rss: int
    memory_rss: int
    cpu_user_time: float
    cpu_system_time: float
    cpu_time: float
    restart_time: float
    current_time: float
    running_time: int
    request_threads: int
    active_requests: int
    threads: list[_Thread]

class _Worker(TypedDict):
    thread_num: int
    generation: int
    status: str
    access_count: int
    bytes_served: int
    start_time: float
    stop_time: float
    last_used: float
    client: str
    request: str
    vhost: str

class _Process(TypedDict):
    process_num: int
    pid: int
    generation: int
    quiescing: bool
    workers: list[_Worker]

class _ServerMetrics(TypedDict):
    server_limit: int
    thread_limit: int
    running_generation: int
    restart_time: float
    current_time: float
    running_time: float
    processes: list[_Process]

version: Final[tuple[int, int, int]]
process_group: Final[str]
application_group: Final[str]
maximum_processes: Final[int]
threads_per_process: Final[int]
event_callbacks: Final[list[_EventCallback]]
shutdown_callbacks: Final[list[_EventCallback]]
signal_callbacks: Final[list[_EventCallback]]
active_requests: Final[dict[str, dict[Any, Any]]]

def subscribe_events(callback: _Callback, /) -> _Callback: ...
def subscribe_shutdown(callback: _Callback, /) -> _Callback: ...
def subscribe_signals(callback: _Callback, /) -> _Callback: ...
def request_data() -> dict[Any, Any]: ...
def start_recording_metrics() -> None: ...
def request_metrics() -> dict[str, Any] | None: ...
def process_metrics() -> _ProcessMetrics | None: ...
def server_metrics() -> _ServerMetrics | None: ...

class RequestTimeout(BaseException): ...

class FileWrapper:
    filelike: _File
    blksize: int
    def __init__(self, filelike: _File, blksize: int = 8192, /) -> None: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None: ...

class LogHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None: ...
