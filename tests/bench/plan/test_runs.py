"""The ids of runs: what changes them, and what does not."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from bench.plan.configuration import configure
from bench.plan.options import parse_fpr_limit
from bench.plan.plan import make_plan
from bench.plan.runs import fits
from methods.registry import known_detectors
from tests.support.miniature import write_miniature_folder

CHANGES = {
    "image_size": "160", "strides": "4,16", "width": "64", "heads": "2", "dropout": "0.2", "query": "first",
    "neighbour_size": "5", "jitter_probability": "0.5", "position": "sine",
    "precision": "bfloat16", "coreset_fraction": "0.2", "patch": "5", "epsilon": "0.1",
}  # fmt: skip
"""Changed values of fields to which one can't simply be added."""
TOGETHER = {
    "rlr.strides": ("rlr.strides=8",),
    "rlr.widths": ("rlr.widths=32",),
    "rlr.windows": ("rlr.windows=5",),
    "rlr.attention": ("rlr.attention=lca",),
    "rlr.gates": ("rlr.gates=scalar",),
    "rlr.reference_penalty": ("rlr.reference_length=2", "rlr.reference_penalty=0.1"),
    "rlr.mask_probability": ("rlr.mask_probability=0.5",),
    "rlr.update": ("rlr.update=per_level",),
    "hvq_trans.levels": ("hvq_trans.levels=2",),
    "hvq_trans.codebooks": ("hvq_trans.codebooks=shared",),
    "hvq_trans.experts": ("hvq_trans.experts=shared",),
    "hvq_trans.routing": ("hvq_trans.routing=predicted",),
    "hvq_trans.width": ("hvq_trans.width=32",),
    **{
        assignment.partition("=")[0]: (assignment,)
        for assignment in (
            "draem.textures=dtd",
            "draem.rotation_probability=0.5",
            "draem.clean_probability=0.6",
            "draem.original_weight=0.1,0.8",
            "draem.noise_threshold=0.4,0.5",
            "draem.score_window=7",
            "mkd.strides=2,4,8,16",
            "mkd.scored=2",
            "mkd.localisation=guided",
            "rd4ad.strides=2,4,8",
            "rd4ad.block=bottleneck",
            "rd4ad.layers=2,1,1,1",
            "rd4ad.cosine=image",
            "fcdd.anomaly_probability=0.4",
            "fcdd.coloured_rate=2e-5",
            "fcdd.black_rate=2e-5",
            "fcdd.confetti_sides=8,50",
            "fcdd.confetti_kernel=27",
            "cutpaste.task=scar",
            "cutpaste.patch_area=0.03,0.15",
            "cutpaste.patch_aspect=0.5",
            "cutpaste.scar_width=2,7",
            "cutpaste.scar_length=6,13",
            "cutpaste.patch=20",
            "patch_svdd.patch=24",
            "patch_svdd.stride_small=2",
            "patch_svdd.stride_large=8",
            "patch_svdd.aggregation=sum",
            "uninformed_students.receptive_fields=17",
            "uninformed_students.teacher_stride=8",
        )
    },
}
"""Assignments for fields that can't be changed alone, by method and field."""


def test_ids_are_stable_and_every_hyper_parameter_changes_them(options):
    def ids(**changes):
        return [(run.fit_id, run.score_id) for run in make_plan(options(("patchcore",), **changes))]

    base = options(("patchcore",)).assignments
    assert ids() == ids()
    for assignment in ("patchcore.projection=64", "patchcore.coreset_fraction=0.2"):
        for before, after in zip(ids(), ids(assignments=(*base, assignment)), strict=True):
            assert before[0] != after[0]
            assert before[1] != after[1]
    for change in ({"bank_dtype": "float32"}, {"seeds": (1,)}):
        assert all(a[0] != b[0] for a, b in zip(ids(), ids(**change), strict=True))


def test_test_time_options_change_the_score_id_only(options):
    base = options(("patchcore",)).assignments
    plain = make_plan(options(("patchcore",)))
    for other in (
        make_plan(options(("patchcore",), assignments=(*base, "patchcore.reweighting=0"))),
        make_plan(options(("patchcore",), map_size="native")),
        make_plan(options(("patchcore",), fpr_limit=0.05)),
    ):
        for a, b in zip(plain, other, strict=True):
            assert a.fit_id == b.fit_id
            assert a.score_id != b.score_id


def test_the_default_limit_of_pro_changes_no_id(options):
    given = make_plan(options(("patchcore",), fpr_limit=parse_fpr_limit("0.30")))
    plain = make_plan(options(("patchcore",)))
    assert [(run.fit_id, run.score_id) for run in plain] == [(run.fit_id, run.score_id) for run in given]


def test_changed_training_images_change_the_fit_and_changed_test_images_the_score(options, tmp_path):
    root = write_miniature_folder(tmp_path / "set")
    before = {run.categories: run for run in make_plan(options(root=root))}
    image = next((root / "bolt" / "test" / "good").iterdir())
    image.write_bytes((root / "cloth" / "test" / "good" / image.name).read_bytes())
    after = {run.categories: run for run in make_plan(options(root=root))}
    assert before["bolt",].fit_id == after["bolt",].fit_id
    assert before["bolt",].score_id != after["bolt",].score_id
    assert before["cloth",].score_id == after["cloth",].score_id
    image = next((root / "bolt" / "train" / "good").iterdir())
    image.write_bytes((root / "cloth" / "train" / "good" / image.name).read_bytes())
    last = {run.categories: run for run in make_plan(options(root=root))}
    assert last["bolt",].fit_id != after["bolt",].fit_id
    assert last["cloth",].fit_id == after["cloth",].fit_id


def test_ids_do_not_depend_on_the_directory_of_the_data(options, tmp_path):
    ids = []
    for place in ("one", "two"):
        root = write_miniature_folder(tmp_path / place)
        ids.append([run.score_id for run in make_plan(options(root=root))])
    assert ids[0] == ids[1]


def test_both_routings_of_hvq_trans_share_a_fit(options):
    plan = make_plan(options(("hvq_trans",), settings=("unified",)))
    assert [run.config.routing for run in plan] == ["given", "predicted"]
    assert [run.method.class_aware for run in plan] == [True, False]
    assert len({run.fit_id for run in plan}) == 1
    assert len({run.score_id for run in plan}) == 2
    assert [len(group) for group in fits(plan)] == [2]
    chosen = make_plan(options(("hvq_trans",), settings=("unified",), assignments=("hvq_trans.routing=predicted",)))
    assert [run.config.routing for run in chosen] == ["predicted"]


@pytest.mark.parametrize("name", sorted(known_detectors()))
def test_every_field_of_every_detector_changes_an_id(options, folder, name):
    def ids(assignments=()):
        plan = make_plan(options((name,), settings=("unified",), assignments=assignments, textures_dir=folder))
        run = plan[0]
        return run.fit_id, run.score_id

    base = ids()
    config, _ = configure(known_detectors()[name], "quick", {})
    for field in dataclasses.fields(config):
        after = ids(_changed(name, config, field.name))
        assert after[1] != base[1], field.name
        assert (after[0] == base[0]) == bool(field.metadata.get("score")), field.name


def _changed(name: str, config: object, field: str) -> tuple[str, ...]:
    """Assignments that change a field, and others with it where it can't change alone."""
    if f"{name}.{field}" in TOGETHER:
        return TOGETHER[f"{name}.{field}"]
    value, hint = getattr(config, field), get_type_hints(type(config))[field]
    if field in CHANGES:
        changed = CHANGES[field]
    elif get_origin(hint) is Literal:
        changed = next(str(choice) for choice in get_args(hint) if choice != value)
    else:
        changed = str(not value if isinstance(value, bool) else value + 1)
    return (f"{name}.{field}={changed.lower()}",)


def test_native_padding_is_part_of_the_ids_and_timms_is_not(options):
    def plan(**more):
        more = {"backbone": "tf_efficientnet_b0", "settings": ("unified",)} | more
        (run,) = make_plan(options(("padim",), **more))
        return run

    usual, named, native = plan(), plan(backbone_padding="timm"), plan(backbone_padding="native")
    assert usual.fit_id == named.fit_id
    assert usual.backbone_identity == named.backbone_identity
    assert "padding" not in usual.backbone_identity
    assert native.fit_id != usual.fit_id
    assert native.backbone_identity == usual.backbone_identity | {"padding": "native"}
    assert native.backbone_entry.padding == "native"
