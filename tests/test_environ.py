"""The environ: CGI variables, request headers, WSGI's and the module's own keys."""

import json
import shutil
import subprocess
import time

import pytest

from httpd import GROUP

CONFIG = """
LoadModule auth_basic_module ${MODULES}/mod_auth_basic.so
LoadModule authn_core_module ${MODULES}/mod_authn_core.so
LoadModule authn_file_module ${MODULES}/mod_authn_file.so
LoadModule authz_user_module ${MODULES}/mod_authz_user.so
LoadModule include_module ${MODULES}/mod_include.so
LoadModule mime_module ${MODULES}/mod_mime.so
LoadModule rewrite_module ${MODULES}/mod_rewrite.so
TypesConfig /dev/null
ServerAdmin admin@example.org
MergeSlashes Off
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /app ${APPS}/environ.py
WSGIScriptAlias //twice ${APPS}/environ.py
WSGIScriptAlias /locked ${APPS}/environ.py
WSGIScriptAlias /set ${APPS}/environ.py
WSGIScriptAlias /passed ${APPS}/environ.py pass-authorization=On
WSGIScriptAlias /cgipass ${APPS}/environ.py
WSGIScriptAlias /secure ${APPS}/environ.py
WSGIScriptAlias /fallback ${APPS}/environ.py
WSGIScriptAlias /current ${APPS}/environ.py
Alias /static ${ROOT}/htdocs
<Directory ${ROOT}/htdocs>
    Options +Includes
    AddOutputFilter INCLUDES .shtml
    ErrorDocument 404 /fallback/page?from=error
</Directory>
<Location /locked>
    AuthType Basic
    AuthName here
    AuthUserFile ${ROOT}/passwords
    Require valid-user
</Location>
<Location /set>
    SetEnv MY_SETTING "a value"
    SetEnv REQUEST_METHOD BOGUS
    SetEnv wsgi.url_scheme ftp
    SetEnvIf X-Colour (.*) MY_COLOUR=$1
    RewriteEngine On
    RewriteRule .* - [E=MY_RULE:ruled]
</Location>
<Location /secure>
    SetEnvIf X-Secure (.*) HTTPS=$1
</Location>
<Location /cgipass>
    CGIPassAuth On
</Location>
RewriteEngine On
RewriteRule ^/old/(.*) /current/$1 [PT]
<Location /current>
    CGIVar REQUEST_URI current-uri
</Location>
"""


def prepare(httpd):
    httpd.write("passwords", "ann:{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ=\n")  # "pass"
    httpd.write("htdocs/page.shtml", '<!--#include virtual="/app/inside?q=1" -->')


def environ(reply) -> dict:
    """The values that the application saw."""
    assert reply.status == 200, reply.body
    return {key: value for key, (_, value) in json.loads(reply.body).items()}


def types(reply) -> dict:
    """The types that the application saw."""
    return {key: kind for key, (kind, _) in json.loads(reply.body).items()}


@pytest.mark.short
def test_request_line(httpd):
    """Method, path, query and protocol arrive as they were sent."""
    seen = environ(httpd.get("/app/a/b%20c?x=%20&y=/é//z", {"Host": f"localhost:{httpd.port}"}))
    assert seen["REQUEST_METHOD"] == "GET"
    assert seen["SCRIPT_NAME"] == "/app"
    assert seen["PATH_INFO"] == "/a/b c"
    assert seen["QUERY_STRING"] == "x=%20&y=/é//z"
    assert seen["REQUEST_URI"] == "/app/a/b%20c?x=%20&y=/é//z"
    assert seen["REQUEST_SCHEME"] == "http"
    assert seen["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert seen["HTTP_HOST"] == f"localhost:{httpd.port}"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "HEAD"])
def test_method(httpd, method):
    """Every method reaches the application under its own name."""
    reply = httpd.request(method, "/app")
    assert reply.status == 200
    if method != "HEAD":
        assert environ(reply)["REQUEST_METHOD"] == method


def test_unknown_method(httpd):
    """A method that httpd does not know is not kept from the application."""
    assert environ(httpd.request("BREW", "/app"))["REQUEST_METHOD"] == "BREW"


def test_old_protocol(httpd):
    """HTTP/1.0 without a Host header works; there is no HTTP_HOST then."""
    with httpd.connect() as connection:
        connection.send("GET /app HTTP/1.0\r\n\r\n")
        seen = environ(connection.reply())
    assert seen["SERVER_PROTOCOL"] == "HTTP/1.0"
    assert "HTTP_HOST" not in seen
    assert seen["SERVER_NAME"] == "localhost"


def test_server_and_client(httpd):
    """Server and client are described as in CGI."""
    with httpd.connect() as connection:
        client_port = connection.socket.getsockname()[1]
        seen = environ(connection.get("/app", {"Host": "www.example.org"}))
    assert seen["SERVER_NAME"] == "www.example.org"
    assert seen["SERVER_ADDR"] == "127.0.0.1"
    assert seen["SERVER_PORT"] == "80"  # the Host header names none: httpd's UseCanonicalName Off
    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert seen["REMOTE_PORT"] == str(client_port)
    assert seen["SERVER_SOFTWARE"].startswith("Apache/2.4")
    assert seen["SERVER_ADMIN"] == "admin@example.org"
    assert seen["DOCUMENT_ROOT"] == str(httpd.root / "htdocs")
    assert seen["CONTEXT_DOCUMENT_ROOT"] == str(httpd.root / "htdocs")
    assert seen["CONTEXT_PREFIX"] == ""
    assert seen["SCRIPT_FILENAME"].endswith("/apps/environ.py")


@pytest.mark.parametrize(
    "key",
    [
        "GATEWAY_INTERFACE",
        "PATH_TRANSLATED",
        "REMOTE_HOST",
        "REMOTE_IDENT",
        "SERVER_SIGNATURE",
        "PATH",
        "LD_LIBRARY_PATH",
        "HTTPS",
        "CONTENT_TYPE",
        "CONTENT_LENGTH",
        "REMOTE_USER",
        "AUTH_TYPE",
        "REDIRECT_URL",
        "HTTP_X_MISSING",
        "apache.request_rec",
        "mod_wsgi.mount_point",
    ],
)
def test_absent(httpd, key):
    """Keys that a plain GET must not have."""
    assert key not in environ(httpd.get("/app"))


def test_environ_is_fresh(httpd):
    """The environ is a plain dict, and what one request puts into it is not seen by the next one."""
    with httpd.connect() as connection:
        for _ in range(3):
            assert "test.mark" not in environ(connection.get("/app"))


def test_content_headers(httpd):
    """CONTENT_TYPE and CONTENT_LENGTH have no HTTP_ form."""
    seen = environ(httpd.request("POST", "/app", {"Content-Type": "text/x; a=b"}, b"12345"))
    assert seen["CONTENT_TYPE"] == "text/x; a=b"
    assert seen["CONTENT_LENGTH"] == "5"
    assert not seen.keys() & {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("X-Custom-Header", "v")], {"HTTP_X_CUSTOM_HEADER": "v"}),
        ([("x-lower", "v")], {"HTTP_X_LOWER": "v"}),
        ([("X-Two", "a"), ("X-Two", "b")], {"HTTP_X_TWO": "a, b"}),
        ([("Cookie", "a=1"), ("Cookie", "b=2")], {"HTTP_COOKIE": "a=1, b=2"}),
        ([("X-Empty", "")], {"HTTP_X_EMPTY": ""}),
        ([("X-Latin", "caf\xe9 \xff")], {"HTTP_X_LATIN": "caf\xe9 \xff"}),
        ([("X-Utf8", "é".encode().decode("latin-1"))], {"HTTP_X_UTF8": "Ã©"}),
        ([("X_Under", "v")], {"HTTP_X_UNDER": None}),
        ([("X-Under", "good"), ("X_Under", "evil")], {"HTTP_X_UNDER": "good"}),
        ([("X_Under", "evil"), ("X-Under", "good")], {"HTTP_X_UNDER": "good"}),
        ([("X.Dot", "v")], {"HTTP_X_DOT": None, "HTTP_X.DOT": None}),
        ([("Proxy", "http://evil")], {"HTTP_PROXY": None}),
        ([("Authorization", "Bearer token")], {"HTTP_AUTHORIZATION": None}),
        ([("Proxy-Authorization", "Basic eDp5")], {"HTTP_PROXY_AUTHORIZATION": None}),
    ],
)
def test_headers(httpd, headers, expected):
    """Names are mapped; what could pose as another header, and credentials, are left out."""
    seen = environ(httpd.get("/app", headers))
    assert {key: seen.get(key) for key in expected} == expected


@pytest.mark.parametrize("path", ["/passed", "/cgipass"])
def test_authorization_passed(httpd, path):
    """Where credentials are let through, the application sees them."""
    assert environ(httpd.get(path, {"Authorization": "Bearer token"}))["HTTP_AUTHORIZATION"] == "Bearer token"


def test_authenticated_user(httpd):
    """httpd's own authentication tells the user, not the password."""
    assert httpd.get("/locked").status == 401
    seen = environ(httpd.get("/locked", {"Authorization": "Basic YW5uOnBhc3M="}))
    assert seen["REMOTE_USER"] == "ann"
    assert seen["AUTH_TYPE"] == "Basic"
    assert "HTTP_AUTHORIZATION" not in seen


@pytest.mark.parametrize(
    ("target", "script_name", "path_info"),
    [
        ("/app", "/app", ""),
        ("/app/", "/app", "/"),
        ("/app//a", "/app", "/a"),
        ("/app/a//b///c////d", "/app", "/a/b/c/d"),
        ("/app/a//", "/app", "/a/"),
        ("/app///", "/app", "/"),
        ("//app/a", "/app", "/a"),
        ("//twice/a", "/twice", "/a"),
        ("/app/caf%C3%A9", "/app", "/cafÃ©"),
        ("/app/caf%E9", "/app", "/caf\xe9"),
        ("/app/a%20b%25%3F%23", "/app", "/a b%?#"),
        ("/app/a/../b/./c", "/app", "/b/c"),
    ],
)
def test_paths(httpd, target, script_name, path_info):
    """SCRIPT_NAME and PATH_INFO are decoded and free of double slashes; REQUEST_URI is as sent."""
    seen = environ(httpd.get(f"{target}?q=//"))
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == (script_name, path_info)
    assert seen["REQUEST_URI"] == f"{target}?q=//"
    assert seen["QUERY_STRING"] == "q=//"


def test_encoded_slash(httpd):
    """httpd's AllowEncodedSlashes decides, and by default refuses."""
    assert httpd.get("/app/a%2Fb").status == 404
    httpd.log.allow("AH00026")


def test_configured_variables(httpd):
    """SetEnv, SetEnvIf and RewriteRule pass variables, which cannot replace the request's own."""
    seen = environ(httpd.get("/set", {"X-Colour": "red"}))
    assert seen["MY_SETTING"] == "a value"
    assert seen["MY_COLOUR"] == "red"
    assert seen["MY_RULE"] == "ruled"
    assert seen["REQUEST_METHOD"] == "GET"
    assert seen["wsgi.url_scheme"] == "http"


@pytest.mark.parametrize(
    ("value", "scheme"),
    [("on", "https"), ("On", "https"), ("1", "https"), ("off", "http"), ("0", "http"), ("yes", "http")],
)
def test_https_variable(httpd, value, scheme):
    """The variable HTTPS decides on the scheme and is taken away."""
    seen = environ(httpd.get("/secure", {"X-Secure": value}))
    assert seen["wsgi.url_scheme"] == scheme
    assert "HTTPS" not in seen


def test_internal_redirect(httpd):
    """An application as ErrorDocument sees where the request came from."""
    reply = httpd.get("/static/missing?a=b")
    assert reply.status == 200  # the application's own
    seen = environ(reply)
    assert seen["REDIRECT_URL"] == "/static/missing"
    assert seen["REDIRECT_QUERY_STRING"] == "a=b"
    assert seen["REDIRECT_STATUS"] == "404"
    assert seen["PATH_INFO"] == "/page"
    assert seen["QUERY_STRING"] == "from=error"


def test_rewritten(httpd):
    """After a rewrite, REQUEST_URI is the client's unless CGIVar asks for the current one."""
    seen = environ(httpd.get("/old/a"))
    assert seen["SCRIPT_NAME"] == "/current"
    assert seen["PATH_INFO"] == "/a"
    assert seen["REQUEST_URI"] == "/current/a"


def test_included(httpd):
    """An application can be included into a page by mod_include."""
    seen = environ(httpd.get("/static/page.shtml"))
    assert seen["QUERY_STRING"] == "q=1"


@pytest.mark.short
def test_wsgi_keys(httpd, setup):
    """What PEP 3333 asks for, by type and value."""
    reply = httpd.get("/app")
    seen, kinds = environ(reply), types(reply)
    assert seen["wsgi.version"] == [1, 0]
    assert kinds["wsgi.version"] == "tuple"
    assert seen["wsgi.url_scheme"] == "http"
    assert seen["wsgi.multithread"] is setup.shared
    assert seen["wsgi.multiprocess"] is not setup.shared  # under prefork there is a process for each request
    assert seen["wsgi.run_once"] is False
    assert seen["wsgi.input_terminated"] is True
    assert kinds["wsgi.multithread"] == kinds["wsgi.multiprocess"] == kinds["wsgi.run_once"] == "bool"
    assert kinds["wsgi.input"] == "mod_wsgi.Input"
    assert kinds["wsgi.errors"] == "_io.TextIOWrapper"
    assert "mod_wsgi.FileWrapper" in seen["wsgi.file_wrapper"]


def test_text_is_str(httpd):
    """Every CGI variable is exactly a str."""
    kinds = types(httpd.request("POST", "/app/x?y", {"X-Custom": "1", "Content-Type": "a/b"}, b"1"))
    wrong = {key: kind for key, kind in kinds.items() if key.isupper() and kind != "str"}
    assert wrong == {}
    assert len([key for key in kinds if key.isupper()]) > 20


@pytest.mark.mpms("event", "worker")
def test_multiprocess(start_httpd):
    """With room for two children, wsgi.multiprocess is true."""
    httpd = start_httpd("WSGIScriptAlias / ${APPS}/environ.py\n", processes=2)
    assert environ(httpd.get("/"))["wsgi.multiprocess"] is True


@pytest.mark.short
def test_own_keys(httpd):
    """The module's own keys, by type and meaning."""
    before = time.time()
    reply = httpd.get("/app//x")
    seen, kinds = environ(reply), types(reply)
    assert len(seen["mod_wsgi.version"]) == 3
    assert len(seen["apache.version"]) == 3
    assert seen["apache.version"][:2] == [2, 4]
    assert kinds["mod_wsgi.version"] == kinds["apache.version"] == "tuple"
    assert seen["mod_wsgi.process_group"] == (GROUP if httpd.setup.daemon else "")
    assert seen["mod_wsgi.application_group"] == ""
    assert seen["mod_wsgi.callable_object"] == "application"
    assert seen["mod_wsgi.request_handler"] == "wsgi-script"
    assert seen["mod_wsgi.handler_script"] == ""
    assert seen["mod_wsgi.script_name"] == "/app"
    assert seen["mod_wsgi.path_info"] == "/x"
    assert kinds["mod_wsgi.listener_host"] == "str"
    assert seen["mod_wsgi.listener_port"] == str(httpd.port)
    assert kinds["mod_wsgi.request_id"] == "str"
    assert seen["mod_wsgi.request_id"]
    assert kinds["mod_wsgi.server_pid"] == "str"
    assert int(seen["mod_wsgi.server_pid"]) in httpd.children()
    assert kinds["mod_wsgi.thread_id"] == "int"
    assert before - 1 < seen["mod_wsgi.request_start"] <= seen["mod_wsgi.application_start"] < time.time() + 1
    if httpd.setup.daemon:
        assert before - 1 < seen["mod_wsgi.queue_start"] <= seen["mod_wsgi.daemon_start"]
        assert seen["mod_wsgi.daemon_start"] <= seen["mod_wsgi.application_start"]
    else:
        assert seen["mod_wsgi.queue_start"] == seen["mod_wsgi.daemon_start"] == 0.0
    assert not [key for key in seen if key.startswith("mod_wsgi.x-")]


@pytest.mark.differs("0 under prefork")
def test_thread_id(httpd):
    """Request threads are counted from 1."""
    assert environ(httpd.get("/app"))["mod_wsgi.thread_id"] >= 1


def test_root_mount(start_httpd):
    """An application at the root has an empty SCRIPT_NAME."""
    httpd = start_httpd("MergeSlashes Off\nWSGIScriptAlias / ${APPS}/environ.py\n")
    for target, path_info in [("/", "/"), ("/a/b", "/a/b"), ("//a", "/a"), ("/environ.py", "/environ.py")]:
        seen = environ(httpd.get(target))
        assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("", path_info)


TLS = """
LoadModule ssl_module ${MODULES}/mod_ssl.so
SSLEngine On
SSLCertificateFile ${ROOT}/cert.pem
SSLCertificateKeyFile ${ROOT}/key.pem
WSGIScriptAlias /app ${APPS}/environ.py
WSGIScriptAlias /variables ${APPS}/environ.py
<Location /variables>
    SSLOptions +StdEnvVars
</Location>
"""


def certificate(httpd):
    """A throw-away certificate for localhost."""
    files = ["-keyout", httpd.root / "key.pem", "-out", httpd.root / "cert.pem"]
    kind = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(["openssl", "req", *kind, *files], check=True, capture_output=True)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl for a certificate")
def test_tls(start_httpd):
    """Over TLS the scheme is https; mod_ssl's variables come only when it is told to give them."""
    httpd = start_httpd(TLS, prepare=certificate)
    base = ["curl", "-sS", "--cacert", httpd.root / "cert.pem"]
    for path in ("app", "variables"):
        body = subprocess.run([*base, f"https://localhost:{httpd.port}/{path}"], check=True, capture_output=True).stdout
        seen = {key: value for key, (_, value) in json.loads(body).items()}
        assert seen["wsgi.url_scheme"] == "https"
        assert seen["REQUEST_SCHEME"] == "https"
        assert "HTTPS" not in seen
        assert seen["SERVER_PORT"] == str(httpd.port)
        assert ("SSL_PROTOCOL" in seen) is (path == "variables")
    httpd.log.allow("AH01873|AH01882|AH0190[69]|AH02217")  # mod_ssl's remarks on its set-up


@pytest.mark.mpms("event", "worker")  # mod_http2 refuses prefork
def test_http2(start_httpd):
    """Over HTTP/2 the application sees HTTP/2.0 and a Host."""
    httpd = start_httpd("""
        LoadModule http2_module ${MODULES}/mod_http2.so
        Protocols h2c http/1.1
        WSGIScriptAlias / ${APPS}/environ.py
        """)
    command = ["curl", "-sS", "--http2-prior-knowledge", f"http://127.0.0.1:{httpd.port}/a?b=c"]
    body = subprocess.run(command, check=True, capture_output=True).stdout
    seen = {key: value for key, (_, value) in json.loads(body).items()}
    assert seen["SERVER_PROTOCOL"] == "HTTP/2.0"
    assert seen["HTTP_HOST"] == f"127.0.0.1:{httpd.port}"
    assert seen["PATH_INFO"] == "/a"
