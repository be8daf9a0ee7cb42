"""What a request costs: ours beside mod_wsgi, a C handler and a static file, on the same httpd."""
