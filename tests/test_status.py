"""The handler wsgi-status: for people, for programs, for Prometheus."""

import json
import re
import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from client import settled, wait_for
from httpd import GROUP

pytestmark = [pytest.mark.mpms("event"), pytest.mark.differs("it has no such handler")]

STATUS = """
<Location "/wsgi-status">
    SetHandler wsgi-status
</Location>
"""
APP = "WSGIScriptAlias /hello ${APPS}/hello.py\nWSGIScriptAlias /metrics ${APPS}/metrics.py\n"


def report(httpd) -> dict:
    reply = httpd.get("/wsgi-status?format=json")
    assert reply.status == 200, reply
    assert reply.header("Content-Type") == "application/json"
    return json.loads(reply.body)


def group_of(httpd) -> dict:
    """The group that the application runs in."""
    name = GROUP if httpd.setup.daemon else ""
    found = [group for group in report(httpd)["groups"] if group["name"] == name]
    return found[0] if found else {"requests": {"completed": 0, "failed": 0}}


def test_counts(start_httpd):
    """What was asked for is counted."""
    httpd = start_httpd(STATUS + APP)
    for _ in range(5):
        assert httpd.get("/hello").status == 200

    def counted():
        group = group_of(httpd)
        assert group["requests"]["completed"] == 5
        assert group["requests"]["status"] == [0, 5, 0, 0, 0]
        assert group["requests"]["failed"] == 0
        assert group["times"]["request_time"]["count"] == 5
        assert group["times"]["application_time"]["count"] == 5

    settled(counted)


def test_page(start_httpd):
    """The page for people: whole, self-contained, and what a client chose is escaped."""
    httpd = start_httpd(STATUS + APP)
    gate = httpd.root / "open"
    thread = threading.Thread(target=httpd.get, args=(f"/metrics/wait/<script>&'\"?{gate}",))
    thread.start()
    page = wait_for(lambda: "GET /metrics/wait" in (page := text(httpd)) and page, "the request to be shown")
    gate.touch()
    thread.join()
    assert "<script" not in page
    assert "GET /metrics/wait/&lt;script&gt;&amp;'&quot;" in page
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>")
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?(https?:)?//", page)
    assert page.count("<svg") == page.count("<section") >= 1


def text(httpd) -> str:
    reply = httpd.get("/wsgi-status")
    assert reply.status == 200
    assert reply.header("Content-Type") == "text/html; charset=utf-8"
    assert reply.header("Cache-Control") == "no-store"
    assert "default-src 'none'" in reply.header("Content-Security-Policy")
    return reply.body.decode()


def test_openmetrics(start_httpd):
    """What a Prometheus reads: the text is right, and so are the numbers."""
    httpd = start_httpd(STATUS + APP)
    for _ in range(3):
        httpd.get("/hello")
    httpd.get("/metrics/status?404")
    wait_for(lambda: group_of(httpd)["requests"]["completed"] == 4, "four requests")
    settled(lambda: numbers(httpd))


def numbers(httpd) -> None:
    """What there is to be read of one request with status 404 and three with 200."""
    reply = httpd.get("/wsgi-status?format=openmetrics")
    assert reply.header("Content-Type") == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(reply.body.decode())}
    group = GROUP if httpd.setup.daemon else "%{GLOBAL}"

    def samples(name: str, **labels: str) -> list[float]:
        found = [sample for family in families.values() for sample in family.samples if sample.name == name]
        return [sample.value for sample in found if {"group": group, **labels}.items() <= sample.labels.items()]

    assert samples("mod_wsgi_requests_total", status="2xx") == [3]
    assert samples("mod_wsgi_requests_total", status="4xx") == [1]
    assert samples("mod_wsgi_request_duration_seconds_count") == [4]
    assert samples("mod_wsgi_request_duration_seconds_bucket", le="+Inf") == [4]
    buckets = samples("mod_wsgi_request_duration_seconds_bucket")
    assert buckets == sorted(buckets)
    assert sum(samples("mod_wsgi_cpu_seconds_total")) > 0
    # httpd starts its own processes, and nobody counts them.
    assert samples("mod_wsgi_process_starts_total") == ([1] if httpd.setup.daemon else [])
    assert families["mod_wsgi_request_duration_seconds"].type == "histogram"
    assert families["mod_wsgi_request_duration_seconds"].unit == "seconds"


def test_who_may_see_it(start_httpd):
    """httpd's own rules hold for it; other formats and methods are refused."""
    httpd = start_httpd(STATUS.replace("</Location>", "Require all denied\n</Location>"))
    assert httpd.get("/wsgi-status").status == 403
    httpd.log.allow("AH01630")
    httpd.configure(STATUS)
    httpd.graceful()
    assert httpd.get("/wsgi-status?format=xml").status == 400
    assert httpd.request("POST", "/wsgi-status").status == 405
    assert httpd.request("HEAD", "/wsgi-status").status == 200


@pytest.mark.modes("daemon")
def test_hostile_daemon(start_httpd):
    """A daemon that writes rubbish on its page falsifies its own numbers, and nothing else."""
    httpd = start_httpd(STATUS + APP + "WSGIScriptAlias /vandal ${ROOT}/vandal.py\n", prepare=write_vandal)
    assert httpd.get("/vandal").body == b"done"
    wait_for(lambda: group_of(httpd)["requests"]["failed"] > 1000, "a report on that")
    assert text(httpd).endswith("</html>")
    reply = httpd.get("/wsgi-status?format=openmetrics")
    assert list(text_string_to_metric_families(reply.body.decode()))


def write_vandal(httpd) -> None:
    httpd.write(
        "vandal.py",
        """
import os

def application(environ, start_response):
    for name in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{name}"
        if os.path.exists(path) and "wsgi-stats" in os.readlink(path):
            raise AssertionError("the daemon keeps the descriptor of its page")
    for line in open("/proc/self/maps"):
        if "wsgi-stats" in line:
            start, end = (int(number, 16) for number in line.split()[0].split("-"))
            with open("/proc/self/mem", "r+b", 0) as memory:
                memory.seek(start + 16)
                memory.write(b"\\xff" * (end - start - 16))
    start_response("200 OK", [])
    return [b"done"]
""",
    )
