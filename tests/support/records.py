"""Records for tests: plausible, deterministic, and made in one line."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from results.ids import short_id
from results.leaderboard import leaderboard
from results.metrics.catalogue import RECORDED_METRICS
from results.records.record import (
    BackboneEntry,
    BudgetEntry,
    CategoryResult,
    CostEntry,
    DatasetEntry,
    FailureEntry,
    LearningPoint,
    MethodEntry,
    ProvenanceEntry,
    RunRecord,
    Setting,
)
from results.records.store import Scores
from results.rows.row import Row

CATEGORIES = ("bolt", "cloth", "pipe")


def make_record(
    *,
    setting: Setting = "unified",
    category: str | None = None,
    seed: int = 0,
    value: float = 0.9,
    values: dict[str, float | None] | None = None,
    metrics: dict[str, float | None] | None = None,
    reasons: dict[str, str] | None = None,
    failed: bool = False,
    pooled: float | None = None,
    routing: dict[str, float] | None = None,
    **fields: Any,
) -> RunRecord:
    """One record.

    Args:
        setting: ``unified`` (categories: all of the set) or ``separate`` (``category``, default the first).
        category: The category of a separate run.
        seed: Seed of the run.
        value: Every metric of every category, unless ``values`` or ``metrics`` replace it.
        values: I-AUROC by category; the other metrics stay at ``value``.
        metrics: Metrics that replace ``value`` in every category; None makes one blank.
        reasons: Reasons of blank metrics.
        failed: Whether the run failed and has no results.
        pooled: Pooled I-AUROC of a unified run.
        routing: Share of each category's test images that the detector assigned to it.
        **fields: Fields of the record's entries by their names (``preset``, ``weights``, ``steps``, ``git_dirty``);
            ``method``, ``dataset`` and ``backbone`` are the entries' names.

    Returns:
        A valid record whose ids depend on its content.

    Raises:
        TypeError: If a field has an unknown name.
    """
    given = _by_entry(fields)
    everything = tuple(sorted(given["dataset"].pop("set_categories", CATEGORIES)))
    categories = everything if setting == "unified" else (category or everything[0],)
    method = MethodEntry(**(_METHOD | given["method"]))
    overridden = {"precision": "float32", **method.fit_config, **method.overrides}
    method = method.model_copy(update={"title": method.title or method.name.capitalize(), "fit_config": overridden})
    dataset = _DATASET | {"set_categories": everything, "set_id": short_id(list(everything))} | given["dataset"]
    if "data" in dataset:
        digests = [[c, dataset["data"][c]["train"], dataset["data"][c]["test"]] for c in categories]
        dataset["fingerprint"] = short_id(digests)
    backbone = _BACKBONE | given["backbone"]
    digest = "" if backbone["weights"] == "none" else short_id(backbone["name"]) * 5
    backbone = BackboneEntry(**({"sha256": digest} | backbone))
    record = _RECORD | given["record"]
    fit_id = short_id(
        [method.model_dump(mode="json"), seed, setting, categories, dataset["fingerprint"], backbone.sha256]
    )
    provenance = {
        "finished_utc": "2025-01-01T00:00:00Z",
        "command": f"python -m bench run --dataset {dataset['name']} --method {method.name} --setting {setting}",
        **given["provenance"],
    }
    if failed:
        outcome = {"failure": _FAILURE, **record, "learning_curve": ()}
    else:
        results = {c: _result(c, value, values, metrics, reasons) for c in categories}
        for name, share in (routing or {}).items():
            results[name] = results[name].model_copy(update={"routing_accuracy": share})
        budget = _BUDGET | {"train_images": 20 * len(categories)} | given["budget"]
        outcome = {"results": results, "budget": budget, "cost": _COST | given["cost"], **record}
    return RunRecord(
        status="failed" if failed else "ok",
        fit_id=fit_id,
        score_id=short_id([fit_id, method.score_config, record["protocol"]]),
        dataset=DatasetEntry(**dataset),
        setting=setting,
        categories=categories,
        seed=seed,
        method=method,
        backbone=backbone,
        pooled={} if pooled is None else {"I-AUROC": pooled},
        provenance={**_PROVENANCE, "started_utc": provenance["finished_utc"], **provenance},
        **outcome,
    )


def make_data(categories: Sequence[str] = CATEGORIES, *, root: str = "", **changed: str) -> dict[str, dict[str, str]]:
    """The digests of categories, for the field ``data`` of ``make_record``.

    Args:
        categories: The categories.
        root: Other roots have other files in every category.
        **changed: By category, the part that differs from the usual one: ``train``, ``test`` or ``both``.
    """
    return {
        category: {
            part: f"{part} of {category}{root}{' changed' if changed.get(category) in {part, 'both'} else ''}"
            for part in ("train", "test")
        }
        for category in categories
    }


def make_row(seeds: Sequence[int] = (0, 1, 2), **fields: Any) -> list[RunRecord]:
    """All runs of one row in both settings; ``fields`` go to ``make_record``."""
    categories = fields.get("set_categories", CATEGORIES)
    runs = [make_record(setting="unified", seed=seed, **fields) for seed in seeds]
    return runs + [
        make_record(setting="separate", seed=seed, category=category, **fields)
        for seed in seeds
        for category in categories
    ]


def one_row(records: Iterable[RunRecord]) -> Row:
    """The only row that these records make."""
    (row,) = leaderboard(records).rows
    return row


def make_scores(record: RunRecord, images: int = 20, shift: float = 1.5, offset: float = 0.0) -> Scores:
    """Scores of ``images`` test images per category, half of them anomalous and ``shift`` higher on average.

    Args:
        record: The run; its categories and seed decide the draw.
        images: Test images per category.
        shift: How far the anomalous scores are above the normal ones, in standard deviations.
        offset: Added to all scores of the k-th category k times, which only makes the pooled ranking worse.
    """
    generator = np.random.default_rng([record.seed, sum(map(ord, "".join(record.categories)))])
    labels = np.arange(images) % 2 == 1
    places = [record.dataset.set_categories.index(category) for category in record.categories]
    scores = [generator.normal(size=images) + shift * labels + offset * place for place in places]
    own = np.concatenate(scores).astype(np.float32)
    return Scores(
        paths=np.array([f"{c}/test/{k:03d}.png" for c in record.categories for k in range(images)]),
        categories=np.repeat(np.array(record.categories), images),
        labels=np.tile(labels, len(record.categories)),
        own=own,
        common=own * 2,
    )


def falling_loss(steps: int, points: int = 50, level: float = 0.1) -> list[tuple[int, float]]:
    """A loss curve that falls from 1 towards ``level``."""
    every = max(1, steps // points)
    return [(step, level + (1 - level) * math.exp(-4 * step / steps)) for step in range(every, steps + 1, every)]


def make_learning_curve(
    losses: Sequence[float],
    image: Sequence[float | None],
    pixel: Sequence[float | None] | None = None,
    *,
    categories: Sequence[str] = CATEGORIES,
    every: int = 10,
    per_epoch: int = 10,
    spread: float = 0.0,
) -> list[LearningPoint]:
    """A learning curve with equally distant points.

    Args:
        losses: Training loss of each point.
        image: I-AUROC of each point, mean over the categories.
        pixel: P-AUROC and PRO of each point; default: as ``image``.
        categories: Categories that were tested.
        every: Steps between two points.
        per_epoch: Steps per epoch.
        spread: The first category's metrics are higher by this amount, the last one's lower.
    """
    shifts = [spread * (1 - 2 * k / max(1, len(categories) - 1)) for k in range(len(categories))]
    numbers = zip(losses, image, image if pixel is None else pixel, strict=True)
    points = []
    for k, (loss, first, second) in enumerate(numbers, 1):
        values = {"I-AUROC": first, "P-AUROC": second, "PRO": second}
        results = {
            category: {name: None if value is None else value + shift for name, value in values.items()}
            for category, shift in zip(categories, shifts, strict=True)
        }
        points.append(LearningPoint(step=k * every, epoch=k * every / per_epoch, loss=loss, results=results))
    return points


def _result(
    category: str,
    value: float,
    values: dict[str, float | None] | None,
    metrics: dict[str, float | None] | None,
    reasons: dict[str, str] | None,
) -> CategoryResult:
    numbers: dict[str, float | None] = dict.fromkeys(RECORDED_METRICS, value)
    if values is not None and category in values:
        numbers["I-AUROC"] = values[category]
    numbers.update(metrics or {})
    blank = {name: (reasons or {}).get(name, "no masks") for name, number in numbers.items() if number is None}
    return CategoryResult(metrics=numbers, reasons=blank, test_normal=10, test_anomalous=10, regions=12)


def _by_entry(fields: dict[str, Any]) -> defaultdict[str, dict[str, Any]]:
    """The given fields by the entry of the record that they belong to, under their names there."""
    given: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in fields.items():
        if name not in _PLACES:
            raise TypeError(f"a record has no field {name!r}; it has {', '.join(sorted(_PLACES))}")
        entry, field = _PLACES[name]
        given[entry][field] = value
    return given


_METHOD: dict[str, Any] = {
    "name": "plain",
    "title": "",
    "family": "reconstruction",
    "version": 1,
    "preset": "quick",
    "fit_config": {},
    "sizes": "128 px, 8x8 tokens, width 128",
}
_DATASET: dict[str, Any] = {"name": "toy", "title": "Toy set", "licence": "CC0-1.0", "fingerprint": "f" * 64}
_BACKBONE: dict[str, Any] = {"name": "resnet18", "weights": "pretrained"}
_BUDGET: dict[str, Any] = {"steps": 0, "presentations_per_image": 1.0}
_COST: dict[str, Any] = {
    "feature_seconds": 2.0,
    "fit_seconds": 3.0,
    "score_seconds": 1.0,
    "ms_per_image_batch_1": 12.0,
    "ms_per_image_batch_16": 8.0,
    "parameters": 1_000_000,
    "state_bytes": 4_000_000,
    "peak_rss_bytes": 900_000_000,
}
_PROVENANCE: dict[str, Any] = {
    "git_commit": "0123456789abcdef0123456789abcdef01234567",
    "git_dirty": False,
    "versions": {"python": "3.11.9", "torch": "2.5.0", "numpy": "2.1.0"},
    "device": "cpu",
    "threads": 2,
}
_RECORD: dict[str, Any] = {"protocol": {"version": 1, "map_size": 256, "pro_limit": 0.3}}
_FAILURE = FailureEntry(error_type="MemoryError", message="out of memory", traceback="...")
_ENTRIES = {
    "provenance": ProvenanceEntry,
    "cost": CostEntry,
    "budget": BudgetEntry,
    "backbone": BackboneEntry,
    "dataset": DatasetEntry,
    "method": MethodEntry,
}
_PLACES = {field: (entry, field) for entry, model in _ENTRIES.items() for field in model.model_fields}
"""Entry and field by the name of an argument of ``make_record``. ``title`` is that of the method, the last entry."""
del _PLACES["name"]  # three entries have a name: the arguments ``method``, ``dataset`` and ``backbone``
_PLACES |= {entry: (entry, "name") for entry in ("method", "dataset", "backbone")}
_PLACES |= {"dataset_title": ("dataset", "title"), "presentations": ("budget", "presentations_per_image")}
_PLACES |= {name: ("record", name) for name in ("protocol", "untrained", "loss_curve", "learning_curve", "failure")}
