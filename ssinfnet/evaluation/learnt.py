"""Say which trainings of a study learnt, from what each has written beside its weights (D-77)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ssinfnet.storage import artifacts
from ssinfnet.study import schedule
from ssinfnet.study.config import Study, load_study
from ssinfnet.study.models import MULTI_MODELS, SINGLE_MODELS, model_label
from ssinfnet.study.paths import LEARNING, StudyPaths

__all__ = [
    "TABLE", "Training", "json_of", "learning_table", "of_study", "summary", "trainings",
    "unlearnt", "verdict",
]  # fmt: skip

TABLE = "table_learning"
INPAINTING, PSEUDO_LABELS, LUNG_FIELD = "inpainting", "pseudo-labels", "lung field"
LOWEST_RECALL = 0.01  # below it a class counts as not found: a pixel in a hundred is by chance
NOT_MEASURED = "not measured: run its notebook again"
NO_CLASS = "no validation slice shows what it should find"
NUMBERS = (
    "training_slices", "validation_slices", "train_F1", "validation_F1", "recall_lesion",
    "recall_lung", "recall_ggo", "recall_consolidation", "rival", "rival_F1", "erased_error",
    "local_mean_error",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training of a study: what tells it from the others.

    Attributes
    ----------
    study : str
    stage : {"single", "multi", "lung field"}
    model : str
        Name in the stage's catalogue, or ``inpainting`` or ``pseudo-labels``.
    fold, seed, part : int
        `part` above 0 makes priors, see `StudyPaths.single`.
    prior : str
        Which prior a stage-2 model reads: ``predicted`` or ``ground_truth``.
    """

    study: str
    stage: str
    model: str
    fold: int = 0
    seed: int = 1
    part: int = 0
    prior: str = ""

    def folder(self, root: Path) -> Path:
        """Return where it left its weights, below a checkout."""
        paths = StudyPaths(self.study, root)
        if self.stage == LUNG_FIELD:
            return paths.lung_field
        if self.model == INPAINTING:
            return paths.pretraining(self.stage, self.fold, self.seed)
        if self.model == PSEUDO_LABELS:
            return paths.pseudo_labels(self.fold, self.seed)
        if self.stage == "single":
            return paths.single(self.model, self.fold, self.seed, self.part)
        return paths.multi(self.model, self.fold, self.seed, self.prior or "predicted")

    def text(self, *, seed: bool) -> str:
        """Return what a reader calls it, such as ``SInfNet (stage 2, fold 3, seed 1)``.

        Parameters
        ----------
        seed : bool
            Name the seed too, where there are several.
        """
        stage = {"single": "stage 1", "multi": "stage 2"}.get(self.stage, self.stage)
        parts = [stage, *["oracle"] * (self.prior == "ground_truth")]
        if self.fold and self.part:  # it serves two folds (D-43)
            parts += [f"without folds {self.fold} and {self.part}"]
        elif self.fold or self.part:
            parts += [f"fold {self.fold}" if self.fold else f"without part {self.part}"]
        parts += [f"seed {self.seed}"] * seed
        return f"{model_label(self.model)} ({', '.join(parts)})"


def trainings(study: Study) -> Iterator[Training]:
    """Yield every training of a study, and of the studies it needs, as they run."""
    for notebook, parameters in schedule.runs_of(study, study.name):
        at = {name: value for name, value in parameters.items() if name in Training.__annotations__}
        if notebook == "01_lung_field":
            of = study if at["study"] == study.name else load_study(at["study"])
            yield Training(**at, stage=LUNG_FIELD, model="unet", seed=of.seeds[0])
        elif notebook == "03_pretraining":
            yield Training(**at, model=INPAINTING)
        elif notebook == "04_pseudo_labels":
            yield Training(**at, stage="single", model=PSEUDO_LABELS)
        elif notebook == "05_single_segmentation":
            yield Training(**at, stage="single")
        elif notebook == "06_multi_segmentation":
            prior = parameters["prior"] if MULTI_MODELS[parameters["model"]].prior else ""
            yield Training(**{**at, "prior": prior}, stage="multi")


def verdict(record: Mapping[str, Any]) -> tuple[bool | None, str]:
    """Say whether a training learnt, and if not why, from its `learning.json`.

    Returns
    -------
    learnt : bool or None
        True if the validation F1 is above every rival's and each class is found; of an inpainting,
        if it restores erased pixels better than their local mean. None if it cannot be judged.
    reason : str
        Why not; "" if it learnt.
    """
    if "errors" in record:
        worst = _worst_errors(record)
        if worst["erased_error"] < worst["local_mean_error"]:
            return True, ""
        pair = f"{worst['erased_error']:.3f} against {worst['local_mean_error']:.3f}"
        return False, f"restores erased pixels no better than their local mean: {pair}"
    rival, rival_f1 = _best_rival(record)
    f1 = record["validation_F1"]
    if f1 is None or not rival:
        return None, NO_CLASS
    reasons = (
        []
        if f1 > rival_f1
        else [f"validation F1 {f1:.3f} is not above that of {rival}, {rival_f1:.3f}"]
    )
    reasons += [
        f"finds no {'GGO' if name == 'ggo' else name}: recall {recall:.3f}"
        for name, recall in record["recall"].items()
        if recall is not None and recall < LOWEST_RECALL
    ]
    return not reasons, "; ".join(reasons)


def learning_table(study: Study, paths: StudyPaths) -> pd.DataFrame:
    """Return what every training of a study learnt, those first that did not.

    Parameters
    ----------
    study : Study
        Its trainings and those of the studies it needs are listed.
    paths : StudyPaths

    Returns
    -------
    DataFrame
        study, stage, model, fold, seed, part, prior, learnt (boolean, NA if it cannot be judged),
        reason, training_slices and validation_slices, train_F1, validation_F1, recall of each class
        over validation pixels, the best rival and its validation F1, of inpaintings erased_error
        and local_mean_error under the worse mask. Numbers that no training has are left out.
    """
    rows = []
    for training in trainings(study):
        record = _read(training, paths.root)
        learnt, reason = (None, NOT_MEASURED) if record is None else verdict(record)
        numbers = {} if record is None else _numbers(training, record)
        rows.append({**asdict(training), **numbers, "learnt": learnt, "reason": reason})
    columns = [*Training.__annotations__, "learnt", "reason", *NUMBERS]
    table = pd.DataFrame(rows, columns=columns).astype({"learnt": "boolean"})
    table = table.astype({"training_slices": "Int64", "validation_slices": "Int64"})
    first = table["learnt"].fillna(True).to_numpy(bool).argsort(kind="stable")
    empty = [name for name in NUMBERS if table[name].isna().all()]
    return table.iloc[first].drop(columns=empty).reset_index(drop=True)


def summary(table: pd.DataFrame, study: str) -> str:
    """Say in one line whether the trainings of a `learning_table` learnt.

    Parameters
    ----------
    table : DataFrame
    study : str
        Whose table it is; trainings of another say so.
    """
    count = len(table)
    known = table["learnt"].astype("boolean")
    failed, unknown = table[~known.fillna(True)], int(len(table) - known.notna().sum())
    unjudged = f"; {unknown} could not be judged" if unknown else ""
    if failed.empty:
        which = f"all {count}" if not unknown else f"{count - unknown} of {count}"
        return f"{which} trainings beat their trivial rivals{unjudged}"
    seeds = table["seed"].nunique() > 1
    named = [_training_of(row) for row in failed.to_dict("records")]
    texts = [
        one.text(seed=seeds) + ("" if one.study == study else f" of {one.study}") for one in named
    ]
    listed = ", ".join(texts)
    return f"{len(failed)} of {count} trainings did not learn: {listed}{unjudged}; see {TABLE}"


def of_study(study: Study) -> str:
    """Return the `summary` of a study's trainings as they lie in this checkout."""
    return summary(learning_table(study, StudyPaths.of(study.name)), study.name)


def json_of(study: Study) -> str:
    """Return the `learning_table` of a study in this checkout as JSON, a row a training."""
    table = learning_table(study, StudyPaths.of(study.name))
    return table.to_json(orient="records", indent=2)


def unlearnt(study: Study, paths: StudyPaths) -> list[dict[str, Any]]:
    """Return the trainings of a study whose results its tables must mark.

    That is what did not learn, and what starts from or reads the priors of one that did not.
    Trainings that have not run yet are left out.

    Parameters
    ----------
    study : Study
    paths : StudyPaths

    Returns
    -------
    list of dict
        The fields of `Training`, text, reason, and by what items are chosen (`tables.marks`):
        validated (of a fold of the cross-validation), oracle, main (of the study's own tables),
        clinical (behind the phenotypes of patients) and severity (behind their grades).
    """
    own_trainings = [training for training in trainings(study) if training.study == study.name]
    records = ((training, _read(training, paths.root)) for training in own_trainings)
    verdicts = {training: verdict(record) for training, record in records if record is not None}
    reasons = {training: reason for training, (did, reason) in verdicts.items() if did is False}
    marked, seeds = [], len(study.seeds) > 1
    for training in own_trainings:
        why = [f"did not learn: {reasons[training]}"] if training in reasons else []
        why += [
            f"{how} {source.text(seed=seeds)}, which did not learn: {reasons[source]}"
            for how, source in _built_on(training, study)
            if source in reasons
        ]
        if why:
            marked.append({**asdict(training), **_uses(training, study), "reason": "; ".join(why)})
    return marked


def _read(training: Training, root: Path) -> dict[str, Any] | None:
    path = training.folder(root) / LEARNING
    return artifacts.read_json(path) if path.is_file() else None


def _worst_errors(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the errors of an inpainting under the masks that it masters least."""
    return max(record["errors"], key=lambda one: one["erased_error"] / one["local_mean_error"])


def _best_rival(record: Mapping[str, Any]) -> tuple[str, float]:
    scores = {name: f1 for name, f1 in record["rivals"].items() if f1 is not None}
    return max(scores.items(), key=lambda one: one[1], default=("", math.nan))


def _numbers(training: Training, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the table shows of a record."""
    shown = {name: record.get(name) for name in NUMBERS[:4]}
    if "errors" in record:
        worst = _worst_errors(record)
        return {**shown, **{name: worst[name] for name in NUMBERS[-2:]}}
    shown["rival"], shown["rival_F1"] = _best_rival(record)
    lung = training.stage == LUNG_FIELD  # its one class is the lung
    recalls = {("lung" if lung else name): value for name, value in record["recall"].items()}
    return {**shown, **{f"recall_{name}": value for name, value in recalls.items()}}


def _training_of(row: Mapping[str, Any]) -> Training:
    labels = {name: row[name] for name in Training.__annotations__ if name in row}
    return Training(**{name: value for name, value in labels.items() if not pd.isna(value)})


def _built_on(training: Training, study: Study) -> Iterator[tuple[str, Training]]:
    """Yield the trainings that one starts from or reads priors of, each with how."""
    at: dict[str, Any] = {"study": training.study, "fold": training.fold, "seed": training.seed}
    if training.stage == LUNG_FIELD or training.model in (INPAINTING, PSEUDO_LABELS):
        return
    models = SINGLE_MODELS if training.stage == "single" else MULTI_MODELS
    made_of = models[training.model]
    if made_of.pretrained:
        yield "starts from", Training(**at, stage=training.stage, model=INPAINTING)
    if getattr(made_of, "pseudo_labels", False):
        yield "starts from", Training(**at, stage="single", model=PSEUDO_LABELS)
    if getattr(made_of, "taught", False):
        for teacher, seed in study.teachers():
            of = {**at, "seed": seed, "part": training.part}
            yield "is taught by", Training(**of, stage="single", model=teacher)
    if training.prior == "predicted":
        for fold, part in [(training.fold, 0), *study.cross_fitted(training.fold)]:
            of = {**at, "fold": fold, "part": part}
            yield "reads priors of", Training(**of, stage="single", model=study.multi.prior_model)


def _uses(training: Training, study: Study) -> dict[str, Any]:
    oracle, clinical = training.prior == "ground_truth", study.clinical
    models = study.multi.oracle_models if oracle else getattr(study, training.stage, None)
    main: Sequence[str] = getattr(models, "models", models) or ()
    plain = not (oracle or training.part or training.fold) and training.seed == study.seeds[0]
    behind = set() if clinical is None else {
        ("single", study.multi.prior_model), ("single", clinical.single_model),
        ("multi", clinical.multi_model),
    }  # fmt: skip
    graded = () if clinical is None else clinical.severity_models
    return {
        "text": training.text(seed=len(study.seeds) > 1),
        "validated": training.fold > 0,
        "oracle": oracle,
        "main": training.model in main,
        "clinical": plain and (training.stage, training.model) in behind,
        "severity": plain and training.stage == "single" and training.model in graded,
    }
