"""httpbin, as its package offers it."""

from httpbin import app as application  # noqa: F401
