"""start_response and write(): what is accepted, what is refused and how, in which order."""

import pytest

CONFIG = """
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias / ${APPS}/start_response.py
"""

differs = pytest.mark.differs


@pytest.mark.short
@pytest.mark.parametrize(
    ("name", "exception"),
    [
        ("status_bytes", "TypeError"),
        ("status_none", "TypeError"),
        ("status_int", "TypeError"),
        ("status_empty", "ValueError"),
        ("status_words", "ValueError"),
        ("status_mixed", "ValueError"),
        ("status_two_digits", "ValueError"),
        ("status_four_digits", "ValueError"),
        ("status_no_blank", "ValueError"),
        ("status_tab", "ValueError"),
        ("status_leading_blank", "ValueError"),
        ("status_crlf", "ValueError"),
        ("status_lf", "ValueError"),
        ("status_control", "ValueError"),
        ("status_not_latin", "UnicodeEncodeError"),
        ("status_digits_not_ascii", "UnicodeEncodeError"),
        pytest.param("status_nul", "ValueError", marks=differs("cuts the status at a NUL")),
        pytest.param("status_100", "ValueError", marks=differs("sends an interim status as the final one")),
        pytest.param("status_101", "ValueError", marks=differs("sends an interim status as the final one")),
        pytest.param("status_000", "ValueError", marks=differs("sends a broken status line")),
        pytest.param("status_099", "ValueError", marks=differs("sends a broken status line")),
        ("headers_none", "TypeError"),
        ("headers_str", "TypeError"),
        ("headers_tuple", "TypeError"),
        ("headers_dict", "TypeError"),
        ("headers_iterator", "TypeError"),
        ("item_list", "TypeError"),
        ("item_str", "TypeError"),
        ("item_none", "TypeError"),
        ("item_one", "ValueError"),
        ("item_three", "ValueError"),
        ("name_int", "TypeError"),
        ("name_bytes", "TypeError"),
        ("name_empty", "ValueError"),
        ("name_blank", "ValueError"),
        ("name_trailing_blank", "ValueError"),
        ("name_tab", "ValueError"),
        ("name_crlf", "ValueError"),
        pytest.param("name_nul", "ValueError", marks=differs("cuts the name at a NUL")),
        pytest.param("name_colon", "ValueError", marks=differs("accepts separators in names")),
        pytest.param("name_separator", "ValueError", marks=differs("accepts separators in names")),
        pytest.param("name_status", "ValueError", marks=differs("accepts separators in names")),
        pytest.param("name_latin", "ValueError", marks=differs("accepts letters beyond ASCII in names")),
        ("name_not_latin", "UnicodeEncodeError"),
        ("value_int", "TypeError"),
        ("value_none", "TypeError"),
        ("value_bytes", "TypeError"),
        ("value_crlf", "ValueError"),
        ("value_lf", "ValueError"),
        ("value_cr", "ValueError"),
        ("value_folded", "ValueError"),
        pytest.param("value_nul", "ValueError", marks=differs("cuts the value at a NUL")),
        pytest.param("value_control", "ValueError", marks=differs("accepts control characters in values")),
        pytest.param("value_delete", "ValueError", marks=differs("accepts control characters in values")),
        ("value_not_latin", "UnicodeEncodeError"),
        ("second_is_bad", "ValueError"),
        ("exc_info_str", "RuntimeError"),
        ("exc_info_list", "RuntimeError"),
        ("exc_info_true", "RuntimeError"),
        ("no_arguments", "TypeError"),
        ("one_argument", "TypeError"),
        ("four_arguments", "TypeError"),
        ("keywords", "TypeError"),
    ],
)
def test_refused(httpd, name, exception):
    """Wrong arguments raise in the call itself; a correct call afterwards is accepted."""
    reply = httpd.get(f"/{name}")
    assert reply.status == 200
    assert reply.text == exception
    assert reply.header("X-Evil") is None
    assert reply.header("X-A") is None


@pytest.mark.parametrize(
    ("name", "status", "reason", "headers"),
    [
        ("plain", 200, "OK", {"X-A": "b"}),
        ("exc_info_none", 200, "OK", {"X-A": "b"}),
        ("list_subclass", 200, "OK", {"X-A": "b"}),
        ("tuple_subclass", 200, "OK", {"X-A": "b"}),
        ("str_subclass", 200, "OK", {"X-A": "b"}),
        ("value_empty", 200, "OK", {"X-A": ""}),
        ("value_latin", 200, "OK", {"X-A": "caf\xe9"}),
        ("value_tab", 200, "OK", {"X-A": "b\tc"}),
        ("name_odd", 200, "OK", {"X!#$%&'*+-.^_`|~9": "b"}),
        ("reason_own", 200, "Very Well Indeed", {}),
        ("reason_latin", 200, "caf\xe9", {}),
        ("status_unknown", 299, "Odd", {}),
        ("status_418", 418, "I'm a teapot", {}),
        ("status_599", 599, "Own", {}),
        ("status_700", 700, "Beyond", {}),
        ("status_999", 999, "Last", {}),
        ("status_503", 503, "Not Now", {"Retry-After": "7"}),
    ],
)
def test_accepted(httpd, name, status, reason, headers):
    """Status, reason and headers reach the client as they were given."""
    reply = httpd.get(f"/{name}")
    assert (reply.status, reply.reason, reply.body) == (status, reason, b"ok")
    assert {key: reply.header(key) for key in headers} == headers


@pytest.mark.parametrize("name", ["reason_missing", "reason_blank"])
def test_no_reason(httpd, name):
    """The reason may be left out."""
    reply = httpd.get(f"/{name}")
    assert (reply.status, reply.body) == (200, b"ok")


@pytest.mark.short
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("writes", b"one two three four"),
        ("write_only", b"written"),
        ("write_wrong", b"TypeError,TypeError,TypeError,TypeError,TypeError"),
        ("write_in_iteration", b"one two three four"),
        ("write_empty_fixes", b"RuntimeError"),
        ("second_after_output", b"out,RuntimeError"),
        ("exc_info_after", b"out,LookupError: given"),
        ("late_start", b"ok"),
        ("empty_before_start", b"ok"),
    ],
)
def test_write(httpd, name, body):
    """write() sends at once and fixes the head; it takes bytes only."""
    reply = httpd.get(f"/{name}")
    assert (reply.status, reply.body, reply.end) == (200, body, "complete")


def test_replaced(httpd):
    """A second call before any output replaces the first, even without exc_info."""
    for name in ("replaced", "write_after_second_start"):
        reply = httpd.get(f"/{name}")
        assert (reply.status, reply.reason, reply.body) == (201, "Created", b"ok")
        assert reply.header("X-A") is None
        assert reply.header("X-B") == "c"


def test_exc_info_before_output(httpd):
    """With exc_info the head is replaced; nothing is logged, the application has dealt with it."""
    reply = httpd.get("/exc_info_before")
    assert (reply.status, reply.reason, reply.body) == (418, "I'm a teapot", b"replaced")
    assert reply.header("X-A") is None
    assert reply.header("X-B") == "c"
    reply = httpd.get("/exc_info_first")
    assert (reply.status, reply.reason, reply.body) == (500, "Own Error", b"own page")


@differs("leaves the connection open, without its last chunk")
def test_exc_info_uncaught(httpd):
    """The given exception, raised once the head is out, cuts the reply."""
    with httpd.connect() as connection:
        reply = connection.get("/exc_info_after_uncaught")
    assert reply.status == 200
    assert reply.body == b"out,"
    assert reply.end != "complete"
    httpd.log.expect_traceback("LookupError: given")


@pytest.mark.parametrize("name", ["never", "never_and_empty"])
def test_never_called(httpd, name):
    """An application that does not call start_response gets 500 and a line that says so."""
    assert httpd.get(f"/{name}").status == 500
    httpd.log.expect("start_response")
    httpd.log.allow("RuntimeError|Traceback|^  ")


def test_bad_then_never(httpd):
    """A refused call counts as none: nothing of it is sent."""
    reply = httpd.get("/bad_then_never")
    assert reply.status == 500
    assert reply.header("X-A") is None
    httpd.log.expect("start_response")
    httpd.log.allow("RuntimeError|Traceback|^  ")


def test_headers_fixed(httpd):
    """The head is complete in itself: it arrives well formed whatever the application does to its list later."""
    reply = httpd.get("/headers_changed_later")
    assert reply.header("X-A") == "b"
    assert reply.body == b"ok"


def test_expired(httpd):
    """start_response and write() of an earlier request raise RuntimeError instead of touching the current one."""
    with httpd.connect() as connection:
        assert connection.get("/keep").body == b"ok"
        reply = connection.get("/use_kept")
        assert (reply.status, reply.text) == (200, "RuntimeError,RuntimeError")
