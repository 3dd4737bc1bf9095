"""The frame and the style sheet of every web page: one file without outside resources, for any browser, offline.

A page is a Jinja template that stands beside the module that fills it and extends ``memory.pages/frame.html``. Text
from models, kernels and compilers is data: templates escape every value, data for a script is JSON that no text can
end, and the page's policy runs no script but the one whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources

import jinja2


def page(template: str, title: str, content: Mapping[str, object], script: str = "", data: object = None) -> str:
    """The page that `template`, ``package/file.html``, makes of `content`.

    `script` runs in the page and finds `data` as JSON in the element ``#data``.
    """
    return (
        templates()
        .get_template(template)
        .render(content, title=title, style=style_sheet(), policy=_policy(script), script=script, data=data)
    )


def style_sheet() -> str:
    """The rules that all pages and drawings share."""
    return read_resource("memory.pages/page.css")


def read_resource(name: str) -> str:
    """A text file of package data, ``package/file``."""
    package, _, file = name.partition("/")
    return resources.files(package).joinpath(file).read_text(encoding="utf-8")


@cache
def templates() -> jinja2.Environment:
    """Where the templates are found. A name that a template uses and nobody gave is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["zip"] = zip
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


def _policy(script: str) -> str:
    """The Content-Security-Policy (w3.org/TR/CSP3): nothing is loaded, and only `script` runs."""
    allowed = "default-src 'none'; style-src 'unsafe-inline'"
    if not script:
        return allowed
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"{allowed}; script-src 'sha256-{digest}'"
