"""Many mediators at once: against least squares, by planted truth, and by hand."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from ssinfnet.mediation import composite_q, joint_mediators, mediate, mediating_directions


def cohort(seed, n=300, p=120):
    """The first four of p mediators carry an effect; four only vary with x, four only act on y."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    m = rng.normal(size=(n, p)) + 0.6 * rng.normal(size=(n, 1))
    m[:, :8] += 0.7 * x[:, None]
    y = m[:, :4] @ [0.5, -0.5, 0.6, 0.5] + 0.5 * m[:, 8:12].sum(axis=1) + 0.3 * x
    names = [f"m{number}" for number in range(p)]
    return pd.DataFrame(m, columns=names).assign(x=x, y=y + rng.normal(size=n)), names


def test_few_mediators_are_tested_by_one_regression():
    table, names = cohort(0, p=12)
    table["site"] = np.random.default_rng(1).choice(["A", "B"], len(table))
    found = joint_mediators(table, "x", "y", names, ["site"]).set_index("mediator")
    z = sm.add_constant(table[["x"]].assign(B=(table["site"] == "B").astype(float)))
    both = sm.OLS(table["y"], z.join(table[names])).fit()
    for name in names:
        alone = sm.OLS(table[name], z).fit()
        row = found.loc[name]
        expected = [alone.params["x"], alone.bse["x"], alone.pvalues["x"], both.params[name],
                    both.bse[name], both.pvalues[name]]  # fmt: skip
        ours = row[["alpha", "alpha_se", "p_alpha", "beta", "beta_se", "p_beta"]].astype(float)
        np.testing.assert_allclose(ours, expected, rtol=1e-7)
    assert found.loc[names[:4], "mediates"].all()
    assert not found.loc[names[4:8], "mediates"].any()
    assert ((found["low"] < found["indirect"]) & (found["indirect"] < found["high"])).all()
    outside = (found["low"] > 0) | (found["high"] < 0)
    assert outside[:4].all()


@pytest.mark.parametrize("p", [12, 120])
def test_units_of_mediators_change_no_test(p):
    table, names = cohort(0, p=p)
    found, scaled = (
        joint_mediators(own, "x", "y", names).set_index("mediator")
        for own in (table, table.assign(m0=1e10 * table["m0"]))
    )
    for column in ("p_alpha", "p_beta", "q"):
        np.testing.assert_allclose(scaled[column], found[column], rtol=1e-6, atol=1e-12)
    assert scaled.loc["m0", "beta"] == pytest.approx(1e-10 * found.loc["m0", "beta"], rel=1e-6)


def test_a_mediator_that_follows_from_others_gets_no_effect_of_theirs():
    table, names = cohort(0, p=12)
    table["total"] = table["m4"] + table["m8"]  # varies with x more than m8, acts on y by it alone
    table["exposure_again"] = 3 - 2 * table["x"]
    found = joint_mediators(table, "x", "y", [*names, "total", "exposure_again"])
    found = found.set_index("mediator")
    reason = "follows from the exposure and the other mediators"
    followers = found.index[found["reason"] == reason]
    assert set(followers) == {"m8", "exposure_again"}
    kept = [name for name in found.index if name not in followers]
    fit = sm.OLS(table["y"], sm.add_constant(table[["x", *kept]])).fit()
    np.testing.assert_allclose(found.loc[kept, "beta"], fit.params[kept], rtol=1e-7)
    np.testing.assert_allclose(found.loc[kept, "p_beta"], fit.pvalues[kept], rtol=1e-6)


def test_those_that_mediate_are_found_among_more_than_patients_allow():
    wrong, power = [], []
    for seed in range(12):
        table, names = cohort(seed)
        found = joint_mediators(table, "x", "y", names)
        assert found["kept"].sum() == int(300 / np.log(300))
        own = set(found.loc[found["mediates"], "mediator"])
        wrong.append(len(own - set(names[:4])) / max(len(own), 1))
        power.append(len(own & set(names[:4])) / 4)
    assert np.mean(power) > 0.95
    assert np.mean(wrong) < 0.1


def test_one_at_a_time_takes_for_mediators_what_is_correlated_with_one():
    table, names = cohort(3, n=600, p=12)
    table["m4"] += 0.8 * table["m0"]  # varies with x, and with a mediator
    alone = mediate(table, ["x"], "y", names, draws=0).table.set_index("mediator")
    joint = joint_mediators(table, "x", "y", names).set_index("mediator")
    assert alone.loc["m4", "mediator_by_joint_test"]
    assert not joint.loc["m4", "mediates"]
    assert joint.loc["m0", "mediates"]


def test_mediators_that_are_nearly_the_same_stand_for_each_other():
    table, names = cohort(4, p=12)
    noise = np.random.default_rng(5).normal(size=len(table))
    table = table.assign(twin=-3 * table["m1"], near=table["m1"] + 0.05 * noise, still=1.0)
    found = joint_mediators(table, "x", "y", [*names, "twin", "near", "still"])
    found = found.set_index("mediator")
    group = found.loc[["m1", "twin", "near"]]
    assert sorted(group["stands_for"]) == [0, 0, 3]
    stands = group.index[group["stands_for"] == 3].item()
    assert set(group["same_as"]) == {"", stands}
    assert group["mediates"].sum() == 1
    assert found.loc["still", "reason"].startswith("does not vary")
    assert found.loc["m2", "stands_for"] == 1


def test_composite_rates_are_those_by_hand():
    # Of 10 mediators p are above a half 4 and 3 times: shares (4+1)/5 and (3+1)/5
    first = np.array([0.001, 0.002, 0.01, 0.02, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
    second = np.array([0.004, 0.001, 0.8, 0.03, 0.2, 0.01, 0.9, 0.2, 0.7, 0.1])
    q = composite_q(first, second)
    null = 1.0 + 0.8
    assert q[0] == pytest.approx(10 * null * 0.004 / 2)
    assert q[1] == pytest.approx(min(10 * null * 0.002 / 1, 10 * null * 0.004 / 2))
    assert q[3] == pytest.approx(10 * null * 0.03 / 3)
    assert (q <= 1).all()
    assert composite_q([], []).size == 0
    # With strong slopes of all on the exposure the rate is that of the other slope alone
    rng = np.random.default_rng(6)
    p = rng.random(400)
    p[:80] /= 1e6
    q = composite_q(np.full(400, 1e-9), p)
    null = (np.sum(p > 0.5) + 1 + 1) / 200
    assert q[5] == pytest.approx(400 * null * p[:80].max() / (p <= p[:80].max()).sum(), rel=0.2)


def test_null_tables_find_little_at_all():
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        table = pd.DataFrame(rng.normal(size=(150, 40)), columns=[f"m{i}" for i in range(40)])
        table = table.assign(x=rng.normal(size=150), y=rng.normal(size=150))
        found += joint_mediators(table, "x", "y", list(table)[:40])["mediates"].any()
    assert found <= 4


@pytest.mark.parametrize(
    ("options", "words"),
    [({"fdr": 0}, "fdr must lie within"), ({"alike": 1.0}, "alike must lie within")],
)
def test_rates_beyond_0_and_1_are_refused(options, words):
    table, names = cohort(0, p=12)
    with pytest.raises(ValueError, match=words):
        joint_mediators(table, "x", "y", names, **options)


def test_too_few_patients_are_refused():
    table, names = cohort(0, p=12)
    with pytest.raises(ValueError, match="patients have all mediators"):
        joint_mediators(table.head(11), "x", "y", names)


def test_a_mediator_that_few_have_is_left_out_by_name_and_the_others_keep_their_patients():
    table, names = cohort(0, p=12)
    rare = table["m0"].where(np.arange(len(table)) < 3)
    table = table.assign(rare=rare, never=np.nan, flat=1.0)
    plain = joint_mediators(table, "x", "y", names, ["flat"])
    found = joint_mediators(table, "x", "y", ["rare", *names, "never"], ["flat"])
    assert found["mediator"].tolist() == ["rare", *names, "never"]
    pd.testing.assert_frame_equal(
        found[found["mediator"].isin(names)].reset_index(drop=True), plain, check_dtype=False
    )
    lost = found.set_index("mediator").loc[["rare", "never"]]
    assert lost["reason"].tolist() == [
        f"only {number} of the 300 patients who have the others have it" for number in (3, 0)
    ]
    assert not lost[["kept", "mediates"]].to_numpy(dtype=bool).any()
    assert (found["n"] == 300).all()
    assert (found["covariates_dropped"] == "flat").all()
    directions = mediating_directions(table, "x", "y", ["rare", *names, "flat"], draws=0)
    assert directions.left_out["mediator"].tolist() == ["rare", "flat"]
    assert directions.left_out["reason"].str.contains("only 3 of|does not vary").all()
    assert set(directions.effects["mediators"]) == {12}
    assert set(directions.effects["left_out"]) == {2}
    assert set(directions.effects["n"]) == {300}


def test_who_enters_a_joint_analysis_is_decided_by_hand():
    # Of 100 patients a is known of all, b of 60, c of the other 40 and 25 of b's, d of 58 of b's
    numbers = np.arange(100)
    known = {"c": numbers >= 35, "a": numbers >= 0, "b": numbers < 60, "d": numbers < 58}
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {name: np.where(own, rng.normal(size=100), np.nan) for name, own in known.items()}
    )
    table = table.assign(x=rng.normal(size=100), y=rng.normal(size=100))
    # In the order a 100, c 65, b 60, d 58: c leaves 65, b would leave 25 of them, d 23
    found = joint_mediators(table, "x", "y", list(known)).set_index("mediator")
    assert set(found["n"]) == {65}
    assert found.index[found["kept"]].tolist() == ["c", "a"]
    assert found.loc["b", "reason"] == ("only 25 of the 65 patients who have the others have it")
    # Without c, b leaves 60 and d 58
    found = joint_mediators(table, "x", "y", ["a", "b", "d"])
    assert found["kept"].all()
    assert set(found["n"]) == {58}
    # Half is enough, unless fewer than the analysis needs are left
    table = table.assign(half=table["y"].where(numbers < 50) + rng.normal(size=100))
    assert joint_mediators(table, "x", "y", ["a", "half"])["kept"].all()
    few = table.head(24).assign(half=lambda t: t["half"].where(t.index < 12))
    assert joint_mediators(few, "x", "y", ["a", "half"])["kept"].tolist() == [True, False]
