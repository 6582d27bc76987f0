"""Configures what runs: each method under its preset, or the detector of a checkpoint, with backbone and badges."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from bench.errors import OptionError
from bench.plan.checkpoints import PRESET, backbone_choice, read_checkpoint_file, require_padding
from bench.plan.configuration import configure, find_preset, parse_overrides, split_config
from bench.plan.resolve import ResolvedOptions
from bench.plan.weights_and_textures import require_textures, weights_of
from methods.backbones.backbone import load_backbone
from methods.backbones.choice import NO_BACKBONE, BackboneChoice, Padding, with_paper_tag
from methods.backbones.packaged import ARCHITECTURE
from methods.backbones.pretrained import can_be_had
from methods.checkpoints.checkpoint import Checkpoint, remarks_on, require_categories
from methods.detector import Detector
from methods.errors import ConfigError
from methods.feature_spec import FeatureSpec
from methods.features.batch import layout_of
from methods.registry import find_detector
from results.records.record import MethodEntry


@dataclass(frozen=True)
class ConfiguredMethod:
    """One method as it will run.

    Attributes:
        detector_class: Class of the detector.
        preset: Name of the preset, or ``checkpoint``.
        typed: Values of the fields that the user set, by name.
        variants: The configurations under which one fit is scored; they differ in test-time options only.
        backbone: The frozen backbone.
        badges: Remarks that its rows have to show.
        checkpoint: The checkpoint that the detector is loaded from; None if it is trained.
    """

    detector_class: type[Detector]
    preset: str
    typed: dict[str, Any]
    variants: tuple[Any, ...]
    backbone: BackboneChoice
    badges: tuple[str, ...] = ()
    checkpoint: Checkpoint | None = None

    def entry(self, config: Any) -> MethodEntry:
        """The record's entry of the method under one of the variants."""
        info = self.detector_class.info
        fit_config, score_config = split_config(config)
        if self.checkpoint is not None:
            fit_config["checkpoint"] = self.checkpoint.sha256[:12]
        return MethodEntry(
            name=info.name,
            title=info.title,
            family=info.family,
            version=info.version,
            preset=self.preset,
            overrides={key: list(v) if isinstance(v, tuple) else v for key, v in self.typed.items()},
            fit_config=fit_config,
            score_config=score_config,
            class_aware=self.detector_class.told_category(config),
            deterministic=info.deterministic,
            badges=self.badges,
        )


def configured_methods(options: ResolvedOptions) -> list[ConfiguredMethod]:
    """The methods that the options name.

    The detector of a checkpoint has been built once; call ``require_buildable`` for the others.

    Raises:
        UniBoardError: For wrong names and values, and checkpoints that can't be used.
    """
    if options.checkpoint is not None:
        return [_from_checkpoint(options)]
    if options.checkpoint_categories:
        raise OptionError("CHECKPOINT_CATEGORIES names the categories of a CHECKPOINT: give CHECKPOINT too.")
    classes = {name: find_detector(name) for name in options.methods}
    overrides = parse_overrides(list(options.assignments), list(classes))
    return [_from_preset(options, cls, overrides.get(name, {})) for name, cls in classes.items()]


def _from_preset(options: ResolvedOptions, cls: type[Detector], texts: dict[str, str]) -> ConfiguredMethod:
    papers = find_preset(cls, options.preset).backbone
    config, typed = configure(cls, options.preset, texts)
    choice = _backbone_choice(options, papers, _features(cls, config).deepest)
    known = not papers or with_paper_tag(choice.name) == with_paper_tag(papers)
    badges = () if known else (f"backbone is not the preset's ({papers})",)
    variants = tuple(_score_variants(cls, config, typed))
    return ConfiguredMethod(cls, options.preset, typed, variants, choice, badges)


def _features(cls: type[Detector], config: Any) -> FeatureSpec:
    """What a detector reads.

    Raises:
        ConfigError: If its hyper-parameters have no meaning, e.g. a stride of 0.
    """
    try:
        return cls.features(config)
    except (ValueError, RuntimeError, ArithmeticError) as error:
        raise ConfigError(f"{cls.info.name}: {error}") from error


def _from_checkpoint(options: ResolvedOptions) -> ConfiguredMethod:
    """The method that a checkpoint holds, after all checks for which the file alone is enough."""
    if options.checkpoint is None:
        raise OptionError("CHECKPOINT names no file.")
    if len(options.seeds) > 1:
        raise OptionError("A checkpoint is loaded, not trained: it has one seed. Leave SEEDS out.")
    if options.preset:
        raise OptionError("A checkpoint contains its configuration: PRESET does not go with CHECKPOINT.")
    checkpoint = read_checkpoint_file(
        options.checkpoint, options.methods, options.checkpoint_categories, options.assignments
    )
    choice = backbone_choice(
        checkpoint, options.backbone, options.weights, options.weights_dir, options.backbone_padding
    )
    backbone = load_backbone(choice)
    remarks = remarks_on(checkpoint, backbone, named=bool(options.backbone))
    detector = checkpoint.build(checkpoint.layout_with(backbone), torch.device("cpu"))
    cls = checkpoint.detector_class
    typed = {name: getattr(checkpoint.config, name) for name in checkpoint.changed}
    obstacles = [(variant, detector.unscorable(variant)) for variant in _score_variants(cls, checkpoint.config, typed)]
    variants = tuple(variant for variant, obstacle in obstacles if not obstacle)
    if not variants:
        raise ConfigError(f"{checkpoint.file}: {obstacles[0][1]}")
    badges = (f"checkpoint {checkpoint.file.name}, trained elsewhere", *remarks)
    return ConfiguredMethod(cls, PRESET, typed, variants, choice, badges, checkpoint)


def _score_variants(cls: type[Detector], config: Any, typed: dict[str, Any]) -> list[Any]:
    """The configurations under which one fit is scored: the method's variants without those whose fields are set.

    If none is left, it is the configuration as it is.
    """
    wanted = [v for v in cls.info.score_variants if not set(v) & set(typed)]
    return [dataclasses.replace(config, **variant) for variant in wanted] or [config]


def require_buildable(method: ConfiguredMethod, categories: tuple[str, ...], textures: Path) -> None:
    """Build the detector once and discard it, so that a wrong configuration is an error before any pass or training.

    Args:
        method: One of the ``configured_methods``.
        categories: Categories of the dataset; a class-aware checkpoint must have been trained on them.
        textures: Directory of texture images, for detectors that paste them.

    Raises:
        ConfigError: If the configuration makes no detector.
        BackboneError: If the backbone lacks a stride.
        OptionError: If the detector pastes textures and there are none.
        UnknownNameError: If a class-aware checkpoint lacks a category.
    """
    if method.checkpoint is not None:
        require_categories(method.checkpoint, categories)
        return
    cls, config = method.detector_class, method.variants[0]
    try:
        spec = _features(cls, config)
        if spec.image_size < max(1, spec.deepest):
            raise ConfigError(
                f"{cls.info.name}: an image of {spec.image_size} px is too small for strides {spec.strides}."
            )
        cls(config, layout_of(spec, load_backbone(method.backbone), ("one", "another")))
        if spec.textures:
            require_textures(cls.info.name, textures)
    except (ValueError, RuntimeError, ArithmeticError) as error:
        raise ConfigError(f"{cls.info.name}: {error}") from error


def _backbone_choice(options: ResolvedOptions, preset_backbone: str, deepest: int) -> BackboneChoice:
    """The backbone that the user names, or else the preset's; ``NO_BACKBONE`` for methods without one.

    If the user names neither backbone nor weights, and the preset's weights can't be had, the backbone is the one whose
    weights are installed.
    """
    require_padding(options.backbone_padding)
    if not preset_backbone:
        return NO_BACKBONE
    name = options.backbone or preset_backbone
    weights = weights_of(options.weights, options.weights_dir, name, "pretrained")
    chosen = options.backbone or options.weights
    if weights == "pretrained" and not chosen and not can_be_had(with_paper_tag(name)):
        name, weights = ARCHITECTURE, "packaged"
    directory = str(options.weights_dir) if weights == "file" and options.weights_dir else ""
    padding = cast(Padding, options.backbone_padding or "timm")
    return BackboneChoice(name, weights, directory, padding, max(deepest, BackboneChoice.deepest))
