r"""Tables as LaTeX: booktabs, one `table` environment, nothing to install but two packages.

The preamble needs ``\usepackage{booktabs,graphicx}`` and, on engines older than 2018, UTF-8 input.
"""

from __future__ import annotations

import pandas as pd

__all__ = ["escape", "latex"]

# One pass over the characters, so that what one replacement brings in is not replaced again.
ESCAPED = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
        "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
        "[": "{[}", "]": "{]}",  # after \\ a bracket would be read as a length
        "±": r"$\pm$", "−": r"$-$", "–": "--", "×": r"$\times$", "²": r"\textsuperscript{2}",
        "α": r"$\alpha$", "β": r"$\beta$", "Δ": r"$\Delta$", "ρ": r"$\rho$", "→": r"$\rightarrow$",
        "≤": r"$\leq$", "≥": r"$\geq$", "†": r"$\dagger$",
        "\n": " ", "\r": " ", "\N{NO-BREAK SPACE}": "~",
    }
)  # fmt: skip


def escape(text: str) -> str:
    r"""Return text that LaTeX prints as it is.

    Examples
    --------
    >>> escape("50 % of_all & 0.6 ± 0.1")
    '50 \\% of\\_all \\& 0.6 $\\pm$ 0.1'
    """
    return text.translate(ESCAPED)


def latex(table: pd.DataFrame, caption: str, label: str, notes: tuple[str, ...] = ()) -> str:
    r"""Return a table of texts as LaTeX.

    Parameters
    ----------
    table : DataFrame
        From `display`: texts, which are escaped here; but those of a column ``formula``, which
        are LaTeX already.
    caption : str
        Plain text, escaped here.
    label : str
        Name of the table: small letters, digits and _; it becomes ``\label{tab:...}``.
    notes : tuple of str
        Sentences below the table, plain text.

    Returns
    -------
    str
        One ``table`` environment, as wide as the line at most, ending in a line feed.

    Raises
    ------
    ValueError
        If the table has no columns.
    """
    if not len(table.columns):
        raise ValueError(f"table {label} has no columns; LaTeX needs one")
    escaped = {
        name: column if name == "formula" else column.map(escape)
        for name, column in table.astype("str").items()
    }
    styler = pd.DataFrame(escaped).rename(columns=escape).style.hide(axis="index")
    tabular = styler.to_latex(column_format="l" * len(escaped), hrules=True).rstrip()
    if table.empty:
        line = rf"\multicolumn{{{len(escaped)}}}{{l}}{{No rows.}} \\"
        tabular = tabular.replace(r"\bottomrule", f"{line}\n\\bottomrule")
    lines = [
        r"% \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{tab:{label}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"{tabular}}}",
        *(rf"\par\smallskip\footnotesize {escape(note)}" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
