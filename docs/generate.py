"""Write docs/studies.md, docs/commands.md and docs/tables.md: nothing is written twice.

Keys, types and defaults of a study come from its models in ssinfnet/study/config; what a key means
and where its value comes from is the comment beside it; commands come from ssinfnet/cli and the
Makefile. `python docs/generate.py --api` also renders the docstrings into docs/api.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import sys
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ssinfnet.cli import app
from ssinfnet.paper.contents import contents
from ssinfnet.storage import artifacts
from ssinfnet.study.config import Study
from ssinfnet.study.config.parts import MultiName, SingleName
from ssinfnet.study.models import MULTI_MODELS, SINGLE_MODELS

__all__ = ["commands", "commands_page", "comment", "field_comments", "make_verbs", "module_names",
           "parts", "studies_page", "tables_page"]  # fmt: skip

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = "<!-- Written by docs/generate.py (`make docs`); change the code instead. -->\n"
BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
NAMED = {SingleName: "[single model](#models)", MultiName: "[multi model](#models)"}
NOT_SAID = ("fmt:", "noqa", "type:")  # comments for tools


def linked(page: str) -> str:
    """Return a page whose D-nn lead to their entries in DECISIONS.md, but for those in code."""
    return re.sub(
        r"`[^`\n]*`|\b(D-(\d{2,3}))\b",
        lambda found: f"[{found[1]}](../DECISIONS.md#d-{found[2]})" if found[1] else found[0],
        page,
    )


# ---------------------------------------------------------------------------------------------
# Studies


def parts() -> dict[type[BaseModel], list[str]]:
    """Return each part of a study → where it stands in the file (`single.training`)."""
    found: dict[type[BaseModel], list[str]] = {Study: [""]}
    _walk(Study, "", found)
    return found


def _walk(part: type[BaseModel], place: str, found: dict[type[BaseModel], list[str]]) -> None:
    for name, field in part.model_fields.items():
        if inner := _part_of(field.annotation):
            inner_place = f"{place}.{name}".strip(".")
            found.setdefault(inner, []).append(inner_place)
            _walk(inner, inner_place, found)


def _part_of(annotation: Any) -> type[BaseModel] | None:
    """Return the part that a key holds, alone, in a list or optionally."""
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def field_comments(part: type[BaseModel]) -> dict[str, str]:
    """Return key → the comment beside it, for the keys that a part itself defines."""
    source = inspect.getsource(part)
    tokens = tokenize.generate_tokens(iter(source.splitlines(keepends=True)).__next__)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokens
        if token.type == tokenize.COMMENT and not token.string.lstrip("# ").startswith(NOT_SAID)
    }
    fields = [line for line in ast.parse(source).body[0].body if isinstance(line, ast.AnnAssign)]
    return {field.target.id: comments.get(field.lineno, "") for field in fields}


def comment(part: type[BaseModel], name: str) -> str:
    """Return what a page says of a key: the comment of the nearest class that has one."""
    for owner in part.__mro__:
        if issubclass(owner, BaseModel) and name in owner.__dict__.get("__annotations__", {}):
            if said := field_comments(owner).get(name):
                return said
    inner = _part_of(part.model_fields[name].annotation)
    return _first_line(inner) if inner else ""


def _first_line(documented: Any) -> str:
    return inspect.getdoc(documented).splitlines()[0]


def shown_type(annotation: Any, metadata: list[Any]) -> str:
    """Say a key's type in words: "whole number above 0", "list of `unet`, `fcn8s`"."""
    if (part := _part_of(annotation)) and get_origin(annotation) is not tuple:
        words = f"[{part.__name__}](#{_anchor(part)})"
    elif part:
        return f"list of [{part.__name__}](#{_anchor(part)})"
    elif get_origin(annotation) in (Union, UnionType):
        (held,) = [one for one in get_args(annotation) if one is not NoneType]
        return f"{_plain_type(held, metadata)}, or null"
    else:
        return _plain_type(annotation, metadata)
    return f"{words}, or null" if NoneType in get_args(annotation) else words


def _plain_type(annotation: Any, metadata: list[Any]) -> str:
    if hasattr(annotation, "__metadata__"):  # Annotated
        return _plain_type(annotation.__origin__, [*annotation.__metadata__, *metadata])
    if annotation in NAMED:
        return NAMED[annotation]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"list of {_plain_type(get_args(annotation)[0], [])}"
    if get_origin(annotation) is dict:
        keys, values = (_plain_type(one, []) for one in get_args(annotation))
        return f"{keys} to {values}"
    word = {int: "whole number", float: "number", str: "text", bool: "true or false"}[annotation]
    return " ".join([word, " and ".join(_bounds(metadata))]).strip()


def _bounds(metadata: list[Any]) -> Iterator[str]:
    for rule in metadata:
        rules = rule.metadata if isinstance(rule, FieldInfo) else [rule]
        for one in rules:
            for limit, words in BOUNDS.items():
                if getattr(one, limit, None) is not None:
                    yield f"{words} {getattr(one, limit)}"


def shown_default(part: type[BaseModel], field: FieldInfo) -> str:
    """Say a key's default as YAML; for a part, what differs from the part's own defaults."""
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, BaseModel):
        inner = type(value)
        own = {key: given.default for key, given in inner.model_fields.items()}
        changed = {key: getattr(value, key) for key in own if getattr(value, key) != own[key]}
        return f"`{_as_yaml(changed)}`" if changed else "its own"
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        first = ", ".join(_as_yaml(one.model_dump()) for one in value[:3])
        return f"`{first}`, … {len(value)} in all"
    return f"`{_as_yaml(list(value) if isinstance(value, tuple) else value)}`"


def _as_yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _anchor(part: type[BaseModel]) -> str:
    return part.__name__.lower()


def studies_page() -> str:
    """Return docs/studies.md."""
    lines = [
        WRITTEN,
        "# Every key of a study",
        "",
        "A study is one YAML file in `studies/` (or anywhere: `STUDY=my/study.yaml`). What it does",
        "not say keeps the default below: the paper's own value, unless the last column says",
        "otherwise. J is the journal article, S its supplement, V and D the severity manuscripts;",
        "D-nn is an entry of [DECISIONS.md](../DECISIONS.md). An unknown key, a wrong type or an",
        "impossible value is refused with its place. `ssinfnet study NAME` prints a study in full.",
        'None is YAML\'s null, () its `[]`; "its own" are the defaults of the part that is linked.',
    ]
    for part, places in parts().items():
        lines += ["", f"## {part.__name__}", "", _first_line(part)]
        if any(places):
            under = ", ".join(f"`{place}`" for place in dict.fromkeys(places))
            lines += ["", f"Under {under}."]
        lines += ["", "| key | type | default | what it is, and where the default comes from |"]
        lines += ["| --- | --- | --- | --- |"]
        for name, field in part.model_fields.items():
            cells = (
                f"`{name}`",
                shown_type(field.annotation, field.metadata),
                shown_default(part, field),
                comment(part, name),
            )
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", "## Models", "", "| key | stage | in tables |", "| --- | --- | --- |"]
    for stage, models in (("single", SINGLE_MODELS), ("multi", MULTI_MODELS)):
        lines += [f"| `{name}` | {stage} | {model.label} |" for name, model in models.items()]
    return linked("\n".join(lines) + "\n")


# ---------------------------------------------------------------------------------------------
# Commands


def commands(group: Any = None, named: str = "ssinfnet") -> Iterator[tuple[str, Any]]:
    """Yield every command with its full name: `ssinfnet data inspect`."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{named} {name}")
        else:
            yield f"{named} {name}", command


def commands_page() -> str:
    """Return docs/commands.md."""
    lines = [
        WRITTEN,
        "# Every command",
        "",
        "`ssinfnet VERB --help` says the same in a terminal. What cannot be done is said in one",
        "line on the error stream, with exit status 1.",
    ]
    for name, command in commands():
        arguments = [given for given in command.params if given.param_type_name == "argument"]
        options = [given for given in command.params if given.param_type_name == "option"]
        words = [name, *(_placeholder(given) for given in arguments)]
        words += [f"{given.opts[0]} …" for given in options if given.required]
        lines += ["", f"## {name}", "", f"`{' '.join(words)}`", "", inspect.cleandoc(command.help)]
        if command.params:
            lines += ["", "| | default | |", "| --- | --- | --- |"]
        for given in (*arguments, *options):
            shown = _placeholder(given) if given in arguments else ", ".join(_switches(given))
            cells = (f"`{shown}`", _given_default(given), given.help or "")
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", "## make", "", "`make VERB [STUDY=demo] [DATA=folder of raw data] …`", ""]
    lines += ["| | |", "| --- | --- |"]
    lines += [f"| `make {verb}` | {said} |" for verb, said in make_verbs().items()]
    return linked("\n".join(lines) + "\n")


def _placeholder(given: Any) -> str:
    shown = given.metavar or given.name.upper()
    return f"{shown}…" if given.nargs == -1 and not shown.endswith("…") else shown


def _switches(given: Any) -> list[str]:
    return [*given.opts, *given.secondary_opts]


def _given_default(given: Any) -> str:
    if given.required:
        return "required"
    default = given.default
    return "" if default in (None, "", False, ()) or callable(default) else f"`{default}`"


def make_verbs() -> dict[str, str]:
    """Return verb → what the Makefile says of it."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z]+):.*?## (.*)$", text, flags=re.MULTILINE))


# ---------------------------------------------------------------------------------------------
# Docstrings


# ---------------------------------------------------------------------------------------------
# Tables and figures


def tables_page() -> str:
    """Return docs/tables.md: what of the paper ours is, and the notebook that makes it."""
    rows: dict[tuple[str, str], list[str]] = {}
    for item in contents():
        names = rows.setdefault((item.source, item.notebook), [])
        names += [f"`{name.replace('*', '…')}`" for name in _spelt_out(item.pattern)]
    # the paper first, in its own order of chapters; what it does not have comes last
    ordered = sorted(rows, key=lambda row: row[0].startswith("beyond"))
    lines = [
        f"| {source} | {', '.join(rows[source, notebook])} | `{notebook}` |"
        for source, notebook in ordered
    ]
    return linked("\n".join([WRITTEN, *TABLES_HEAD, *lines, *TABLES_FOOT]))


def _spelt_out(pattern: str) -> Iterator[str]:
    """Yield a pattern once for each letter of its brackets: s[56]a is s5a and s6a."""
    if bracket := re.search(r"\[(\w+)\]", pattern):
        for letter in bracket[1]:
            yield from _spelt_out(pattern.replace(bracket[0], letter, 1))
    else:
        yield pattern


TABLES_HEAD = [
    "# Every table and figure of the paper, and where ours is",
    "",
    "J is the journal article, S its supplement, V the severity manuscript, D its draft "
    "([DECISIONS.md](../DECISIONS.md) says more of them). Ours lie in `figures/<study>/`, as the "
    "notebook of the last column leaves them. Those that the repository shows are in "
    "[results](results/README.md).",
    "",
    "| paper | ours | notebook |",
    "| --- | --- | --- |",
]
TABLES_FOOT = [
    "",
    "A model's name with a † is of a training that did not learn, or that stands on one that did "
    "not; the reason is below the table.",
    "",
    "Every table stands beside the paper's numbers, with the number of slices behind each mean and "
    "a 95 % interval over patients. Figures are PNG and PDF with the data behind them, and "
    "once more for a journal's column where one can hold them (`…_column.pdf`); tables are CSV, "
    "Markdown and LaTeX. `report.html` holds all of them, with what was run, the decisions behind "
    "each and four reporting checklists.",
    "",
]


def module_names() -> list[str]:
    """Return every module of the library."""
    files = sorted((ROOT / "ssinfnet").rglob("*.py"))
    names = [file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for file in files]
    return [name.removesuffix(".__init__") for name in names]


def render_docstrings(folder: Path) -> None:
    """Render the docstrings of every module as HTML pages, without network."""
    import pdoc

    for name in module_names():  # pdoc links no module that its package does not name
        above, _, own = name.rpartition(".")
        named = getattr(importlib.import_module(above), "__all__", []) if above else []
        if above and own not in named:
            named.append(own)
    # Types that only annotations name, and modules that their package names too: both are shown.
    warnings.filterwarnings("ignore", message="Error parsing type annotation ForwardRef")
    warnings.filterwarnings("ignore", message=".*a module with this name has already been added")
    pdoc.render.configure(docformat="numpy", footer_text="For research only.")
    pdoc.pdoc(*module_names(), output_directory=folder)


PAGES = {"studies": studies_page, "commands": commands_page, "tables": tables_page}


def main() -> None:
    """Write the pages that are wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--api", action="store_true", help="also render docs/api with pdoc")
    wanted = parser.parse_args()
    for name, page in PAGES.items():
        path = artifacts.write_text(ROOT / "docs" / f"{name}.md", page())
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    if wanted.api:
        render_docstrings(ROOT / "docs" / "api")
        sys.stdout.write("docs/api/index.html\n")


if __name__ == "__main__":
    main()
