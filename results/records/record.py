"""The record of a run: its fields, and its file, one JSON file that is validated when it is read.

A run is one training: (dataset, setting, category or all categories, method, resolved config, seed).
Numbers are fractions (an AUROC of 0.965, not 96.5), times are seconds, sizes are bytes.

The file ends with a digest of its content, so that an edited number is noticed. The name of the file would not reveal
it: the name is a hash of what was requested, not of the results. The digest is the last entry, on a separate line, and
covers every byte before it except for the kind of line ends. It is made from the text because hashing the text costs 8
microseconds a record, and hashing the parsed content in canonical form 190.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

from results.ids import short_id
from results.records.weights import WEIGHTS, TrainedOn, WeightsKind

Setting = Literal["unified", "separate"]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
"""A metric: every metric is a fraction between 0 and 1."""
Whole = Annotated[int, Field(ge=0, lt=2**63)]
"""A count, size or step. Larger numbers can't be computed with."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CountsEntry(_Entry):
    """What was found of a category: training, normal and anomalous test images, and files of masks."""

    train: Whole
    normal: Whole
    anomalous: Whole
    masks: Whole


class CopiesEntry(_Entry):
    """Numbers of images of a category that are copies, byte for byte, of other images of the benchmark."""

    trained: int
    """Test images that are also training images, of any category."""
    contradicting: int
    """Images that are normal here and anomalous elsewhere, or the reverse."""
    elsewhere: int
    """Images that are in another category too."""
    repeated: int
    """Images that are there twice or more in the same category and split, with the same label."""


class DataEntry(_Entry):
    """The content of a category: SHA-256 of its training files, and of its test files with their labels and masks.

    Names of files within the dataset are a part of it; the place of the dataset is not.
    """

    train: str
    test: str


class DatasetEntry(_Entry):
    """The data of the run. ``fingerprint`` covers train and test files of the run's categories."""

    name: str
    title: str
    licence: str
    fingerprint: str
    has_masks: bool = True
    textures: tuple[str, ...] = ()
    set_categories: tuple[str, ...]
    """All categories of the benchmark that the run belongs to, sorted (a separate run trains on one of them)."""
    set_id: str
    """Short id of ``set_categories``: results of different sets never share a table or an average."""
    counts: dict[str, CountsEntry] = {}
    """By category of the run. Empty in records that are older than this field."""
    value_bits: dict[str, Whole] = {}
    """By category with 16-bit files: the range in bits from which they were scaled. Absent in records that are older
    than this field, whose 16-bit files were scaled from all 16 bits."""
    copies: dict[str, CopiesEntry] = {}
    """By category with copies. Absent in records that are older than this field, for which it was not looked."""
    data: dict[str, DataEntry] = {}
    """By category of the set, those of other runs included. Empty in records that are older than this field."""

    @property
    def data_id(self) -> str:
        """Id of the data of all categories of the set; empty in records that do not hold it.

        It is the ``fingerprint`` of unified runs on this set, also in older records.
        """
        whole = [c for c in self.set_categories if c in self.data]
        return _fingerprint(self.data, whole) if len(whole) == len(self.set_categories) else ""

    @property
    def versions(self) -> dict[str, str]:
        """The ``fingerprint`` of separate runs, by category."""
        return {category: _fingerprint(self.data, [category]) for category in self.data}


def _fingerprint(data: Mapping[str, DataEntry], categories: Iterable[str]) -> str:
    return short_id([[category, data[category].train, data[category].test] for category in categories])


class MethodEntry(_Entry):
    """The detector of the run, with every hyper-parameter resolved."""

    name: str
    title: str
    family: str
    version: Whole
    preset: str
    overrides: dict[str, Any] = {}
    """The values that the user changed with ``--set``, e.g. ``{"neighbour_size": 5}``."""
    fit_config: dict[str, Any]
    score_config: dict[str, Any] = {}
    class_aware: bool = False
    deterministic: bool = False
    """Whether the fit draws no random numbers, so that all seeds give the same detector."""
    badges: tuple[str, ...] = ()
    """Short remarks that must be shown on the row, e.g. ``backbone is not the paper's``."""
    sizes: str = ""
    """The important sizes as text, e.g. ``224 px, 14x14 tokens, width 256``."""


class BackboneEntry(_Entry):
    """The frozen backbone. ``results/records/weights.py`` explains the kinds of weights."""

    name: str
    weights: WeightsKind
    sha256: str
    padding: Literal["timm", "native"] = "timm"
    """The padding of its convolutions: timm's, or the one of the published EfficientNets."""

    @property
    def trained_on(self) -> TrainedOn | None:
        """What the weights were trained on: ``photographs`` or ``nothing``; None without a backbone."""
        return WEIGHTS[self.weights].trained_on

    @property
    def name_tells_weights(self) -> bool:
        """Whether no other backbone has weights of this kind."""
        return WEIGHTS[self.weights].one_backbone

    @property
    def unusual(self) -> tuple[str, ...]:
        """Extra parts of the id. timm's padding is the default and adds nothing."""
        return () if self.padding == "timm" else (self.padding,)


class BudgetEntry(_Entry):
    """The amount of training. ``steps`` is 0 for memory-bank and Gaussian methods: they take no optimiser steps."""

    train_images: Whole
    steps: Whole
    presentations_per_image: FiniteFloat
    batch_size: Whole = 0


class CategoryResult(_Entry):
    """Metrics of one category's test images. A blank metric is None and has its reason in ``reasons``."""

    metrics: dict[str, Share | None]
    reasons: dict[str, str] = {}
    test_normal: Whole
    test_anomalous: Whole
    regions: Whole = 0
    regions_lost: Whole = 0
    """Connected defect regions that vanished when masks were resized to the protocol's map size."""
    unmarked: Whole = 0
    """Defective images with a black mask, which pixel metrics leave out. Absent in records that are older than this
    field, whose pixel metrics count all pixels of such images as normal."""
    routing_accuracy: Share | None = None
    """Share of the test images that the detector assigned to this category, if it chooses the category by itself."""


class LearningPoint(_Entry):
    """The state of a training after some optimiser step: a diagnostic, never used to choose anything.

    ``loss`` is the mean training loss since the previous point; ``results`` are test metrics by category.
    """

    step: Whole
    epoch: FiniteFloat
    loss: FiniteFloat
    results: dict[str, dict[str, Share | None]]


class CostEntry(_Entry):
    """The cost of the run. It is not part of a record's identity."""

    feature_seconds: FiniteFloat
    """Time of the backbone pass over the run's training images, or of the pass that filled the feature bank."""
    fit_seconds: FiniteFloat
    score_seconds: FiniteFloat
    ms_per_image_batch_1: FiniteFloat | None = None
    ms_per_image_batch_16: FiniteFloat | None = None
    """From decoded image to anomaly map, backbone included, measured alone."""
    parameters: Whole
    """Trainable parameters of the detector (backbone not counted)."""
    state_bytes: Whole
    """Bytes of the fitted state (weights, Gaussians, memory bank), backbone not counted."""
    peak_rss_bytes: Whole
    jobs: Whole = 1
    """Number of runs at the same time on the machine; timings with more than one are flagged and not plotted."""


class ProvenanceEntry(_Entry):
    """Where a number comes from. It is not part of a record's identity."""

    git_commit: str
    git_dirty: bool
    versions: dict[str, str]
    device: str
    threads: Whole
    started_utc: str
    finished_utc: str
    command: str


class FailureEntry(_Entry):
    """Why a run failed, for the page and for ``--retry-failed``."""

    error_type: str
    message: str
    traceback: str


class RunRecord(_Entry):
    """One run. ``score_id`` is the id in the file name, ``fit_id`` is the id of the fitted detector."""

    schema_version: Literal[1] = 1
    status: Literal["ok", "failed"]
    fit_id: str
    score_id: str
    dataset: DatasetEntry
    setting: Setting
    categories: tuple[str, ...]
    """Categories trained on, sorted: one in the separate setting."""
    seed: Whole
    method: MethodEntry
    backbone: BackboneEntry
    protocol: dict[str, Any]
    budget: BudgetEntry | None = None
    results: dict[str, CategoryResult] = {}
    """By category. A failed run has none."""
    pooled: dict[str, Share | None] = {}
    """Image metrics over all categories' scores ranked together (unified runs of several categories)."""
    untrained: dict[str, dict[str, Share | None]] = {}
    """I-AUROC and P-AUROC by category of the same detector before its first optimiser step. Empty where nothing is
    trained by gradient, where a checkpoint was loaded, and in records that are older than this field."""
    loss_curve: tuple[tuple[Whole, FiniteFloat], ...] = ()
    """(optimiser step, training loss), thinned to at most 200 points."""
    learning_curve: tuple[LearningPoint, ...] = ()
    """Test metrics during the training, where they were requested. Tables use the last step only."""
    failure: FailureEntry | None = None
    cost: CostEntry | None = None
    arrays: dict[str, str] = {}
    """SHA-256 of the array files next to the record, ``scores`` and ``maps``. Records that are older than this
    field have none; their arrays are taken as they are."""
    provenance: ProvenanceEntry = Field(repr=False)

    @field_validator("protocol")
    @classmethod
    def _has_a_limit(cls, protocol: dict[str, Any]) -> dict[str, Any]:
        limit = protocol.get("pro_limit", 1)
        if not isinstance(limit, int | float) or not 0 < limit <= 1:
            raise ValueError("its pro_limit is no false-positive rate")
        return protocol

    @property
    def row_id(self) -> str:
        """Id of the leaderboard row: everything but setting, categories and seed.

        Runs with the same row id are the same method with the same config; they may be averaged over seeds
        and compared between settings.
        """
        method = self.method
        return short_id(
            {
                "method": [method.name, method.version, method.preset, method.fit_config, method.score_config],
                "backbone": [self.backbone.name, self.backbone.sha256, *self.backbone.unusual],
                "protocol": self.protocol,
            }
        )

    def comparable(self) -> dict[str, Any]:
        """The record without cost, provenance and digests: equal for equal runs on the same machine and threads.

        What was found in the data is left out too: older records lack it, and the ids cover the data.
        """
        dataset = {"counts": True, "copies": True, "data": True}
        return self.model_dump(
            mode="json", exclude={"cost": True, "arrays": True, "provenance": True, "dataset": dataset}
        )


def by_date(record: RunRecord) -> tuple[bool, str, str]:
    """A key that orders records by the end of their runs. Dates over a day in the future count as the oldest."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    finished = record.provenance.finished_utc
    return finished[:19] <= tomorrow[:19], finished, record.score_id


_END = "\n}"
_DIGEST = re.compile(rb',\n "digest": "([0-9a-f]{64})"\n\}\s*$')


class EditedError(ValueError):
    """The content of a file does not match its digest, or the file has no digest."""


def encode_record(record: RunRecord) -> bytes:
    """The file of a record."""
    return sealed(record.model_dump_json(indent=1))


def sealed(text: str) -> bytes:
    """A JSON object, indented by one space, with a digest of itself as its last entry."""
    return f'{text.removesuffix(_END)},\n "digest": "{_digest(text.encode())}"{_END}\n'.encode()


def decode_record(content: bytes) -> RunRecord:
    """The record of a file.

    Raises:
        EditedError: If the content has no digest, or was changed after it was written.
        ValidationError: If it is no record.
    """
    plain = content.replace(b"\r\n", b"\n")
    found = _DIGEST.search(plain, max(0, len(plain) - 120))
    if found is None:
        raise EditedError("it does not end in a digest: it was edited or cut short, or is no record")
    body = plain[: found.start()] + _END.encode()
    if _digest(body) != found[1].decode():
        raise EditedError("its content does not match its digest: it was edited, or damaged, after the run")
    return RunRecord.model_validate_json(body, strict=True)  # "0.99" is no number


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
