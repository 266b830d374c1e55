"""What a split by slice or by volume would have leaked, in a table of its own.

    python benchmarks/leakage.py medseg_leak      # Med-Seg's volumes, after `data download medseg`
    python benchmarks/leakage.py smoke            # a minute, on the phantom

SInfNet is trained in every fold of three cross-validations of the study's labelled slices, divided
by slice, by volume and by patient (`evaluation.leakage`). Writes ``table_leakage`` into
``figures/<study>``. A killed run goes on where it stopped.
"""

from __future__ import annotations

import argparse

from ssinfnet import report, tables
from ssinfnet.data import cohort, preparation
from ssinfnet.evaluation import leakage


def main() -> None:
    """Prepare the slices if need be, train, score, and save the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", help="a name in studies/, or the path of a YAML file")
    session = report.open_study(parser.parse_args().study, section="split", benchmark="leakage")
    study, paths = session.settings, session.paths
    if not (paths.cohort / "prepared.json").is_file():
        built = cohort.build(study, cohort.source_folder(study, paths))
        built.save(paths.cohort, session.made)
        preparation.prepare_slices(built, study, paths.cohort, session.made)
    units = list(leakage.UNITS)
    scored = leakage.leak_scores(study, paths, units)
    table = tables.leakage_table(
        scored,
        leakage.seen_before(study, paths, units),
        reference="patient",
        intervals=study.scores.for_intervals,
        tests=study.scores.for_tests,
    )
    title = "One network, cross-validated by slice, by volume and by patient"
    session.save_table(table, "table_leakage", title)
    print(tables.display(table).to_string(index=False))


if __name__ == "__main__":
    main()
