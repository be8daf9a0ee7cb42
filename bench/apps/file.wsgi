from pathlib import Path
from wsgiref.util import FileWrapper

FILE = Path(__file__).with_suffix(".bin")
LENGTH = str(FILE.stat().st_size)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", LENGTH)])
    # It is optional (PEP 3333), and granian has none.
    return environ.get("wsgi.file_wrapper", FileWrapper)(FILE.open("rb"))
