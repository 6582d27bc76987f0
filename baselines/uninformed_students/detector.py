"""US (Uninformed Students): students learn a teacher's patch descriptors on normal images; their error is the score.

Bergmann, Fauser, Sattlegger, Steger: "Uninformed Students: Student-Teacher Anomaly Detection with Discriminative Latent
Embeddings", CVPR 2020, https://arxiv.org/abs/1911.02357. There is no official code.

There is a teacher for each receptive field of 17, 33 and 65 pixels. From random crops, flipped and rotated, it learns a
descriptor that a linear decoder turns into a frozen ResNet-18's feature of the crop (the average of its last stage),
while the components of the descriptor are kept uncorrelated. Then three students learn the teacher's descriptor of
every pixel of flipped images, normalised by mean and standard deviation over the training images. The score of a pixel
is the squared error of the students' mean plus the variance among students, each standardised, averaged over the
receptive fields. Image score: maximum.

Parameters at the paper's widths, each network: 2,996,480 (17 px), 1,616,000 (33 px), 2,320,640 (65 px); with a teacher
and three students of each, and decoders to 512, 27,930,624.

State: all networks, and the statistics of teachers, errors and variances.

Training follows the best-known reimplementation (denguir/student-teacher-anomaly-detection): learning rates, batches,
epochs, flips with probability 1/2 in both directions, and rotations by up to 180 degrees, which take the nearest pixel
and leave the corners of a crop black. The students of a receptive field see the same images in a step; there each one
is trained by itself.

Deviations: the paper trains its teacher on ImageNet crops, with a metric-learning term; here, as in the
reimplementation, it is trained on the normal training images, without that term. As in the paper and unlike the
reimplementation, students learn the descriptors and not the decoded features, the correlations are those of components
and not of images, there is no dropout, and no leaky ReLU follows the last layers. Errors and variances are standardised
over the training images, not over a validation set. Images are mirrored at the border (there: zeros). A descriptor
belongs to the middle of the part of the patch that the network sees. The reimplementation takes the middle of the
nominal patch, so its maps of 33 and 65 px lie 1 and 3 px further down and to the right. ``crop`` trains the students on
a random part of every image (the paper: all of it). The learning rates of ``quick`` are higher, because it takes few
steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from baselines.uninformed_students.augmentation import random_crops, random_flips, random_rotations
from baselines.uninformed_students.networks import RECEPTIVE_FIELDS, PatchDescriptor, compactness
from methods.backbones.backbone import Backbone
from methods.detector import (
    Batch,
    DetectorInfo,
    FitContext,
    FitReport,
    NetworkDetector,
    Prediction,
    Preset,
    TrainingSet,
)
from methods.errors import ConfigError
from methods.feature_spec import FeatureLayout, FeatureSpec
from methods.registry import register
from methods.training.config import TrainingConfig
from methods.training.loop import Training, train_network

_READ = 4
"""Images read at a time."""


@dataclass(frozen=True)
class UninformedStudentsConfig(TrainingConfig):
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        image_size: Side of the input in pixels.
        receptive_fields: Sides of the patches in pixels; 17, 33 and 65 can be chosen.
        students: M, the number of students of each receptive field.
        divisor: Inner widths of all networks are divided by it.
        descriptor: D, the width of the descriptors.
        teacher_stride: Stride of the backbone's tap whose average the teachers learn.
        compactness: Weight of the correlations in the teachers' loss.
        teacher_epochs: Passes over the training images for the teachers.
        teacher_steps: Optimiser steps of the teachers; 0 counts epochs.
        teacher_batch_size: Images per step of the teachers; each image gives one crop.
        crop: Side of the random part of an image that students are trained on in a step; 0 for the whole image.
        epochs: Passes over the training images for the students.
        steps: Optimiser steps of the students; 0 counts epochs.
        batch_size: Images per step of the students.
        teacher_learning_rate: Learning rate of Adam for the teachers.
        learning_rate: Learning rate of Adam for the students.
        weight_decay: Weight decay of Adam.
    """

    image_size: int = 256
    receptive_fields: tuple[int, ...] = (17, 33, 65)
    students: int = 3
    divisor: int = 1
    descriptor: int = 128
    teacher_stride: int = 32
    compactness: float = 1.0
    teacher_epochs: int = 1000
    teacher_steps: int = 0
    teacher_batch_size: int = 64
    teacher_learning_rate: float = 2e-4
    crop: int = 0
    epochs: int = 15
    batch_size: int = 1
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5


class Scale(nn.Module):
    """Teacher, decoder and students of one receptive field, and the statistics that make their scores comparable."""

    mean: Tensor
    std: Tensor
    errors: Tensor
    variances: Tensor

    def __init__(self, config: UninformedStudentsConfig, receptive_field: int, decoded: int) -> None:
        super().__init__()
        width = config.descriptor
        self.teacher = PatchDescriptor(receptive_field, config.divisor, width)
        self.decoder = nn.Linear(width, decoded)
        self.students = nn.ModuleList(
            PatchDescriptor(receptive_field, config.divisor, width) for _ in range(config.students)
        )
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.register_buffer("errors", torch.tensor([0.0, 1.0]))  # mean and standard deviation
        self.register_buffer("variances", torch.tensor([0.0, 1.0]))

    @property
    def descriptors(self) -> list[PatchDescriptor]:
        """The students."""
        return [cast(PatchDescriptor, student) for student in self.students]

    def teacher_descriptors(self, images: Tensor) -> Tensor:
        """The teacher's normalised descriptors (B, D, h, w) of padded images."""
        return (self.teacher.dense(images) - self.mean[:, None, None]) / self.std[:, None, None]

    def errors_and_variances(self, padded: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error of the students' mean (B, H, W), and variance among the students (B, H, W)."""
        described = torch.stack([student.dense(padded) for student in self.descriptors])  # (M, B, D, H, W)
        mean = described.mean(dim=0)
        error = (mean - self.teacher_descriptors(padded)).square().sum(dim=1)
        return error, described.square().sum(dim=2).mean(dim=0) - mean.square().sum(dim=1)


@register
class UninformedStudents(NetworkDetector):
    """See the module's docstring."""

    info = DetectorInfo(
        name="uninformed_students",
        title="US",
        family="knowledge distillation",
        designed_for="separate",
        paper="Bergmann, Fauser, Sattlegger, Steger: Uninformed Students. CVPR 2020",
        year=2020,
        url="https://arxiv.org/abs/1911.02357",
        version=2,
        presets={
            "quick": Preset(
                {
                    "image_size": 64,
                    "receptive_fields": (17, 33),
                    "divisor": 8,
                    "descriptor": 32,
                    "teacher_stride": 16,
                    "teacher_steps": 250,
                    "teacher_batch_size": 16,
                    "teacher_learning_rate": 2e-3,
                    "crop": 24,
                    "steps": 250,
                    "batch_size": 2,
                    "learning_rate": 2e-3,
                    "schedule": "one_cycle",
                },
                "tf_efficientnet_lite0",
                "this project: CPU minutes",
            ),
            "paper": Preset({}, "resnet18", "the paper's sizes, the reimplementation's training"),
        },
        deviations=(
            "The teacher is trained on the normal training images without the metric-learning term (the paper: on "
            "ImageNet, with it). Scores are standardised over the training images, not over a validation set. "
            "Learning rates, flips and rotations are those of the reimplementation "
            "denguir/student-teacher-anomaly-detection; quick has higher learning rates. Images are mirrored at the "
            "border (there: zeros), and maps are centred on what a network sees of its patch, so those of 33 and 65 "
            "px lie 1 and 3 px beside the reimplementation's."
        ),
    )
    config_type = UninformedStudentsConfig
    config: UninformedStudentsConfig
    network: nn.ModuleList

    def __init__(self, config: UninformedStudentsConfig, layout: FeatureLayout) -> None:
        super().__init__(config, layout)
        unknown = [size for size in config.receptive_fields if size not in RECEPTIVE_FIELDS]
        if unknown or not config.receptive_fields:
            raise ConfigError(
                f"uninformed_students: receptive_fields must be some of {RECEPTIVE_FIELDS}, not {unknown}."
            )
        if config.image_size < max(config.receptive_fields):
            raise ConfigError("uninformed_students: the image must not be smaller than a receptive field.")
        if min(config.students, config.divisor, config.descriptor) < 1 or config.crop < 0:
            raise ConfigError(
                "uninformed_students: students, divisor and descriptor must be at least 1, crop 0 or more."
            )
        decoded = self._backbone.channels[config.teacher_stride]
        self.network = nn.ModuleList(Scale(config, size, decoded) for size in config.receptive_fields).eval()
        self._remeasure: Callable[[], None] | None = None

    @property
    def _scales(self) -> list[Scale]:
        return [cast(Scale, scale) for scale in self.network]

    @property
    def _backbone(self) -> Backbone:
        if self.layout.backbone is None:
            raise ConfigError("uninformed_students: the teachers learn from a backbone; give a layout with a backbone.")
        return self.layout.backbone

    @classmethod
    def features(cls, config: UninformedStudentsConfig) -> FeatureSpec:
        """Images; the detector runs the backbone on crops of them."""
        return FeatureSpec(config.image_size, (), images=True, run_strides=(config.teacher_stride,))

    def fit(self, train: TrainingSet, context: FitContext) -> FitReport:
        """Train the teachers, measure their descriptors, train the students, and measure their errors and variances."""
        config = self.config
        self.network.to(context.device)
        self._backbone.to(context.device)
        teachers = nn.ModuleList(nn.ModuleList([scale.teacher, scale.decoder]) for scale in self._scales)
        students = nn.ModuleList(scale.students for scale in self._scales)

        def teacher_losses(batch: Batch) -> Iterator[Tensor]:
            losses = [self._teacher_loss(scale, batch.pixels) for scale in self._scales]
            yield torch.stack(losses).sum()

        def student_losses(batch: Batch) -> Iterator[Tensor]:
            losses = [self._student_loss(scale, batch.pixels) for scale in self._scales]
            yield torch.stack(losses).sum()

        training = Training.of(config, optimiser="adam")
        first = replace(
            training,
            epochs=config.teacher_epochs,
            steps=config.teacher_steps,
            batch_size=config.teacher_batch_size,
            learning_rate=config.teacher_learning_rate,
        )
        unobserved = replace(context, observer=None)  # while the teachers train, there are no maps to observe
        teachers_report = train_network(self, teachers, teacher_losses, train, unobserved, first, stage="teachers")
        self._measure_teachers(train, context)
        # Predictions during the training use statistics of the students at that step.
        self._remeasure = lambda: self._measure_students(train, context)
        try:
            students_report = train_network(self, students, student_losses, train, context, training, stage="students")
        finally:
            self._remeasure = None
        self._measure_students(train, context)
        return students_report.after(teachers_report)

    def _teacher_loss(self, scale: Scale, pixels: Tensor) -> Tensor:
        """Squared distance of decoded descriptors to the backbone's average, plus the weighted correlations.

        One crop of each image (B, 3, H, W) is taken, flipped and rotated; the corners that a rotation leaves empty are
        black.
        """
        crops = random_rotations(random_flips(random_crops(pixels, scale.teacher.field)))
        crops = self._backbone.normalise(crops)
        with torch.no_grad():
            target = self._backbone.maps(crops)[self.config.teacher_stride].mean(dim=(2, 3))
        descriptors = scale.teacher(crops).float()
        distance = (scale.decoder(descriptors) - target).square().sum(dim=1).mean()
        return distance + self.config.compactness * compactness(descriptors)

    def _student_loss(self, scale: Scale, pixels: Tensor) -> Tensor:
        """Mean squared distance of each student to the teacher on flipped images (B, 3, H, W), summed over students."""
        padded = scale.teacher.padded(self._backbone.normalise(random_flips(pixels)))
        if self.config.crop:
            padded = random_crops(padded, self.config.crop + scale.teacher.seen - 1)
        with torch.no_grad():
            target = scale.teacher_descriptors(padded)
        losses = [(student.dense(padded) - target).square().sum(dim=1).mean() for student in scale.descriptors]
        return torch.stack(losses).sum()

    @torch.no_grad()
    def _measure_teachers(self, train: TrainingSet, context: FitContext) -> None:
        """Measure mean and standard deviation of every component of the teachers' descriptors, in one pass."""
        for scale in self._scales:
            scale.mean.zero_()
            scale.std.fill_(1.0)
            count = 0
            total: Tensor | float = 0.0
            squares: Tensor | float = 0.0
            for images in self._images(train, context):
                values = scale.teacher_descriptors(scale.teacher.padded(images)).double()
                count += values.numel() // values.shape[1]
                total = total + values.sum(dim=(0, 2, 3))
                squares = squares + values.square().sum(dim=(0, 2, 3))
            mean = torch.as_tensor(total) / count
            variance = torch.as_tensor(squares) / count - mean.square()
            scale.mean.copy_(mean)
            scale.std.copy_(variance.clamp_min(0).sqrt().clamp_min(1e-6))

    @torch.no_grad()
    def _measure_students(self, train: TrainingSet, context: FitContext) -> None:
        """Measure mean and standard deviation of errors and variances over all pixels of the training images."""
        for scale in self._scales:
            sums = torch.zeros(2, 3, dtype=torch.float64)
            for images in self._images(train, context):
                for row, values in enumerate(scale.errors_and_variances(scale.teacher.padded(images))):
                    wide = values.double()
                    sums[row] += torch.stack([wide.sum(), wide.square().sum(), torch.tensor(float(wide.numel()))]).cpu()
            for kept, (total, squares, count) in zip((scale.errors, scale.variances), sums, strict=True):
                mean = total / count
                deviation = (squares / count - mean.square()).clamp_min(0).sqrt().clamp_min(1e-6)
                kept.copy_(torch.stack([mean, deviation]))

    def _images(self, train: TrainingSet, context: FitContext) -> Iterator[Tensor]:
        for start in range(0, len(train), _READ):
            rows = range(start, min(start + _READ, len(train)))
            yield self._backbone.normalise(train.batch(rows).pixels.to(context.device))

    @torch.inference_mode()
    def predict(self, batch: Batch) -> Prediction:
        """Map: standardised error plus standardised variance of every pixel, averaged over receptive fields."""
        if self._remeasure is not None:
            self._remeasure()
        device = next(self.network.parameters()).device
        images = self._backbone.to(device).normalise(batch.pixels.to(device))
        total = torch.zeros(len(images), *images.shape[2:], device=device)
        for scale in self._scales:
            error, variance = scale.errors_and_variances(scale.teacher.padded(images))
            total += (error - scale.errors[0]) / scale.errors[1]
            total += (variance - scale.variances[0]) / scale.variances[1]
        maps = total / len(self._scales)
        return Prediction(maps, maps.amax(dim=(1, 2)))

    def sizes(self) -> str:
        """Sizes of the input and the receptive fields, number of students and width of the descriptors."""
        config = self.config
        fields = "+".join(map(str, config.receptive_fields))
        return f"{config.image_size} px, patches of {fields} px, {config.students} students, {config.descriptor} wide"
