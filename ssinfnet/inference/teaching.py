"""Self-training: networks label slices that nobody has labelled, and a student learns from them.

As in Yalniz et al. 2019 and Xie et al. 2020 (noisy student) teachers see slices as they are, and
their student sees them augmented, the labelled ones too. Unlike Semi-Inf-Net's (`pseudo_labels`)
all slices are labelled at once, by several networks together.
"""

from __future__ import annotations

import numpy as np
import torch

from ssinfnet import inference
from ssinfnet.data.batches import SliceSet
from ssinfnet.data.cohort import LEFT_OUT, Cohort
from ssinfnet.data.slice_sets import single_slices
from ssinfnet.data.thinning import evenly
from ssinfnet.inference.pseudo_labels import THRESHOLD
from ssinfnet.storage import artifacts
from ssinfnet.study.config import Study
from ssinfnet.study.models import SINGLE_MODELS
from ssinfnet.study.paths import StudyPaths
from ssinfnet.training import fitting
from ssinfnet.work import progress

__all__ = ["taught_slices"]


def taught_slices(
    study: Study, paths: StudyPaths, model: str, *, fold: int = 0, part: int = 0
) -> SliceSet | None:
    """Return the unlabelled slices of the training patients, as a student's teachers label them.

    Every teacher of every seed of the study predicts each slice, at the network's size; a pixel is
    lesion where the mean probability is 0.5 or more. The labels are kept beside the trainings and
    are made anew where a teacher has changed.

    Parameters
    ----------
    study : Study
        In the fold, see `Study.in_fold`.
    paths : StudyPaths
        Holds the cohort and the teachers' trainings.
    model : str
        A name in `study.models.SINGLE_MODELS`.
    fold, part : int
        See `training.stages.train_single`; teachers have left the same patients out.

    Returns
    -------
    SliceSet or None
        With labels 0 and 1; None if the model is no student.

    Raises
    ------
    FileNotFoundError
        If a teacher has not been trained.
    ValueError
        If there is no unlabelled slice.
    """
    if not SINGLE_MODELS[model].taught:
        return None
    cohort = Cohort.load(paths.cohort).in_fold(fold)
    cohort = cohort.leaving_out(part, study.multi.prior_parts) if part else cohort
    held_out = cohort.of_split("validation", "test", LEFT_OUT)["patient_id"]
    rows = cohort.of_split("unlabelled")
    rows = rows[~rows["patient_id"].isin(held_out)]
    if rows.empty:
        raise ValueError(
            f"there are no unlabelled slices of training patients to teach {model}; name a source "
            "that has some, or leave it out of the study's models"
        )
    count = min(study.single.student.unlabelled_slices or len(rows), len(rows))
    rows = rows.iloc[evenly(0, len(rows) - 1, count)]
    images = single_slices(rows, paths).images
    teachers = {
        f"{teacher}, seed {seed}": paths.single(teacher, fold, seed, part)
        for teacher, seed in study.teachers()
    }
    hashes = {name: artifacts.sha256(home / fitting.WEIGHTS) for name, home in teachers.items()}
    wanted = {"fold": fold, "part": part, "slices": rows["slice_id"].tolist(), "teachers": hashes}
    made, target = artifacts.made_by(study.name, wanted), paths.taught(fold, part)
    if not artifacts.is_current(target, made):
        lesion = np.zeros((len(rows), *images.shape[-2:]), np.float32)
        for number, folder in enumerate(teachers.values(), start=1):
            progress.say(f"teacher {number} of {len(teachers)} labels {len(rows)} slices")
            network, _ = inference.load(folder)
            lesion += inference.predict_prepared(network, images, flipped_views=study.flipped_views)
        labels = (lesion >= THRESHOLD * len(teachers)).astype(np.uint8)
        artifacts.write_arrays(target, {"labels": labels}, made)
    labels = artifacts.read_arrays(target)["labels"]
    return SliceSet(images, torch.from_numpy(labels)[:, None])
