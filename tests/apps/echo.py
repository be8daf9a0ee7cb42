"""Sends the request body back piece by piece, as it comes; `/unread` and `/first` answer before reading."""


def application(environ, start_response):
    stream = environ["wsgi.input"]
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    if environ["PATH_INFO"] == "/unread":
        return [b"not read"]
    if environ["PATH_INFO"] == "/first":
        return answer_first(stream)
    return iter(lambda: stream.read(int(environ["QUERY_STRING"] or 65536)), b"")


def answer_first(stream):
    yield b"ready\n"
    yield stream.read()
