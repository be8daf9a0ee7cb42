"""The handler wsgi-status: for people, for programs, for Prometheus."""

import json

import pytest

from client import wait_for
from httpd import GROUP

pytestmark = [pytest.mark.mpms("event"), pytest.mark.differs("it has no such handler")]

STATUS = """
<Location "/wsgi-status">
    SetHandler wsgi-status
</Location>
"""
APP = "WSGIScriptAlias /hello ${APPS}/hello.py\n"


def report(httpd) -> dict:
    reply = httpd.get("/wsgi-status?format=json")
    assert reply.status == 200, reply
    assert reply.header("Content-Type") == "application/json"
    return json.loads(reply.body)


def group_of(httpd) -> dict:
    """The group that the application runs in."""
    name = GROUP if httpd.setup.daemon else ""
    found = [group for group in report(httpd)["groups"] if group["name"] == name]
    return found[0] if found else {"requests": {"completed": 0}}


def test_counts(start_httpd):
    """What was asked for is counted."""
    httpd = start_httpd(STATUS + APP)
    for _ in range(5):
        assert httpd.get("/hello").status == 200
    group = wait_for(lambda: (found := group_of(httpd))["requests"]["completed"] == 5 and found, "five requests")
    assert group["requests"]["status"] == [0, 5, 0, 0, 0]
    assert group["requests"]["failed"] == 0
    assert group["times"]["request_time"]["count"] == 5
    assert group["times"]["application_time"]["count"] == 5
