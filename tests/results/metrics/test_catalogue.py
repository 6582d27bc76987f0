"""The catalogue of metrics: its entries are what is computed, and its lists are derived from them."""

import numpy as np
import pytest

from results.metrics import catalogue
from results.metrics.image import image_metrics
from results.metrics.pixel import pixel_metrics


def test_entries_are_what_is_computed():
    masks = np.array([[[True, False]], [[False, False]]])
    pixel = pixel_metrics(masks.astype(np.float32), masks)
    assert tuple(image_metrics([0.0, 1.0], [False, True]).values) == catalogue.IMAGE_METRICS
    assert tuple(pixel.values) == catalogue.PIXEL_METRICS
    assert set(catalogue.names_of("common")) <= set(catalogue.COMMON_METRICS)
    for name in catalogue.POOLED_METRICS:
        assert name.removesuffix(catalogue.POOLED) in catalogue.IMAGE_METRICS


def test_lists_of_the_tables():
    assert catalogue.HEADLINE == ("I-AUROC", "P-AUROC", "PRO")
    assert catalogue.AUROCS == ("I-AUROC", "P-AUROC")
    assert catalogue.FURTHER[:2] == ("I-AUROC (pooled)", "I-AUROC (common)")
    assert sorted(catalogue.HEADLINE + catalogue.FURTHER) == sorted(metric.name for metric in catalogue.CATALOGUE)


@pytest.mark.parametrize("metric", catalogue.CATALOGUE, ids=lambda metric: metric.name)
def test_every_metric_by_category_is_defined_in_plain_english_and_as_a_formula(metric):
    assert metric.definition.endswith(".")
    assert bool(metric.formula) == (metric.of in ("image", "pixel"))


def test_the_definition_of_pro_names_the_limits_of_the_records():
    (pro,) = [metric for metric in catalogue.CATALOGUE if metric.name == "PRO"]
    assert "up to a false-positive rate of 0.3, divided by 0.3" in catalogue.DEFINITIONS["PRO"]
    definition, formula = pro.described([0.05])
    assert "up to a false-positive rate of 0.05, divided by 0.05" in definition
    assert formula.startswith("(1 / 0.05) · ∫ from 0 to 0.05")
    definition, formula = pro.described([0.3, 0.05, 0.3])
    assert "a false-positive rate of L (FPR_LIMIT of the row: 0.05 or 0.3), divided by L" in definition
    assert formula.startswith("(1 / L) · ∫ from 0 to L")
    assert all("{limit}" not in text for metric in catalogue.CATALOGUE for text in metric.described([0.1, 0.2]))
