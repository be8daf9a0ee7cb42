"""The application of servers that know one only: `/NAME...` goes to `NAME.wsgi`, as WSGIScriptAlias sends it there."""

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

loaded = {}


def load(name):
    loader = SourceFileLoader(f"app_{name}", str(Path(__file__).with_name(f"{name}.wsgi")))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module.application


def application(environ, start_response):
    _, name, *rest = environ["PATH_INFO"].split("/", 2)
    found = loaded.get(name)
    if found is None:
        found = loaded[name] = load(name)
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = f"/{name}", f"/{rest[0]}" if rest else ""
    return found(environ, start_response)
