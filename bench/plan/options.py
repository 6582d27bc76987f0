"""The options of the commands. Each option is a field with its default, its help text and its bounds.

``bench/commands/parameters.py`` makes the options of the command line from these fields. A field without
``typer.Option`` is not an option of any command. A function after ``typer.Option`` turns the text that the user types
into the field's value. Values that depend on several options are computed by ``bench/plan/resolve.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.errors import OptionError

SETTINGS = ("unified", "separate")
Keep = Literal["none", "last", "all"]
BankDtype = Literal["float16", "float32"]
MapSize = int | Literal["native"]
_SEEDS = re.compile(r"(?P<first>[0-9]{1,9})(?:-(?P<last>[0-9]{1,9}))?")
_MOST_COUNTED = 20
"""The largest number that means a number of seeds. Larger ones are usually the seed itself."""
_LARGEST_MAP = 16384
_LARGEST_VALUE = 65535
"""The largest value of a mask, which has 16 bits."""
_MOST = 1024
"""The largest number of jobs or threads."""
_MOST_EPOCHS = 1_000_000
_MOST_GIB = 1_000_000
_MOST_SEEDS = 1000
"""The largest number of seeds of a range."""


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from text: ``3`` means the seeds 0, 1, 2, ``0,4`` the seeds 0 and 4, and ``42-46`` the five from 42 to 46.

    A number above 20 that is alone is refused, because it may be meant as one seed (``111,``) or as a number of
    seeds (``0-110``). An empty text is the default.

    Raises:
        OptionError: For any other text, and for a text that names no seed.
    """
    text = text.strip()
    if not text:
        return ()
    spans = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _SEEDS.fullmatch(part)
        if found is None:
            raise OptionError(
                f"SEEDS={text}: expected a number of seeds (3), a list (0,4) or a range (42-46); seeds are below 10**9."
            )
        first, last = int(found["first"]), int(found["last"] or found["first"])
        if last < first or last - first >= _MOST_SEEDS:
            raise OptionError(f"SEEDS={text}: the range {part} must ascend and have at most {_MOST_SEEDS} seeds.")
        spans.append(range(first, last + 1))
    if not text.isdecimal():
        seeds = {seed for span in spans for seed in span}
    elif (count := spans[0].start) <= _MOST_COUNTED:
        seeds = set(range(count))
    else:
        raise OptionError(
            f"SEEDS={text} would be {count} seeds. Give SEEDS={count}, (with the comma) for the one seed {count}, or "
            f"SEEDS=0-{count - 1} for {count} seeds."
        )
    if not seeds:
        raise OptionError(f"SEEDS={text}: expected at least one seed.")
    return tuple(sorted(seeds))


def parse_list(text: str, kind: str) -> tuple[str, ...]:
    """The items of a comma-separated list without repetitions; an empty text is an empty list.

    Args:
        text: The list.
        kind: What an item is called in an error message.

    Raises:
        OptionError: If the text has commas but no item.
    """
    items = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if text and not items:
        raise OptionError(f"'{text}' names no {kind}.")
    return items


def parse_map_size(text: str) -> MapSize:
    """Side of the scored maps from text: a number of pixels, or ``native``.

    Raises:
        OptionError: For any other text, and for sides below 16 or above 16384.
    """
    if text == "native":
        return "native"
    if not text.isdecimal() or len(text) > len(str(_LARGEST_MAP)) or not 16 <= int(text) <= _LARGEST_MAP:
        raise OptionError(f"MAP_SIZE={text}: expected a side of at least 16 pixels, or native.")
    return int(text)


def parse_fpr_limit(text: str) -> float:
    """The false-positive rate at which PRO's area ends, from text.

    Raises:
        OptionError: If it is no number in (0, 1].
    """
    limit = _number(text)
    if not 0 < limit <= 1:
        raise OptionError(f"FPR_LIMIT={text}: expected a false-positive rate above 0 and at most 1, e.g. 0.05.")
    return limit


def parse_gib(text: str) -> float:
    """A size in GiB from text.

    Raises:
        OptionError: If it is no number from 0 to a million.
    """
    size = _number(text)
    if not 0 <= size <= _MOST_GIB:
        raise OptionError(f"BANK_GIB={text}: expected a size in GiB from 0 to {_MOST_GIB}.")
    return size


def _number(text: str) -> float:
    """The number that a text names; not a number (which no bounds contain) for any other text."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


_methods = partial(parse_list, kind="method")
_settings = partial(parse_list, kind="setting")
_categories = partial(parse_list, kind="category")

# Options that several commands have.
DataDir = Annotated[Path, typer.Option(help="Directory that holds one directory per dataset.")]
Root = Annotated[Path | None, typer.Option(help="Directory of this dataset, if it is not under the data directory.")]
ResultsDir = Annotated[Path, typer.Option(help="Where records are written and read.")]
ReferenceDir = Annotated[Path, typer.Option(help="Committed records that are only read.")]
Site = Annotated[Path, typer.Option(help="Where the page is rendered.")]
MaskThreshold = Annotated[int, typer.Option(min=0, max=_LARGEST_VALUE, help="Values of a mask above this are defect.")]
DATA, RUNS, REFERENCE, SITE = Path("data"), Path("results/runs"), Path("results/reference"), Path("reports/site")
_Assignments = Annotated[tuple[str, ...], typer.Option("--set", help="method.field=value; may be repeated.")]
_CheckpointCategories = Annotated[
    tuple[str, ...],
    typer.Option(help="Categories of a published class-aware checkpoint, in its order; default: MVTec AD's."),
    _categories,
]
_Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
_Weights = Annotated[str, typer.Option(help="pretrained, file, packaged or random.")]
_WeightsDir = Annotated[Path | None, typer.Option(help="Directory of <timm name>.safetensors or .pth.")]
_BackbonePadding = Annotated[
    str,
    typer.Option(
        help="timm, or native for the padding of the published EfficientNets; default: timm, or the checkpoint's."
    ),
]


@dataclass(frozen=True)
class Options:
    """Options of ``run``, ``rescore``, ``shortcut`` and ``ablation``, as the user gave them, for one dataset.

    Attributes:
        only_kept: Whether to execute only runs that need no training, because their fitted state was kept.
        command: The command line as it is recorded.
    """

    dataset: Annotated[str, typer.Option(help="Dataset; see `list`. `cifar10` stands for its four tasks.")] = (
        "synthetic"
    )
    methods: Annotated[
        tuple[str, ...],
        typer.Option(help="Methods, separated by commas, or all; default: a few for synthetic, else the main ones."),
        _methods,
    ] = ()
    settings: Annotated[
        tuple[str, ...],
        typer.Option(help="unified, separate or both, separated by a comma; default: both; unified for a checkpoint."),
        _settings,
    ] = ()
    seeds: Annotated[
        tuple[int, ...],
        typer.Option(
            help="Number of seeds (3, at most 20) or list of seeds (0,42-46 or 111,); default: 3; 1 for a checkpoint."
        ),
        parse_seeds,
    ] = ()
    preset: Annotated[str, typer.Option(help="quick, paper, ...; default: quick for synthetic, else paper.")] = ""
    categories: Annotated[
        tuple[str, ...], typer.Option(help="Categories, separated by commas; default: all."), _categories
    ] = ()
    only: Annotated[
        tuple[str, ...],
        typer.Option(help="Run the separate detectors of these categories only; the others' cells stay blank."),
        _categories,
    ] = ()
    device: _Device = "auto"
    jobs: Annotated[
        int,
        typer.Option(
            min=0,
            max=_MOST,
            help="Runs at the same time; 0: one per GPU, else one, or one per core (at most 4) for preset quick.",
        ),
    ] = 0
    cluster: Annotated[
        str, typer.Option(help="Address of a Dask scheduler whose workers execute the runs; see docs/cluster.md.")
    ] = ""
    threads: Annotated[
        int,
        typer.Option(
            min=0, max=_MOST, help="Threads of each run; 0: the cores divided among the jobs, one on a cluster."
        ),
    ] = 0
    data_dir: DataDir = DATA
    root: Root = None
    textures_dir: Annotated[
        Path | None, typer.Option(help="Directory of texture images for DRAEM; default: dtd in the data directory.")
    ] = None
    weights: _Weights = ""
    weights_dir: _WeightsDir = None
    backbone: Annotated[str, typer.Option(help="timm name for all methods; default: the presets' own.")] = ""
    backbone_padding: _BackbonePadding = ""
    checkpoint: Annotated[
        Path | None, typer.Option(help="Fitted detector to evaluate without training, published or of this project.")
    ] = None
    checkpoint_categories: _CheckpointCategories = ()
    assignments: _Assignments = ()
    results_dir: ResultsDir = RUNS
    reference_dir: ReferenceDir = REFERENCE
    cache_dir: Annotated[Path, typer.Option(help="Features, checkpoints and fitted states.")] = Path(".cache")
    bank_dtype: Annotated[BankDtype, typer.Option(help="float16 or float32: number format of stored features.")] = (
        "float16"
    )
    bank_gib: Annotated[
        float, typer.Option(help="Features of a category beyond this size are not stored."), parse_gib
    ] = 200.0
    keep: Annotated[Keep, typer.Option(help="Fitted states to keep: none, last or all.")] = "none"
    map_size: Annotated[MapSize, typer.Option(help="Side of the scored maps in pixels, or native."), parse_map_size] = (
        256
    )
    fpr_limit: Annotated[
        float, typer.Option(help="False-positive rate at which the area of PRO ends."), parse_fpr_limit
    ] = 0.3
    mask_threshold: MaskThreshold = 0
    site: Site = SITE
    curves: Annotated[
        int,
        typer.Option(
            min=0,
            max=_MOST_EPOCHS,
            help="Epochs between two points of the learning curves (a diagnostic); 0: no curves.",
        ),
    ] = 0
    looks: Annotated[
        bool, typer.Option(help="Make pictures of what reconstruction methods rebuild, for the gallery (seed 0).")
    ] = True
    force: Annotated[bool, typer.Option("--force", help="Repeat runs that are recorded already.")] = False
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Repeat runs recorded as failed.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would run and how long it takes.")] = False
    unchecked_counts: Annotated[
        bool, typer.Option("--unchecked-counts", help="Accept a dataset with other image counts than published.")
    ] = False
    reverse: Annotated[bool, typer.Option("--reverse", help="Execute the runs in reverse order.")] = False
    only_kept: bool = False
    command: str = field(default="", compare=False)

    @property
    def textures(self) -> Path:
        """Directory of texture images, for detectors that paste them."""
        return self.textures_dir or self.data_dir / "dtd"


@dataclass(frozen=True)
class Scoring:
    """Options of ``score``; an empty option means the checkpoint's own value."""

    checkpoint: Annotated[Path, typer.Option(help="Fitted detector, as its authors published it or of this project.")]
    images: Annotated[Path, typer.Option(help="Directory of images, searched with all its subdirectories.")]
    out: Annotated[Path, typer.Option(help="Where maps.npz, scores.csv and overlays/ are written.")]
    methods: Annotated[
        tuple[str, ...],
        typer.Option("--method", help="Method of a published checkpoint; a file of this project names its method."),
        _methods,
    ] = ()
    category: Annotated[str, typer.Option(help="Category of all images, for class-aware checkpoints.")] = ""
    categories: _CheckpointCategories = ()
    backbone: Annotated[str, typer.Option(help="timm name; default: the checkpoint's.")] = ""
    backbone_padding: _BackbonePadding = ""
    weights: _Weights = ""
    weights_dir: _WeightsDir = None
    device: _Device = "auto"
    assignments: _Assignments = ()
    save: Annotated[Path | None, typer.Option(help="Also save the detector in this project's format.")] = None
