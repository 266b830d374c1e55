"""Tables as LaTeX."""

import re

import pandas as pd
import pytest

from ssinfnet import tables

HOSTILE = r"50% & more_of #1 {x} ~ ^ \input{/etc/passwd} $y$ <b>"


def body(latex):
    return latex[latex.index(r"\midrule") : latex.index(r"\bottomrule")].splitlines()[1:]


def test_every_special_character_is_printed_and_none_acts():
    latex = tables.latex(pd.DataFrame({"a_b": [HOSTILE]}), HOSTILE, "table_x")
    assert r"a\_b \\" in latex
    escaped = (
        r"50\% \& more\_of \#1 \{x\} \textasciitilde{} \textasciicircum{} "
        r"\textbackslash{}input\{/etc/passwd\} \$y\$ \textless{}b\textgreater{}"
    )
    assert body(latex) == [rf"{escaped} \\"]
    assert rf"\caption{{{escaped}}}" in latex


def test_signs_of_numbers_become_mathematics():
    latex = tables.latex(pd.DataFrame({"x": ["−0.1 ± 0.2"], "y": ["–"]}), "T", "t")
    assert body(latex) == [r"$-$0.1 $\pm$ 0.2 & -- \\"]


def test_environments_and_braces_are_balanced_and_rows_have_all_cells():
    frame = pd.DataFrame({"model": [HOSTILE, "b"], "F1": ["[0.1, 0.2]", "x"], "n": ["1", "2"]})
    latex = tables.latex(frame, "Scores", "table_3b", ("A note: 95 %.",))
    opened = re.findall(r"\\begin\{(\w+)\}", latex)
    assert opened == re.findall(r"\\end\{(\w+)\}", latex)[::-1] == ["table", "tabular"]
    bare = re.sub(r"\\[{}]", "", latex)
    assert bare.count("{") == bare.count("}")
    assert r"\begin{tabular}{lll}" in latex
    for row in body(latex):
        assert len(re.findall(r"(?<!\\)&", row)) == 2
        assert row.endswith(r" \\")
    assert r"\toprule" in latex
    assert r"\label{tab:table_3b}" in latex
    assert r"A note: 95 \%." in latex


def test_a_cell_that_opens_a_row_with_a_bracket_is_no_length():
    latex = tables.latex(pd.DataFrame({"x": ["a", "[2pt]"]}), "T", "t")
    assert body(latex)[1] == r"{[}2pt{]} \\"


def test_formulas_stay_formulas():
    latex = tables.latex(pd.DataFrame({"feature": ["a_b"], "formula": [r"$\sum X^2$"]}), "T", "t")
    assert body(latex) == [r"a\_b & $\sum X^2$ \\"]


def test_a_table_without_rows_says_so_and_one_without_columns_is_refused():
    assert body(tables.latex(pd.DataFrame({"a": [], "b": []}), "T", "t")) == [
        r"\multicolumn{2}{l}{No rows.} \\"
    ]
    with pytest.raises(ValueError, match="no columns"):
        tables.latex(pd.DataFrame(), "T", "t")
