"""Severity beside the manuscript's numbers: V table V."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ssinfnet.paper import published

__all__ = ["severity_table"]


def severity_table(
    scored: Mapping[tuple[str, str], pd.DataFrame],
    images: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Lay severity scores out as V table V does, ours and the manuscript's in rows by turns.

    Parameters
    ----------
    scored : mapping of (model, cut_points) to DataFrame
        From `severity.grade_scores`; ``cut_points`` says which were used (``published``,
        ``fitted``), or that every patient got the commonest grade (``majority``).
    images : mapping of model to DataFrame, optional
        From `image_severity.image_scores`.

    Returns
    -------
    DataFrame
        model, unit (``images``, ``patients``), cut_points, average (micro, macro), values
        (``ours``, ``paper``), then <metric>_mean, _low and _high of F1, Precision and Recall, and n
        of the unit. The manuscript's numbers, micro averages over images by the published
        cut-points, stand below ours of the same kind, and where there is none below patients'.
    """
    images = images or {}
    kinds = [(model, "images", "published", own) for model, own in images.items()]
    kinds += [(model, "patients", cut_points, own) for (model, cut_points), own in scored.items()]
    order = list(dict.fromkeys(model for model, *_ in kinds))
    kinds.sort(key=lambda kind: order.index(kind[0]))
    printed = published.published_values("sev5").set_index(["model", "metric"])["mean"]
    printed.index = printed.index.map(lambda key: (published.PUBLISHED_NAMES.get(key[0]), key[1]))
    rows = []
    for model, unit, cut_points, scores in kinds:
        beside = "images" if model in images else "patients"
        for average, group in scores.groupby("average", sort=False):
            named = {"model": model, "unit": unit, "cut_points": cut_points, "average": average}
            ours: dict[str, object] = {**named, "values": "ours"}
            for row in group.itertuples():
                ours |= {
                    f"{row.metric}_mean": row.mean,
                    f"{row.metric}_low": row.low,
                    f"{row.metric}_high": row.high,
                    "n": row.n,
                }
            rows.append(ours)
            published_kind = (unit, average, cut_points) == (beside, "micro", "published")
            if published_kind and (model, "F1") in printed.index:
                paper = {f"{metric}_mean": printed[model, metric] for metric in group["metric"]}
                rows.append({**named, "values": "paper", **paper})
    return pd.DataFrame(rows).astype({"n": "Int64"})
