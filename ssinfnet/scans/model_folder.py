"""A trained model as a folder that describes itself: weights, `model.json`, `MODEL_CARD.md`.

    model.json          what every file is, its SHA-256, and what the networks were trained on
    MODEL_CARD.md       the same for people: intended use, data, scores, limits
    foldK_seedS_STAGE.safetensors

A folder may come from anywhere: nothing in it is executed or unpickled, names cannot leave it, and
a key that this version does not know is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import nn

from ssinfnet import inference
from ssinfnet.data.batches import network_input
from ssinfnet.scans.familiarity import Familiarity
from ssinfnet.storage import artifacts
from ssinfnet.study.models import MULTI_MODELS, SINGLE_MODELS

__all__ = [
    "CARD",
    "DESCRIPTION",
    "INCLUDED",
    "Chain",
    "Description",
    "Member",
    "Model",
    "Score",
    "Slices",
    "Training",
    "WeightsFile",
    "load",
    "read_description",
    "verify",
]

DESCRIPTION, CARD = "model.json", "MODEL_CARD.md"
INCLUDED = Path(__file__).parent / "models" / "covid_lesions"  # comes with ssinfnet (`make model`)
LARGEST_DESCRIPTION = 16 * 2**20  # bytes; ours has some 20,000

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\.safetensors$")]
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """What all parts of a description have in common: frozen, strict, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class WeightsFile(Part):
    """One network of a model."""

    file: FileName
    sha256: Hash
    model: str  # of SINGLE_MODELS or MULTI_MODELS, which tell the architecture
    width: float = Field(gt=0, le=1)


class Member(Part):
    """The networks of one fold and seed, which predict together; members are averaged."""

    fold: int = Field(ge=0)
    seed: int = Field(ge=0)
    single: WeightsFile
    prior: WeightsFile | None = None  # whose map stage 2 reads, where it is not `single`'s
    multi: WeightsFile | None = None  # None where the masks do not tell classes apart

    @model_validator(mode="after")
    def _models_are_known(self) -> Member:
        for file, known in self.stages().values():
            if file.model not in known:
                raise ValueError(f"unknown model {file.model!r}; expected one of {list(known)}")
        if self.prior and not (self.multi and MULTI_MODELS[self.multi.model].prior):
            raise ValueError("a prior network needs a second stage that reads priors")
        return self

    def stages(self) -> dict[str, tuple[WeightsFile, dict[str, Any]]]:
        """Return stage → its file and the models it may be, of the stages there are."""
        given = {
            "single": (self.single, SINGLE_MODELS),
            "prior": (self.prior, SINGLE_MODELS),
            "multi": (self.multi, MULTI_MODELS),
        }
        return {stage: pair for stage, pair in given.items() if pair[0] is not None}


class Slices(Part):
    """How many slices of a source a fold trained, validated and tested on."""

    fold: int
    source: str
    split: str
    patients: int
    slices: int
    with_lesion: int


class Score(Part):
    """F1 of held-out slices of one fold, mean over slices, interval over patients (D-13)."""

    stage: Literal["single", "multi"]
    model: str
    averaged: bool = False  # of the mean of the members' maps; False: the members one by one
    fold: int
    split: Literal["validation", "test"]
    source: str = "all"
    class_: str = Field(alias="class")
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    n: int  # slices that define it
    n_slices: int
    n_patients: int


class Training(Part):
    """What the networks were trained on, and how well they do."""

    study: dict[str, Any]  # every setting
    notes: dict[str, str]  # source → what it tells about patients
    slices: tuple[Slices, ...]
    scores: tuple[Score, ...]
    versions: dict[str, str]


class Description(Part):
    """`model.json`."""

    format: Literal[3]  # 1 and 2 standardised stage 2's slices by other rules (D-23)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    image_size: int = Field(gt=0, le=4096, multiple_of=32)  # pixels that the networks read
    window_hu: tuple[float, float]
    threshold: Share  # of probability, from which a pixel is lesion
    members: tuple[Member, ...] = Field(min_length=1)
    familiar: Familiarity | None = None  # what training slices look like; None of older models
    card_sha256: Hash
    training: Training

    @model_validator(mode="after")
    def _members_are_alike(self) -> Description:
        kinds = {(member.multi is None) for member in self.members}
        if len(kinds) > 1:
            raise ValueError("some members have a second stage and some have none")
        files = [file.file for member in self.members for file, _ in member.stages().values()]
        if len(set(files)) < len(files):
            raise ValueError("two networks name one file")
        if self.window_hu[0] >= self.window_hu[1]:
            raise ValueError(f"window_hu must grow, got {self.window_hu}")
        return self

    def files(self) -> dict[str, str]:
        """Return name → SHA-256 of everything but `model.json`."""
        weights = [file for member in self.members for file, _ in member.stages().values()]
        return {CARD: self.card_sha256} | {file.file: file.sha256 for file in weights}


class Chain(NamedTuple):
    """Both stages of a member, from slice to classes."""

    single: nn.Module
    prior: nn.Module | None
    multi: nn.Module | None
    reads_prior: bool


@dataclass(frozen=True, repr=False)
class Model:
    """A model in memory.

    Attributes
    ----------
    folder : Path
    description : Description
    chains : tuple of Chain
        One a member, on the CPU, in evaluation mode.
    digest : str
        SHA-256 of `model.json`, which names every other hash.
    """

    folder: Path
    description: Description
    chains: tuple[Chain, ...]
    digest: str

    def __repr__(self) -> str:
        told = "lesion, ground glass and consolidation" if self.tells_classes() else "lesion"
        return (
            f"Model {self.name}: {told} at {self.description.image_size} px, lesion from "
            f"probability {self.description.threshold:g}, members: {len(self.chains)}"
        )

    @property
    def name(self) -> str:
        """The name in `model.json`."""
        return self.description.name

    def tells_classes(self) -> bool:
        """Say whether there is a second stage."""
        return self.description.members[0].multi is not None

    @property
    def flipped_views(self) -> bool:
        """Say whether its study averaged over flipped views."""
        return bool(self.description.training.study.get("flipped_views", False))

    @property
    def crops_to_lungs(self) -> bool:
        """Say whether its study cut slices to the box around the lungs."""
        return self.description.training.study.get("data", {}).get("crop") == "lungs"

    def card(self) -> str:
        """Return what the model says of itself to people: use, data, scores, limits."""
        return (self.folder / CARD).read_text(encoding="utf-8")

    def described(self) -> str:
        """Return its `model.json`, as it lies in the folder."""
        return (self.folder / DESCRIPTION).read_text(encoding="utf-8")


def read_description(folder: Path) -> Description:
    """Read `model.json`, every key checked.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is no description of a model; each fault is listed.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is no model: it has no {DESCRIPTION}; `ssinfnet model pack STUDY` makes one"
        )
    if path.stat().st_size > LARGEST_DESCRIPTION:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; no description is that long")
    try:
        return Description.model_validate_json(path.read_bytes())
    except ValidationError as error:
        faults = "\n".join(
            f"  {'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}"
            for fault in error.errors()
        )
        raise ValueError(f"{path} does not describe a model:\n{faults}") from error


def load(folder: Path | str = INCLUDED) -> Model:
    """Read a model, by default the one that comes with ssinfnet; check every file's hash.

    Raises
    ------
    FileNotFoundError
        If there is no model, or a file is missing.
    ValueError
        If anything is not as `model.json` says.
    """
    folder = Path(folder)
    description = read_description(folder)
    for name, expected in description.files().items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; copy the model's folder again, whole")
        if artifacts.sha256(path) != expected:
            raise ValueError(f"{path} is not the file that was packed (SHA-256 differs)")
    chains = tuple(_chain(folder, member) for member in description.members)
    return Model(folder, description, chains, artifacts.sha256(folder / DESCRIPTION))


def _chain(folder: Path, member: Member) -> Chain:
    trained = {stage: _network(folder, stage, file) for stage, (file, _) in member.stages().items()}
    reads = member.multi is not None and MULTI_MODELS[member.multi.model].prior
    return Chain(trained["single"], trained.get("prior"), trained.get("multi"), reads)


def _network(folder: Path, stage: str, file: WeightsFile) -> nn.Module:
    try:
        network, run = inference.load_file(folder / file.file)
        found = {"stage": run.stage, "model": run.model, "width": run.width}
    except KeyError as error:  # a file that describes no training, or an unknown model
        raise ValueError(f"{folder / file.file} does not describe its training: {error}") from error
    said = {
        "stage": "multi" if stage == "multi" else "single",
        "model": file.model,
        "width": file.width,
    }
    if found != said:
        raise ValueError(f"{folder / file.file} holds {found}; {DESCRIPTION} says {said}")
    return network


@torch.inference_mode()
def verify(folder: Path | str) -> str:
    """Check a model whole: hashes, architectures, files that do not belong, one pass of each.

    Returns
    -------
    str
        What it is, to print.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load`, or if a file does not belong to the model, or a network's answer is not finite.
    """
    model = load(folder)
    known = {*model.description.files(), DESCRIPTION}
    foreign = sorted(path.name for path in model.folder.iterdir() if path.name not in known)
    if foreign:
        raise ValueError(f"{folder} holds {foreign[:5]}, which {DESCRIPTION} does not name")
    size = model.description.image_size
    blank = torch.zeros(1, 1, size, size)
    for member, chain in zip(model.description.members, model.chains, strict=True):
        trained = (chain.single, chain.prior, chain.multi)
        for (stage, (file, _)), network in zip(
            member.stages().items(), [one for one in trained if one], strict=True
        ):
            prior = blank if stage == "multi" and chain.reads_prior else None
            given = network_input(blank, prior, tells_classes=stage == "multi")
            logits = network(given).segmentations[-1]
            if not logits.isfinite().all():
                raise ValueError(f"{file.file} answers a blank slice with numbers not finite")
    described = model.description
    stages = "lesion, GGO and consolidation" if model.tells_classes() else "lesion"
    return (
        f"{model.name}: {len(described.members)} member(s), {size} px, {stages}; "
        f"{len(described.files())} files verified, SHA-256 of {DESCRIPTION} {model.digest}"
    )
