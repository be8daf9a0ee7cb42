"""Uses start_response in the way that PATH_INFO names; an exception is answered by its type's name."""

import sys

kept = []


class Text(str):
    pass


class List(list):
    pass


class Pair(tuple):
    __slots__ = ()


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    if name in BAD:
        try:
            start_response(*BAD[name])
        except Exception as error:
            return answer(start_response, type(error).__name__)
        return answer(start_response, "accepted")
    if name in GOOD:
        start_response(*GOOD[name])
        return [b"ok"]
    return globals()[name](start_response)


def answer(start_response, text):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]


OK = "200 OK"
BAD = {
    "status_bytes": (b"200 OK", []),
    "status_none": (None, []),
    "status_int": (200, []),
    "status_empty": ("", []),
    "status_words": ("OK", []),
    "status_mixed": ("2x0 OK", []),
    "status_two_digits": ("20 OK", []),
    "status_four_digits": ("2000 OK", []),
    "status_no_blank": ("200OK", []),
    "status_tab": ("200\tOK", []),
    "status_leading_blank": (" 200 OK", []),
    "status_crlf": ("200 OK\r\nX-Evil: 1", []),
    "status_lf": ("200 OK\n", []),
    "status_nul": ("200 O\0K", []),
    "status_control": ("200 O\x01K", []),
    "status_not_latin": ("200 \u2603", []),
    "status_digits_not_ascii": ("\u0662\u0660\u0660 OK", []),
    "status_100": ("100 Continue", []),
    "status_101": ("101 Switching Protocols", []),
    "status_000": ("000 Nothing", []),
    "status_099": ("099 Low", []),
    "headers_none": (OK, None),
    "headers_str": (OK, "X: y"),
    "headers_tuple": (OK, (("X-A", "b"),)),
    "headers_dict": (OK, {"X-A": "b"}),
    "headers_iterator": (OK, iter([("X-A", "b")])),
    "item_list": (OK, [["X-A", "b"]]),
    "item_str": (OK, ["ab"]),
    "item_none": (OK, [None]),
    "item_one": (OK, [("X-A",)]),
    "item_three": (OK, [("X-A", "b", "c")]),
    "name_int": (OK, [(1, "b")]),
    "name_bytes": (OK, [(b"X-A", "b")]),
    "name_empty": (OK, [("", "b")]),
    "name_blank": (OK, [("X A", "b")]),
    "name_trailing_blank": (OK, [("X-A ", "b")]),
    "name_tab": (OK, [("X\tA", "b")]),
    "name_crlf": (OK, [("X-A\r\nX-Evil", "b")]),
    "name_nul": (OK, [("X-A\0B", "b")]),
    "name_colon": (OK, [("X-A:", "b")]),
    "name_separator": (OK, [("X(A)", "b")]),
    "name_latin": (OK, [("X-\xe9", "b")]),
    "name_not_latin": (OK, [("X-\u2603", "b")]),
    "name_status": (OK, [("Status:", "404")]),
    "value_int": (OK, [("X-A", 1)]),
    "value_none": (OK, [("X-A", None)]),
    "value_bytes": (OK, [("X-A", b"b")]),
    "value_crlf": (OK, [("X-A", "b\r\nX-Evil: 1")]),
    "value_lf": (OK, [("X-A", "b\nX-Evil: 1")]),
    "value_cr": (OK, [("X-A", "b\rX-Evil: 1")]),
    "value_folded": (OK, [("X-A", "b\r\n c")]),
    "value_nul": (OK, [("X-A", "b\0c")]),
    "value_control": (OK, [("X-A", "b\x1bc")]),
    "value_delete": (OK, [("X-A", "b\x7fc")]),
    "value_not_latin": (OK, [("X-A", "\u2603")]),
    "second_is_bad": (OK, [("X-A", "b"), ("X-B", "c\n")]),
    "exc_info_str": (OK, [], "error"),
    "exc_info_list": (OK, [], [None, None, None]),
    "exc_info_true": (OK, [], True),
    "no_arguments": (),
    "one_argument": (OK,),
    "four_arguments": (OK, [], None, None),
}
GOOD = {
    "plain": (OK, [("X-A", "b")]),
    "exc_info_none": (OK, [("X-A", "b")], None),
    "list_subclass": (OK, List([("X-A", "b")])),
    "tuple_subclass": (OK, [Pair(("X-A", "b"))]),
    "str_subclass": (Text("200 OK"), [(Text("X-A"), Text("b"))]),
    "value_empty": (OK, [("X-A", "")]),
    "value_latin": (OK, [("X-A", "caf\xe9")]),
    "value_tab": (OK, [("X-A", "b\tc")]),
    "name_odd": (OK, [("X!#$%&'*+-.^_`|~9", "b")]),
    "reason_missing": ("200", []),
    "reason_blank": ("200 ", []),
    "reason_own": ("200 Very Well Indeed", []),
    "reason_latin": ("200 caf\xe9", []),
    "status_unknown": ("299 Odd", []),
    "status_418": ("418 I'm a teapot", []),
    "status_599": ("599 Own", []),
    "status_700": ("700 Beyond", []),
    "status_999": ("999 Last", []),
    "status_503": ("503 Not Now", [("Retry-After", "7")]),
}


def keywords(start_response):
    try:
        start_response(status="200 OK", headers=[])
    except TypeError:
        return answer(start_response, "TypeError")
    return answer(start_response, "accepted")


def writes(start_response):
    write = start_response("200 OK", [("X-A", "b")])
    assert write(b"one ") is None
    write(b"two ")
    write(b"")
    return [b"three ", b"four"]


def write_only(start_response):
    start_response("200 OK", [])(b"written")
    return []


def write_wrong(start_response):
    names = []
    write = start_response("200 OK", [])
    for value in ("text", bytearray(b"x"), memoryview(b"x"), None, 1):
        try:
            write(value)
            names.append("accepted")
        except TypeError:
            names.append("TypeError")
    return [",".join(names).encode()]


def write_in_iteration(start_response):
    write = start_response("200 OK", [])
    write(b"one ")
    yield b"two "
    write(b"three ")
    yield b"four"


def write_after_second_start(start_response):
    start_response("200 OK", [("X-A", "b")])
    write = start_response("201 Created", [("X-B", "c")])
    write(b"ok")
    return []


def replaced(start_response):
    start_response("200 OK", [("X-A", "b")])
    start_response("201 Created", [("X-B", "c")])
    return [b"ok"]


def write_empty_fixes(start_response):
    start_response("200 OK", [])(b"")
    try:
        start_response("201 Created", [])
    except RuntimeError:
        return [b"RuntimeError"]
    return [b"accepted"]


def second_after_output(start_response):
    start_response("200 OK", [])(b"out,")
    try:
        start_response("201 Created", [])
    except RuntimeError:
        return [b"RuntimeError"]
    return [b"accepted"]


def failing():
    try:
        raise LookupError("given")
    except LookupError:
        return sys.exc_info()


def exc_info_before(start_response):
    start_response("200 OK", [("X-A", "b")])
    start_response("418 I'm a teapot", [("X-B", "c")], failing())
    return [b"replaced"]


def exc_info_first(start_response):
    start_response("500 Own Error", [("X-B", "c")], failing())
    return [b"own page"]


def exc_info_after(start_response):
    start_response("200 OK", [])(b"out,")
    try:
        start_response("500 Error", [], failing())
    except LookupError as error:
        return [f"{type(error).__name__}: {error}".encode()]
    return [b"accepted"]


def exc_info_after_uncaught(start_response):
    start_response("200 OK", [])
    yield b"out,"
    start_response("500 Error", [], failing())
    yield b"never"


def late_start(start_response):
    """PEP 3333 allows the call at the first iteration."""
    start_response("200 OK", [("X-A", "b")])
    yield b"ok"


def empty_before_start(start_response):
    yield b""
    start_response("200 OK", [("X-A", "b")])
    yield b"ok"


def never(start_response):
    return [b"body without a head"]


def never_and_empty(start_response):
    return []


def headers_changed_later(start_response):
    headers = [("X-A", "b")]
    start_response("200 OK", headers)
    headers.append(("X-Late", "c"))
    return [b"ok"]


def bad_then_never(start_response):
    try:
        start_response("200 OK", [("X-A", "b\r\nX-Evil: 1")])
    except ValueError:
        return [b"body"]
    return [b"accepted"]


def keep(start_response):
    write = start_response("200 OK", [])
    kept[:] = [start_response, write]
    return [b"ok"]


def use_kept(start_response):
    names = []
    for call in (lambda: kept[0]("500 Error", []), lambda: kept[1](b"into another reply")):
        try:
            call()
            names.append("accepted")
        except RuntimeError:
            names.append("RuntimeError")
    return answer(start_response, ",".join(names))
