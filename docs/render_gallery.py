"""Write docs/gallery.md, and docs/api/gallery.html with what each example prints and draws.

An example is a script in docs/gallery: a docstring of a title and some lines, then the code.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import html
import io
import os
import runpy
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ssinfnet.storage import artifacts

__all__ = ["Example", "examples", "gallery_page", "rendered", "run"]

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = "<!-- Written by docs/render_gallery.py (`make docs`); change the examples instead. -->\n"
STYLE = (
    "body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; "
    "padding: 0 1rem; color-scheme: light dark } pre { overflow: auto; padding: .7rem; "
    "border: 1px solid #9996 } img { max-width: 100%; background: #fff }"
)


class Example(NamedTuple):
    """A script of the gallery: title, what it shows, code."""

    path: Path
    title: str
    words: str
    code: str


def examples() -> list[Example]:
    """Return the examples in their order."""
    found = []
    for path in sorted((ROOT / "docs" / "gallery").glob("[0-9]*.py")):
        source = path.read_text(encoding="utf-8")
        title, _, words = ast.get_docstring(ast.parse(source)).partition("\n\n")
        code = source.split('"""', 2)[2].strip()
        found.append(Example(path, title.rstrip("."), " ".join(words.split()), code))
    return found


def gallery_page() -> str:
    """Return docs/gallery.md."""
    parts = [
        WRITTEN,
        "# Gallery\n",
        "Ten short examples on data that come with the library; each runs as it is, in seconds, "
        "and the tests\nrun them. `make docs` renders them with what they print and draw into "
        "`docs/api/gallery.html`, beside the\nreference of every function.\n",
    ]
    for one in examples():
        link = f"[{one.path.name}](gallery/{one.path.name})"
        parts.append(f"## {one.title}\n\n{one.words} {link}\n\n```python\n{one.code}\n```\n")
    return "\n".join(parts)


def run(example: Example) -> tuple[dict[str, Any], str, list[bytes]]:
    """Run an example; return its variables, what it printed, and its figures as PNG."""
    from matplotlib import pyplot

    pyplot.close("all")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        variables = runpy.run_path(str(example.path))
    figures = []
    for number in pyplot.get_fignums():
        held = io.BytesIO()
        pyplot.figure(number).savefig(held, dpi=100, bbox_inches="tight")
        figures.append(held.getvalue())
    pyplot.close("all")
    return variables, printed.getvalue(), figures


def rendered() -> str:
    """Return all examples as one HTML page, with what they print and draw."""
    parts = []
    for one in examples():
        _, printed, figures = run(one)
        pictures = [
            f'<img alt="{html.escape(one.title)}" src="data:image/png;base64,'
            f'{base64.b64encode(png).decode()}">'
            for png in figures
        ]
        parts += [
            f"<h2>{html.escape(one.title)}</h2><p>{html.escape(one.words)}</p>",
            f"<pre>{html.escape(one.code)}</pre><pre>{html.escape(printed)}</pre>",
            *pictures,
        ]
    head = (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Gallery</title><style>{STYLE}'
    )
    return f"{head}</style><h1>Gallery</h1>{''.join(parts)}</html>\n"


def main() -> None:
    """Write both pages."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    artifacts.write_text(ROOT / "docs" / "gallery.md", gallery_page())
    artifacts.write_text(ROOT / "docs" / "api" / "gallery.html", rendered())
    sys.stdout.write("docs/gallery.md\ndocs/api/gallery.html\n")


if __name__ == "__main__":
    main()
