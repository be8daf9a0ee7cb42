"""The daemon process group `shop`, whose application does what the URL says (apps/daemon.py), and load for it."""

import threading
from contextlib import ExitStack
from pathlib import Path

from client import Connection, wait_for
from httpd import Httpd, descriptors

CONFIG = """
SetEnvIf Request_URI . test.folder=${{ROOT}}/traces
WSGIDaemonProcess shop {options}
WSGIScriptAlias /shop ${{APPS}}/daemon.py process-group=shop application-group=%{{GLOBAL}}
"""


def prepare(httpd: Httpd) -> None:
    """Makes the folder in which applications leave traces."""
    httpd.folder("traces")


def send(httpd: Httpd, target: str, stack: ExitStack) -> Connection:
    """Sends a request on a connection that the stack closes."""
    connection = stack.enter_context(httpd.connect())
    connection.send_head("GET", target)
    return connection


def served(httpd: Httpd) -> str:
    """The pid of the daemon that answers, for groups with limits so short that a slow machine may exceed them."""
    return wait_for(lambda: (reply := httpd.get("/shop/pid")).status == 200 and reply.text, "a daemon to answer")


def begun(httpd: Httpd, name: str, count: int = 1) -> None:
    """Waits until so many requests have left that trace."""
    wait_for(lambda: len(traces(httpd, name)) >= count, f"{name} {count} times")


def traces(httpd: Httpd, name: str) -> list:
    """What requests have left."""
    return list((httpd.root / "traces").glob(f"{name}.*"))


def release(httpd: Httpd, name: str) -> None:
    """Ends the requests that wait for that name."""
    (httpd.root / "traces" / name).touch()


def sockets(pid: int) -> list[str]:
    """The sockets among them."""
    return [file for file in descriptors(pid) if file.startswith("socket:")]


def unix_sockets(pid: int) -> list[str]:
    """The sockets among them that no network knows."""
    files = descriptors(pid)
    known = {f"socket:[{line.split()[6]}]" for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    return [file for file in files if file in known]


class Load:
    """Clients that ask one request after the other, from `begin` to `end`."""

    def __init__(self, httpd, target: str, clients: int = 3):
        self.httpd, self.target = httpd, target
        self.replies: list = []
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exception) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join()

    def _ask(self) -> None:
        while not self.done.is_set():
            try:
                reply = self.httpd.get(self.target)
                self.replies.append((reply.status, reply.end, reply.body))
            except (OSError, EOFError) as error:
                self.replies.append((0, repr(error), b""))

    def more(self, count: int) -> None:
        """Waits for so many further replies."""
        before = len(self.replies)
        wait_for(lambda: len(self.replies) >= before + count, f"{count} replies")

    def failed(self) -> list:
        return [reply for reply in self.replies if reply[:2] != (200, "complete")]
