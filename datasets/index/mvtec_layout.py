"""Index of a directory in the MVTec layout or one of its variants, which most industrial datasets use.

The original layout is::

    <root>/<category>/train/good/*.png
    <root>/<category>/test/good/*.png
    <root>/<category>/test/<defect type>/NNN.png
    <root>/<category>/ground_truth/<defect type>/NNN_mask.png

A mask may also be called ``NNN.png``, have another suffix than its image, or be a directory ``NNN/`` with
several masks, which are united (as in MVTec LOCO AD). BTAD calls its directories ``ok`` and ``ko``. Images
and masks are paired by name, never by order; both may be sorted into sub-directories. The directory of masks may
have another usual name (``masks``, ``gt``, ...), which is reported. A category without masks is evaluated on image
level only. Everything else that is there, e.g. ``validation``, is not read and is listed in ``DatasetIndex.unread``.
Later datasets of the MVTec family keep images or masks in other directories of a category, which a ``Layout``
describes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.errors import DatasetError
from datasets.index.layout import MVTEC, Layout
from datasets.index.names import (
    GOOD_NAMES,
    MASK_ENDING,
    MASK_NAMES,
    OTHER_MASK_NAMES,
    VALIDATION,
    name_in,
    named_like_masks,
    plain,
    relative,
    same_name,
    shared_names,
    sounds_normal,
    with_portable_names,
)
from datasets.index.problems import IndexingError, Problem
from datasets.index.unread import (
    BESIDE,
    NORMAL_MASK,
    ORPHAN,
    Kind,
    UnreadFiles,
    entries_below,
    is_image,
    leads_up,
    sorted_entries,
)
from datasets.samples.sample import GOOD, DatasetIndex, Sample


def index_folder(
    root: Path, name: str, layout: Layout = MVTEC, given: Path | None = None, **fields: Any
) -> DatasetIndex:
    """Build the index of a directory of categories in the MVTec layout or one of its variants.

    Args:
        root: Directory that holds one directory per category.
        name: Name of the dataset, as in ``DatasetIndex.name``.
        layout: Where a category keeps its images and masks.
        given: Directory in which ``root`` was found, if it is another one. What is beside ``root`` is not read.
        **fields: Other fields of ``DatasetIndex``, e.g. ``textures``.

    Returns:
        The index. ``has_masks`` is False only if no category has a directory of masks.

    Raises:
        IndexingError: If files are missing or wrong. It lists every problem, e.g. every image without its mask.
        DatasetError: If the directory can't be read or holds no category.
    """
    categories = _categories(root, layout)
    if not categories:
        raise DatasetError(_no_category(root, layout))
    reader = _Reader(root, layout)
    for category in categories:
        reader.read(category)
    reader.note_other_entries(set(categories), given)
    problems = reader.problems
    fields.setdefault("has_masks", reader.has_masks)
    index = DatasetIndex(
        name=name,
        root=root,
        samples=tuple(with_portable_names(reader.samples, problems)),
        unread=reader.unread.found(),
        remarks=tuple(reader.remarks),
        **fields,
    )
    if problems:
        raise IndexingError(root, problems, partial=index)
    return index


def categories_home(root: Path, layout: Layout = MVTEC) -> Path:
    """The directory that holds the categories: ``root``, or a directory in it, as some archives have it.

    Args:
        root: Directory of the dataset.
        layout: Layout by which a directory is recognised as a category.

    Returns:
        The directory; ``root`` if none holds categories. ``index_folder`` then reports what is missing.

    Raises:
        DatasetError: If a directory can't be read.
    """
    candidates = [root, *(entry for entry in sorted_entries(root) if entry.is_dir())]
    return next((directory for directory in candidates if _categories(directory, layout)), root)


def _categories(root: Path, layout: Layout) -> list[Path]:
    return [entry for entry in sorted_entries(root) if entry.is_dir() and _is_category(entry, layout)]


def _is_category(directory: Path, layout: Layout) -> bool:
    return (directory / layout.train).is_dir() or (directory / layout.test).is_dir()


def _no_category(root: Path, layout: Layout) -> str:
    if _is_category(root, layout):
        return (
            f"{root}: this is one category, but a directory of categories is expected. "
            f"Give the directory above it: {root.parent}."
        )
    masks = layout.masks.format(type="<defect type>")
    return (
        f"{root}: no category found. Expected <category>/{layout.train}/good, <category>/{layout.test}/good, "
        f"<category>/{layout.test}/<defect type> and <category>/{masks}."
    )


@dataclass(frozen=True)
class _Type:
    """A directory of one split whose images show the same: normal objects, or one type of defect."""

    directory: Path
    images_home: Path
    defect: str
    images: tuple[Path, ...]


class _Reader:
    """Collects the samples of the categories, the problems, and what is not read.

    Args:
        root: Directory of the categories.
        layout: Where a category keeps its images and masks.
    """

    def __init__(self, root: Path, layout: Layout) -> None:
        self.root = root
        self.layout = layout
        self.samples: list[Sample] = []
        self.problems: list[Problem] = []
        self.remarks: list[Problem] = []
        self.unread = UnreadFiles(root)
        self.has_masks = False

    def read(self, category: Path) -> None:
        """Read one category."""
        masks = self._masks_template(category)
        train = list(self._types(category, self.layout.train, None))
        test = list(self._types(category, self.layout.test, masks))
        self._add_train(category, train)
        self._add_test(category, test, masks)
        read = {Path(self.layout.train).parts[0], Path(self.layout.test).parts[0]}
        if masks is not None:
            read.add(Path(masks).parts[0])
        for entry in sorted_entries(category, hidden=True):
            if not entry.is_dir() or entry.name.startswith("."):
                self._note_file(category.name, category, entry)
            elif entry.name not in read:
                self._note_sibling(category, entry, masks is not None)

    def note_other_entries(self, categories: set[Path], given: Path | None) -> None:
        """Note what is beside the categories, and beside their directory in the one that was given."""
        why = f"it is not a category, because it holds neither {self.layout.train} nor {self.layout.test}"
        self.unread.add_beside(self.root, categories, why, "Check the names of its directories, or move it away.")
        if given is not None and given != self.root:
            self.unread.add_beside(given, {self.root}, f"only {self.root.name} is read", BESIDE)

    def _note_file(self, category: str, directory: Path, entry: Path) -> None:
        cure = f"Move them to {self.layout.train}/good or {self.layout.test}/<type>."
        self.unread.add_file(category, directory, entry, cure)

    def _note_sibling(self, category: Path, directory: Path, has_masks: bool) -> None:
        layout = self.layout
        expected = directory.name.lower() in VALIDATION or directory.name in layout.other
        cure = "" if expected else f"Move images that should count to {layout.train}/good or {layout.test}/<type>."
        if not expected and not has_masks:
            cure += f" If they are masks, move them to {layout.masks.replace('{type}', '<type>')}."
        why = f"only {layout.train}, {layout.test} and {layout.masks.partition('/')[0]} of a category are read"
        self.unread.add_directory(category.name, directory, why, cure, "remark" if expected else "warning")

    def _masks_template(self, category: Path) -> str | None:
        """``Layout.masks`` with the name that the category's directory of masks has; None if it has no masks."""
        layout = self.layout
        if (category / layout.all_masks).is_dir():
            return layout.masks
        if layout.masks != MVTEC.masks:
            return None
        tested = category / layout.test
        types = [t.name for t in sorted_entries(tested) if t.is_dir()] if tested.is_dir() else []
        types = [name for name in types if name.lower() not in GOOD_NAMES]
        found = [
            entry
            for entry in sorted_entries(category)
            if plain(entry.name) in OTHER_MASK_NAMES and entry.is_dir() and _holds_masks(entry, types)
        ]
        if len(found) > 1:
            names = ", ".join(entry.name for entry in found)
            what = f"masks may be in {names}, and it is not known which are right."
            cure = f"Rename the right directory to {layout.all_masks}, and move the others away."
            self.problems.append(Problem(category.name, what, cure))
        if len(found) != 1:
            return None
        what = f"is read as the directory of masks, because there is no {layout.all_masks}."
        cure = "Move it away if it holds no masks."
        self.remarks.append(Problem(relative(found[0], self.root), what, cure, "remark"))
        return f"{found[0].name}/{{type}}"

    def _types(self, category: Path, split: str, masks: str | None) -> Iterator[_Type]:
        """Yield each type directory of one split, except that of masks, with its images."""
        parent = category / split
        if not parent.is_dir():
            return
        all_masks = category / masks.partition("/{type}")[0] if masks else None
        loose = []
        for entry in sorted_entries(parent, hidden=True):
            if entry.name.startswith(".") or not entry.is_dir():
                if is_image(entry) and entry.is_file() and not entry.name.startswith("."):
                    loose.append(entry)
                else:
                    self._note_file(category.name, parent, entry)
            elif leads_up(entry):
                self.unread.add_other(category.name, parent, [(entry, Kind.LINK)])
            elif entry != all_masks:
                yield self._type(category, entry)
        if loose:
            what = f"{len(loose)} images are directly in it ({loose[0].name}, ...)."
            cure = f"Move them into a directory named after what they show, e.g. {parent.name}/good."
            self.problems.append(Problem(relative(parent, self.root), what, cure))
            self.unread.add(category.name, parent, loose, what, cure, "error")

    def _type(self, category: Path, directory: Path) -> _Type:
        """The images of a type directory and its sub-directories."""
        home = directory / self.layout.images
        if self.layout.images:
            for entry in sorted_entries(directory, hidden=True):
                if not entry.is_dir() or entry.name.startswith("."):
                    self._note_file(category.name, directory, entry)
                elif entry != home and self.layout.masks != f"{self.layout.test}/{{type}}/{entry.name}":
                    why = f"only {self.layout.images} is read"
                    self.unread.add_directory(category.name, entry, why, severity="remark")
        images: list[Path] = []
        entries = list(entries_below(home)) if home.is_dir() else []
        for entry, kind in entries:
            if kind is not Kind.FILE or not is_image(entry):
                self.unread.add_other(category.name, home, [(entry, kind)])
            elif masks := named_like_masks(entry, home):
                why = f"a directory {masks.name} is taken for masks, not for images"
                cure = (
                    f"Move masks to {self.layout.masks.replace('{type}', '<type>')}, or rename it if it holds images."
                )
                self.unread.add(category.name, masks, [entry], why, cure)
            else:
                images.append(entry)
        defect = GOOD if directory.name.lower() in GOOD_NAMES else directory.name
        return _Type(directory, home, defect, tuple(images))

    def _add_train(self, category: Path, types: Sequence[_Type]) -> None:
        root, train = self.root, self.layout.train
        count = len(self.samples)
        for one in types:
            if one.defect == GOOD:
                self.samples += [Sample(category.name, "train", relative(image, root)) for image in one.images]
            elif one.images:
                what = f"{len(one.images)} training images in a directory that is not called 'good'."
                cure = (
                    f"Training images are normal: move normal ones to {train}/good/{one.directory.name} and defective "
                    f"ones to {self.layout.test}."
                )
                self.problems.append(Problem(relative(one.directory, root), what, cure))
                self.unread.add(category.name, one.directory, one.images, what, cure, "error")
        if len(self.samples) == count:
            cure = f"Put normal images there, or remove the category '{category.name}'."
            self.problems.append(Problem(f"{category.name}/{train}/good", "no training images.", cure))

    def _add_test(self, category: Path, types: Sequence[_Type], template: str | None) -> None:
        root, test = self.root, self.layout.test
        count = len(self.samples)
        self.has_masks |= template is not None
        truths: set[Path] = set()
        for one in types:
            truth = category / template.replace("{type}", one.directory.name) if template else None
            if truth is not None:
                truths.add(truth)
            masks = self._masks_of_type(category, truth)
            used: set[Path] = set()
            if one.defect != GOOD:
                self._question_name(one, truth)
            if template and one.defect != GOOD:
                self.problems += shared_names(one.images, one.images_home, root)
            for image in one.images:
                name = name_in(image, one.images_home)
                own = sorted({*masks.get(name, []), *masks.get(name + MASK_ENDING, [])}) if one.defect != GOOD else []
                used |= set(own)
                paths = tuple(relative(mask, root) for mask in own)
                self.samples.append(Sample(category.name, "test", relative(image, root), one.defect, paths))
                if truth is not None and one.defect != GOOD and not own:
                    expected = (truth / image.relative_to(one.images_home).with_suffix("")).as_posix() + MASK_ENDING
                    what = f"defective, but it has no mask: {relative(Path(expected + '.png'), root)} is missing."
                    cure = "Add the mask (NNN_mask.png, NNN.png or a directory NNN), or remove the image."
                    self.problems.append(Problem(relative(image, root), what, cure))
            if truth is not None:
                names = {name_in(image, one.images_home) for image in one.images} if one.defect == GOOD else set()
                self._note_masks(category, truth, {m for found in masks.values() for m in found} - used, names)
        if template and template.endswith("/{type}"):
            self._note_other_masks(category, category / template.removesuffix("/{type}"), truths)
        if len(self.samples) == count:
            what = "no test images."
            cure = f"Put normal ones into {test}/good and defective ones into {test}/<defect type>."
            self.problems.append(Problem(f"{category.name}/{test}", what, cure))

    def _question_name(self, one: _Type, truth: Path | None) -> None:
        """Report a directory of defective images whose name says that they are normal, or masks.

        Masks of its images show that the directory is what it seems.
        """
        if not one.images or (truth is not None and truth.is_dir()):
            return
        name = one.directory.name
        parent = one.directory.parent.name
        if sounds_normal(name):
            what = f"its {len(one.images)} images would count as defective, but '{name}' sounds normal."
            cure = f"Move it to {parent}/good/{name} if they are normal, or give it the name of a defect."
        elif plain(name) in MASK_NAMES:
            what = f"its {len(one.images)} images would count as defective, but '{name}' sounds like masks."
            cure = f"Move masks to {self.layout.masks.replace('{type}', '<type>')}, or give it the name of a defect."
        else:
            return
        self.problems.append(Problem(relative(one.directory, self.root), what, cure))

    def _masks_of_type(self, category: Path, truth: Path | None) -> dict[str, list[Path]]:
        """Mask files by their name in the type's directory; the files of a directory ``NNN`` also under ``NNN``."""
        masks: defaultdict[str, list[Path]] = defaultdict(list)
        if truth is None or not truth.is_dir():
            return masks
        for entry, kind in entries_below(truth):
            if kind is not Kind.FILE or not is_image(entry):
                self.unread.add_other(category.name, truth, [(entry, kind)])
                continue
            masks[name_in(entry, truth)].append(entry)
            if entry.parent != truth:
                masks[same_name(entry.parent.relative_to(truth).as_posix())].append(entry)
        return masks

    def _note_masks(self, category: Path, directory: Path, masks: set[Path], normal: set[str]) -> None:
        """Note masks that belong to no image, or to one of the normal images with the names ``normal``."""
        for mask in masks:
            if name_in(mask, directory).removesuffix(MASK_ENDING) in normal or name_in(mask, directory) in normal:
                self.unread.add(category.name, directory, [mask], NORMAL_MASK, severity="remark")
            else:
                self.unread.add(category.name, directory, [mask], ORPHAN, "Check their names, or remove them.")

    def _note_other_masks(self, category: Path, parent: Path, known: set[Path]) -> None:
        """Note what is in the directory of masks beside the types' directories."""
        for entry in sorted_entries(parent, hidden=True):
            if not entry.is_dir() or entry.name.startswith("."):
                if is_image(entry) and entry.is_file() and not entry.name.startswith("."):
                    self._note_masks(category, parent, {entry}, set())
                else:
                    self._note_file(category.name, parent, entry)
            elif entry in known:
                continue
            elif leads_up(entry):
                self.unread.add_other(category.name, parent, [(entry, Kind.LINK)])
            else:
                masks = self._masks_of_type(category, entry)
                self._note_masks(category, entry, {mask for found in masks.values() for mask in found}, set())


def _holds_masks(directory: Path, types: Sequence[str]) -> bool:
    """Whether a directory holds images in a directory that is named after a type of defect."""
    homes = [directory / name for name in types if (directory / name).is_dir()]
    return any(kind is Kind.FILE and is_image(entry) for home in homes for entry, kind in entries_below(home))
