"""Uses large C extensions."""

import io

import numpy
from cryptography.fernet import Fernet
from lxml import etree


def application(environ, start_response):
    tree = etree.parse(io.BytesIO(b"<a><b>text</b></a>"))
    key = Fernet(Fernet.generate_key())
    seen = [str(numpy.arange(10).sum()), tree.findtext("b"), key.decrypt(key.encrypt(b"secret")).decode()]
    body = ",".join(seen).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
