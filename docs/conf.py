"""The site of the documentation: `sphinx-build -W --keep-going docs build/docs`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

project = "condense · continual · nas"
copyright = "MIT licence"  # noqa: A001
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_static", "examples"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {
    name: name.rpartition(".")[2]
    for name in ("npt.ArrayLike", "Array", "Build", "Distance", "Gradients", "Scores", "Shape")
}
autodoc_preserve_defaults = True
autoclass_content = "both"
default_role = "py:obj"
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
python_display_short_literal_types = True

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.png"
html_theme_options = {"light_logo": "logo.png", "dark_logo": "logo.png"}
html_show_sphinx = False

OUTSIDE = {
    "CONTRIBUTING.md": "contributing",
    "CHANGELOG.md": "changelog",
    "benchmarks/README.md": "measurements",
}
"""Pages of the site that include a file outside this folder."""

for _file, _page in OUTSIDE.items():
    if not (ROOT / _file).exists():
        exclude_patterns.append(f"{_page}.*")
        suppress_warnings = ["toc.excluded"]


def from_google(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Convert sections such as "Args:" to reStructuredText.

    In the text of an attribute napoleon would take all before a colon for a type, so attributes are
    converted like functions.
    """
    kind = "function" if what in ("attribute", "data", "property") else what
    lines[:] = GoogleDocstring(lines, Config(), app, kind, name, obj, options).lines()


def with_defaults(
    app: Sphinx,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    result: str | None,
) -> tuple[str | None, str | None]:
    """Show a default that a dataclass makes as `...`; Sphinx cannot read `<factory>`."""
    return signature and signature.replace("<factory>", "..."), result


def link_to_pages(app: Sphinx, doctree: nodes.document) -> None:
    """Turn links to Markdown files outside this folder into links to the pages with them."""
    for node in doctree.findall(addnodes.pending_xref):
        file = Path(f"{node['reftarget']}.md")
        if node["reftype"] == "myst" and file.is_relative_to(ROOT):
            outside = file.relative_to(ROOT).as_posix()
            node["reftarget"] = OUTSIDE.get(outside, node["reftarget"])


def link_to_code(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Turn links to modules into links to the pages of their source code.

    [`name`](module.py) leads to the definition of this function or class.
    """
    for node in list(doctree.findall(addnodes.download_reference)):
        path = Path(os.path.normpath(Path("docs", page).parent / node["reftarget"]))
        if path.suffix == ".py" and path.parts[0] != "docs":
            name = node.astext()
            uri = app.builder.get_relative_uri(page, f"_modules/{path.with_suffix('').as_posix()}")
            if name.replace(".", "").isidentifier() and not name.isupper():
                uri += f"#{name}"
            node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=True))


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the above."""
    app.connect("autodoc-process-docstring", from_google)
    app.connect("autodoc-process-signature", with_defaults)
    app.connect("doctree-read", link_to_pages)
    app.connect("doctree-resolved", link_to_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
