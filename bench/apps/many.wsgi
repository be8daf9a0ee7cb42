BLOCK = b"x" * 100


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(1000):
        yield BLOCK
