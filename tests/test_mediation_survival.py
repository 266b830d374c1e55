"""Times until an event that several patients share (D-107)."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from statsmodels.duration.hazard_regression import PHReg
from typer.testing import CliRunner

from ssinfnet import mediation
from ssinfnet.cli import app
from ssinfnet.mediation import closed_form_effects, modelled_effects
from ssinfnet.mediation.outcome_models import fit_regression
from ssinfnet.report.mediation_methods import methods_text

# Weeks of remission on 6-MP and on placebo, Gehan 1965; negative where censored
TREATED = [6, 6, 6, -6, 7, -9, 10, -10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


@pytest.mark.parametrize(
    ("ties", "slope", "se"), [("efron", 1.572, 0.412), ("breslow", 1.509, 0.410)]
)
def test_remissions_have_the_slopes_that_are_printed(ties, slope, se):
    """Venables & Ripley's and SAS's values of Gehan's data."""
    weeks = np.array(TREATED + PLACEBO, dtype=float)
    placebo = np.repeat([0.0, 1.0], [len(TREATED), len(PLACEBO)])[:, None]
    fit = fit_regression("cox", np.abs(weeks), placebo, (weeks > 0).astype(float), ties)
    assert fit.slopes[1] == pytest.approx(slope, abs=6e-4)
    assert np.sqrt(fit.covariance[1, 1]) == pytest.approx(se, abs=6e-4)


@pytest.fixture
def months(rng):
    n = 400
    x = rng.integers(0, 2, n)
    m = 0.5 * x + rng.normal(size=n)
    days, censored = rng.exponential(np.exp(2.2 - 0.3 * x - 0.5 * m)), rng.uniform(5, 40, n)
    seen = days <= censored
    table = {"x": x, "m": m, "days": np.minimum(days, censored), "died": seen.astype(int)}
    return pd.DataFrame(table).assign(months=lambda t: np.ceil(t["days"] / 5))


def test_efrons_likelihood_is_its_formula_at_its_maximum(months):
    """Efron 1977: of d events at a time the l-th leaves l/d of their hazards out of the risks."""
    time, died = months["months"].to_numpy(), months["died"].to_numpy() == 1
    design = months[["x", "m"]].to_numpy(float)

    def loss(slopes):
        hazard = np.exp(design @ slopes)
        value = 0.0
        for t in np.unique(time[died]):
            own = died & (time == t)
            share = np.arange(own.sum()) / own.sum()
            risks = hazard[time >= t].sum() - share * hazard[own].sum()
            value += np.log(hazard[own]).sum() - np.log(risks).sum()
        return -value

    expected = minimize(loss, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8}).x
    found = modelled_effects(months, ["x"], "months", ["m"], event="died").table.iloc[0]
    assert found["beta"] == pytest.approx(expected[1], abs=1e-5)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_both_methods_are_statsmodels(months, ties):
    found = modelled_effects(months, ["x"], "months", ["m"], event="died", ties=ties)
    theirs = PHReg(months["months"], months[["x", "m"]], status=months["died"], ties=ties).fit()
    row = found.table.iloc[0]
    assert (row["beta"], row["beta_se"]) == pytest.approx((theirs.params[1], theirs.bse[1]))
    assert row["direct"] == pytest.approx(theirs.params[0])
    tied = months.loc[months["died"] == 1, "months"].duplicated(keep=False).sum()
    assert (
        f"{tied} events share their time with others, taken by {ties.capitalize()}'s"
        in found.text()
    )
    assert found.ties == ties
    alone = closed_form_effects(months, "x", "months", "m", event="died", ties=ties)
    assert set(alone["ties"]) == {ties}


def test_without_ties_both_are_one_and_nothing_is_told(months):
    efron, breslow = (
        modelled_effects(months, ["x"], "days", ["m"], event="died", ties=ties)
        for ties in ("efron", "breslow")
    )
    np.testing.assert_allclose(efron.table["beta"], breslow.table["beta"], rtol=1e-10)
    assert "share their time" not in efron.text()
    assert efron.ties == ""
    assert "ties" not in closed_form_effects(months, "x", "days", "m", event="died")


def test_times_in_months_are_no_grades_and_two_of_them_no_codes(months):
    late = months[months["months"] > 1].assign(
        months=lambda t: t["months"].clip(upper=5), number=lambda t: np.arange(1, len(t) + 1)
    )
    found = modelled_effects(late, ["x"], "months", ["m"], event="died")
    assert found.columns.set_index("column").loc["months", ["kind", "role", "note"]].tolist() == [
        "continuous", "outcome", ""]  # fmt: skip
    two = late.assign(months=late["months"].clip(upper=3))
    found = modelled_effects(two, ["x"], "months", ["m"], event="died")
    theirs = PHReg(two["months"], two[["x", "m"]], status=two["died"], ties="efron").fit()
    assert found.table["beta"].item() == pytest.approx(theirs.params[1])
    alone = closed_form_effects(two, "x", "months", "m", event="died", interaction=False)
    assert alone.set_index("effect").loc["pure_direct", "estimate"] == pytest.approx(
        theirs.params[0]
    )
    # One event a day, as a number a patient
    assert modelled_effects(late, ["x"], "number", ["m"], event="died").table["beta"].notna().all()


def test_the_method_is_chosen_and_named_on_the_page_and_the_command_line(months, tmp_path):
    given = (months, ["x"], "months", ["m"], [])
    for ties in ("efron", "breslow"):
        text = " ".join(methods_text(mediation.analyse(*given, event="died", ties=ties)))
        assert f"Events at the same time were taken by {ties.capitalize()}'s method." in text
    months.to_csv(tmp_path / "own.csv", index=False)
    asked = ["mediate", str(tmp_path / "own.csv"), "--exposures", "x", "--outcome", "months",
             "--mediators", "m", "--event", "died"]  # fmt: skip
    told = CliRunner().invoke(app, [*asked, "--ties", "breslow"])
    assert "taken by Breslow's method" in told.stdout, told.stderr
    assert "taken by Efron's method" in CliRunner().invoke(app, asked).stdout


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ties": "exact", "event": "died"}, "one of efron, breslow, got 'exact'"),
        ({"ties": "breslow"}, "leave 'breslow' out"),
        ({"ties": "breslow", "event": "died", "outcome_model": "weibull"}, "leave 'breslow' out"),
    ],
)
def test_ties_of_another_model_are_refused(months, given, words):
    with pytest.raises(ValueError, match=words):
        mediation.single_effects(months, ["x"], "days", ["m"], [], **given)
