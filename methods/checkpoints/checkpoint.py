"""Fitted detectors in files: this project's (``safetensors``) and those that authors publish.

The header of this project's files describes the detector: method and version, configuration, feature layout, and the
backbone whose features it was trained on. ``released.py`` derives the same from the shapes of a published file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from datasets.errors import UniBoardError, unknown_name
from datasets.samples.fingerprint import file_digest
from datasets.samples.value_range import RANGES
from methods.backbones.backbone import AnyBackbone
from methods.backbones.choice import Padding
from methods.backbones.native_padding import has_native_padding
from methods.backbones.tensor_file import listed, load_safetensors, without_wrappers
from methods.checkpoints.released import complete_state, read_checkpoint, readable_methods, require_file, sizes_of
from methods.checkpoints.state_file import read_description, read_state, save_state
from methods.detector import Detector
from methods.errors import CheckpointError
from methods.feature_spec import FeatureLayout
from methods.features.batch import layout_of
from methods.registry import find_detector
from results.records.weights import WeightsKind

Changes = Callable[[type[Detector]], Mapping[str, Any]]
"""A function that returns the fields of a detector's configuration that the user gives, as typed values by name."""


@dataclass(frozen=True)
class RecordedBackbone:
    """The backbone whose features a detector was trained on, as the detector's file records it.

    Attributes:
        name: timm name.
        weights: Kind of weights.
        sha256: Hash of the weights; empty if the file does not have it.
        padding: Padding; see ``BackboneChoice``.
    """

    name: str
    weights: WeightsKind
    sha256: str
    padding: Padding


@dataclass(frozen=True)
class Checkpoint:
    """A file of a fitted detector. Its tensors are read when the detector is built.

    Attributes:
        file: Path of the file.
        sha256: Hash of the file when it was opened.
        detector_class: Class of the detector.
        config: The detector's configuration.
        layout: Layout of the features that it was trained on. For a published file of a detector that concatenates
            its taps, it has one number of channels for all of them.
        backbone: The backbone that computed these features.
        published: Whether the method's authors published the file; otherwise this project wrote it.
        changed: Fields of the configuration that were given when the file was opened.
        remarks: Sentences for the user about the file.
        value_bits: By category with 16-bit training images, the range from which these were scaled. Empty in files
            without one and in those that are older than this field.
    """

    file: Path
    sha256: str
    detector_class: type[Detector]
    config: Any
    layout: FeatureLayout = field(repr=False)
    backbone: RecordedBackbone
    published: bool
    changed: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    value_bits: Mapping[str, int] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The method's name."""
        return self.detector_class.info.name

    def padding_for(self, name: str) -> Padding:
        """The padding to use with a backbone of that name if the user does not choose one."""
        released = self.detector_class.released
        by_authors = self.published and released is not None and released.native_padding
        native = by_authors or self.backbone.padding == "native"
        return "native" if native and has_native_padding(name) else "timm"

    def layout_with(self, backbone: AnyBackbone) -> FeatureLayout:
        """The layout of the features that ``backbone`` gives, which must be what the detector was trained on.

        Raises:
            CheckpointError: If they have other channels or grids.
        """
        spec = self.detector_class.features(self.config)
        layout = layout_of(spec, backbone, self.layout.categories)
        same = layout.grids[:1] == self.layout.grids[:1] and layout.total_channels == self.layout.total_channels
        if not spec.grid:
            same = (layout.grids, layout.channels) == (self.layout.grids, self.layout.channels)
        if not same:
            raise CheckpointError(
                f"{self.file}: trained on features of {_channels(self.layout)}, but backbone '{backbone.name}' "
                f"gives {_channels(layout)} at strides {', '.join(map(str, spec.strides))}. Choose the backbone that "
                f"it was trained on ({self.backbone.name}?) with BACKBONE=..."
            )
        return layout

    def build(self, layout: FeatureLayout, device: torch.device, config: Any = None) -> Detector:
        """The fitted detector.

        Args:
            layout: Layout from ``layout_with``.
            device: Device of the detector.
            config: Configuration to use instead of the file's; it may differ only in test-time options.

        Raises:
            CheckpointError: If the file's tensors do not fit the detector, or the file has changed.
        """
        if file_digest(self.file).hex() != self.sha256:
            raise CheckpointError(f"{self.file}: the file has changed since it was opened. Start again.")
        detector = self.detector_class(self.config if config is None else config, layout)
        if self.published:
            found = read_checkpoint(self.file, self.method)
            detector.load_state(complete_state(found, detector.state(), self.file, self.method), device)
            return detector
        try:
            detector.load_state(without_wrappers(read_state(self.file)), device)
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{self.file}: its tensors do not fit the {self.detector_class.info.title} that its header describes "
                f"({' '.join(str(error).split())[:300]})."
            ) from error
        return detector


def save_detector(
    file: Path,
    detector: Detector,
    backbone: Mapping[str, Any],
    fit_id: str = "",
    value_bits: Mapping[str, int] | None = None,
) -> None:
    """Write a fitted detector with a header from which ``open_checkpoint`` restores it.

    Args:
        file: Path that ends in ``.safetensors``.
        detector: The fitted detector.
        backbone: ``name``, ``weights``, ``sha256`` and ``padding`` of the backbone that it was trained on.
        fit_id: Id of the fit, if it is one of a benchmark.
        value_bits: As ``Checkpoint.value_bits``.
    """
    layout = detector.layout
    description = {
        "method": detector.info.name,
        "version": detector.info.version,
        "config": vars(detector.config),
        "layout": {name: value for name, value in vars(layout).items() if name != "backbone"},
        "backbone": dict(backbone),
        **({"fit_id": fit_id} if fit_id else {}),
        **({"value_bits": dict(value_bits)} if value_bits else {}),
    }
    save_state(detector.state(), file, description)


def no_changes(cls: type[Detector]) -> Mapping[str, Any]:
    """No fields: the configuration of the file is not changed."""
    return {}


def open_checkpoint(
    file: Path, method: str = "", categories: tuple[str, ...] = (), changes: Changes = no_changes
) -> Checkpoint:
    """Open a file of a fitted detector and find its method, configuration, feature layout and backbone.

    Args:
        file: A file of this project (safetensors) or a file that the method's authors published.
        method: Name of the method, required for a published file. For this project's files it may be empty, and must
            otherwise be the method that the header names.
        categories: Names of a published class-aware detector's categories, in its order.
        changes: Function that returns the fields of the configuration that the user gives. It is called with the
            detector's class. For this project's files only test-time options can be given.

    Raises:
        CheckpointError: If the file is neither kind of checkpoint, or does not match the other arguments.
        UnknownNameError: If the method is unknown.
    """
    require_file(file)
    if _is_safetensors(file):
        return _open_own(file, method, categories, changes)
    if not method:
        raise CheckpointError(
            f"{file}: not a file of this project. For a published checkpoint, name the method "
            f"({', '.join(readable_methods())})."
        )
    cls = find_detector(method)
    given = dict(changes(cls))
    config, layout, remarks = sizes_of(file, method, read_checkpoint(file, method), categories, given)
    backbone = RecordedBackbone(cls.info.presets["paper"].backbone, "pretrained", "", "timm")
    return Checkpoint(file, file_digest(file).hex(), cls, config, layout, backbone, True, tuple(given), remarks)


def _open_own(file: Path, method: str, categories: tuple[str, ...], changes: Changes) -> Checkpoint:
    try:
        header = read_description(file)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{file}: not a safetensors file, or damaged ({error}).") from error
    try:
        name, version = str(header["method"]), int(header["version"])
        if method and method != name:
            raise CheckpointError(f"{file}: it holds a detector of '{name}', not of '{method}'.")
        if categories:
            raise CheckpointError(f"{file}: its header names its categories; leave them out.")
        cls = find_detector(name)
        config = _config_of(cls, header["config"], file)
        layout = FeatureLayout(**{key: _deep_tuple(value) for key, value in header["layout"].items()})
        backbone = RecordedBackbone(**header["backbone"])
        bits = {str(name): RANGES[RANGES.index(one)] for name, one in header.get("value_bits", {}).items()}
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise CheckpointError(
            f"{file}: its header does not say which detector it holds ({error}); it holds "
            f"{listed(sorted(load_safetensors(file, CheckpointError)))}. Of safetensors files, only those that this "
            "project wrote (KEEP=last, or score --save) can be read. A directory of backbone weights is WEIGHTS_DIR."
        ) from error
    except UniBoardError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{file}: {error}") from error
    scored = {f.name for f in dataclasses.fields(config) if f.metadata.get("score")}
    given = dict(changes(cls))
    fixed = [field_name for field_name in given if field_name not in scored]
    if fixed:
        raise CheckpointError(
            f"{file}: {', '.join(fixed)} belong to the fitted detector and can't be changed. Only test-time options "
            f"({', '.join(sorted(scored)) or 'it has none'}) can be changed."
        )
    remarks: tuple[str, ...] = ()
    if version != cls.info.version:
        remarks = (f"written by version {version} of {name}; this is version {cls.info.version}, so maps may differ",)
    config = dataclasses.replace(config, **given)
    return Checkpoint(file, file_digest(file).hex(), cls, config, layout, backbone, False, tuple(given), remarks, bits)


def _is_safetensors(file: Path) -> bool:
    """Whether a file is in the safetensors format.

    Such files begin with a length of 8 bytes and a JSON object; archives and pickles do not.

    Raises:
        CheckpointError: If the file can't be read.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(9)[8:] == b"{" or file.suffix == ".safetensors"
    except OSError as error:
        raise CheckpointError(f"{file}: can't be read ({error.strerror or error}).") from error


def _config_of(cls: type[Detector], values: Mapping[str, Any], file: Path) -> Any:
    """The configuration from the header's JSON values; a field that was added after the file has its default."""
    known = [f.name for f in dataclasses.fields(cls.config_type)]
    unknown = values.keys() - known
    if unknown:
        raise unknown_name(f"field of {cls.info.name} in the header", min(unknown), known)
    try:  # validated as JSON, where a list gives a tuple, and strictly, so that "3" is not a number
        return TypeAdapter(cls.config_type).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise CheckpointError(
            f"{file}: {name} is {values[name]!r} in the header, which is not a valid value."
        ) from error


def _deep_tuple(value: Any) -> Any:
    return tuple(_deep_tuple(item) for item in value) if isinstance(value, list) else value


def _channels(layout: FeatureLayout) -> str:
    sizes = zip(layout.channels, layout.grids, strict=False)
    return " + ".join(f"{channels} channels on {grid}x{grid}" for channels, grid in sizes)


def remarks_on(checkpoint: Checkpoint, backbone: AnyBackbone, *, named: bool) -> tuple[str, ...]:
    """Remarks for the user about this checkpoint with this backbone, as short sentences without a full stop.

    Args:
        checkpoint: The opened checkpoint.
        backbone: The chosen backbone.
        named: Whether the user named the backbone. If its weights are not the recorded ones, there is then a remark
            instead of an error.

    Raises:
        CheckpointError: If the weights are not those that the file records, and the user did not name the backbone.
    """
    recorded, choice = checkpoint.backbone, backbone.choice
    remarks = list(checkpoint.remarks)
    if choice.name != recorded.name:
        remarks.append(f"backbone is {choice.name}, not the checkpoint's ({recorded.name})")
    elif recorded.sha256 and recorded.sha256 != backbone.sha256:
        if not named:
            raise CheckpointError(
                f"{checkpoint.file}: trained on features of {recorded.name} with {recorded.weights} weights "
                f"{recorded.sha256[:12]}, but the {choice.weights} weights here are {backbone.sha256[:12]} (a file has "
                "another hash than the same weights from timm). Give the same weights with WEIGHTS_DIR=... or "
                f"WEIGHTS=..., or use the present weights anyway with BACKBONE={recorded.name}."
            )
        remarks.append(f"the backbone's weights are not the checkpoint's ({recorded.sha256[:12]})")
    usual = checkpoint.padding_for(choice.name)
    if choice.padding != usual:
        remarks.append(f"backbone padding is {choice.padding}, not the checkpoint's ({usual})")
    return tuple(remarks)


def require_categories(checkpoint: Checkpoint, categories: Sequence[str]) -> None:
    """Raise an ``UnknownNameError`` for a category that a class-aware checkpoint was not trained on."""
    if checkpoint.detector_class.info.class_aware:
        for name in categories:
            if name not in checkpoint.layout.categories:
                raise unknown_name(f"category of {checkpoint.file.name}", name, checkpoint.layout.categories)
