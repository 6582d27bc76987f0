import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from datasets.errors import DatasetError
from datasets.index.problems import IndexingError
from datasets.index.registry import find_dataset
from datasets.samples.images import load_mask
from datasets.visa import COUNTS, build_visa
from tests.support.miniature import VISA_OBJECTS, write_miniature_visa


def convert(native, converted):
    """Convert the native layout (one-class split) as the authors' script does."""
    with (native / "split_csv/1cls.csv").open(newline="", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            kind = "good" if row["label"] == "normal" else "bad"
            target = converted / row["object"] / row["split"] / kind
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(native / row["image"], target)
            if row["mask"]:
                truth = converted / row["object"] / "ground_truth" / kind
                truth.mkdir(parents=True, exist_ok=True)
                mask = np.asarray(Image.open(native / row["mask"]))
                Image.fromarray((mask > 0).astype(np.uint8) * 255).save(truth / row["mask"].rpartition("/")[2])
    return converted


def rewrite(root, edit):
    """Change the rows of the split file."""
    file = root / "split_csv/1cls.csv"
    with file.open(newline="", encoding="utf-8") as text:
        rows = edit(list(csv.DictReader(text)))
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, fieldnames=("object", "split", "label", "image", "mask"))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def root(tmp_path):
    return write_miniature_visa(tmp_path / "visa", objects=("candle", "pcb1"))


def test_the_native_layout_with_all_objects(tmp_path):
    index = build_visa(write_miniature_visa(tmp_path, train=1, good=1, anomalous=1))
    assert index.categories == tuple(sorted(VISA_OBJECTS)) == tuple(COUNTS)
    assert index.name == "visa"
    assert index.has_masks
    assert index.settings == ("unified", "separate")


def test_the_split_is_that_of_the_list(root):
    index = build_visa(root)
    assert [s.path for s in index.split("train", "candle")] == [
        f"candle/Data/Images/Normal/{number:04d}.JPG" for number in range(6)
    ]
    assert [(s.path, s.defect, s.masks) for s in index.split("test", "candle")] == [
        ("candle/Data/Images/Anomaly/000.JPG", "bad", ("candle/Data/Masks/Anomaly/000.png",)),
        ("candle/Data/Images/Anomaly/001.JPG", "bad", ("candle/Data/Masks/Anomaly/001.png",)),
        ("candle/Data/Images/Normal/0006.JPG", "good", ()),
        ("candle/Data/Images/Normal/0007.JPG", "good", ()),
    ]


def test_masks_numbered_1_to_n_are_binarised(root):
    sample = build_visa(root).split("test", "candle")[1]
    stored = np.asarray(Image.open(root / sample.masks[0]))
    assert set(np.unique(stored)) == {0, 1, 2}
    assert np.array_equal(load_mask(root, sample), stored != 0)


def test_both_layouts_hold_the_same(root, tmp_path):
    native, converted = build_visa(root), build_visa(convert(root, tmp_path / "visa_pytorch"))

    def content(index):
        return [
            (s.category, s.split, s.path.rpartition("/")[2], s.defect, load_mask(index.root, s).tobytes())
            for s in index.samples
        ]

    assert sorted(content(native)) == sorted(content(converted))
    assert "/test/bad/" in converted.samples[0].path


def test_the_converted_layout_one_directory_below(root, tmp_path):
    convert(root, tmp_path / "visa_pytorch" / "1cls")
    assert build_visa(tmp_path / "visa_pytorch").root == tmp_path / "visa_pytorch" / "1cls"


def test_the_native_layout_one_directory_below(root):
    assert build_visa(root.parent).root == root


def test_a_list_with_a_byte_order_mark_is_read(root):
    file = root / "split_csv/1cls.csv"
    file.write_text("\ufeff" + file.read_text(encoding="utf-8"), encoding="utf-8")
    assert len(build_visa(root).samples) == 20


def test_the_order_of_the_list_does_not_matter(root):
    expected = build_visa(root)
    rewrite(root, lambda rows: rows[::-1])
    assert build_visa(root).samples == expected.samples


def test_every_missing_file_is_named_at_once(root):
    (root / "candle/Data/Masks/Anomaly/001.png").unlink()
    (root / "pcb1/Data/Images/Normal/0003.JPG").unlink()
    with pytest.raises(IndexingError) as caught:
        build_visa(root)
    assert [problem.path for problem in caught.value.problems] == [
        "candle/Data/Masks/Anomaly/001.png",
        "pcb1/Data/Images/Normal/0003.JPG",
    ]
    assert "split_csv/1cls.csv:" in str(caught.value)
    assert caught.value.partial is not None


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda row: row | {"split": "val"}, "the split is 'val'"),
        (lambda row: row | {"label": "odd"}, "the label is 'odd'"),
        (lambda row: row | {"label": "anomaly"}, "an anomalous image in the training split"),
        (lambda row: row | {"object": ""}, "object or image is blank"),
        (lambda row: row | {"image": "../elsewhere.JPG"}, "leads out of visa"),
        (lambda row: row | {"image": "/etc/elsewhere.JPG"}, "leads out of visa"),
        (lambda row: row | {"image": "candle/Data/Images/Normal/0001.JPG"}, "is listed twice"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(root, edit, message):
    rewrite(root, lambda rows: [edit(rows[0]), *rows[1:]])
    with pytest.raises(DatasetError, match=rf"split_csv/1cls\.csv:\d+: .*{message}"):
        build_visa(root)


def test_a_defective_image_without_a_mask_in_the_list_is_an_error(root):
    rewrite(root, lambda rows: [row | {"mask": ""} for row in rows])
    with pytest.raises(IndexingError, match="names no mask") as caught:
        build_visa(root)
    assert len(caught.value.problems) == 4


def test_a_list_without_a_column_is_an_error(root):
    (root / "split_csv/1cls.csv").write_text("object,split,label,image\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"1cls\.csv: the column mask is missing"):
        build_visa(root)


def test_an_empty_list_is_an_error(root):
    rewrite(root, lambda rows: [])
    with pytest.raises(DatasetError, match="lists no image"):
        build_visa(root)


def test_neither_layout(tmp_path):
    (tmp_path / "candle").mkdir()
    with pytest.raises(DatasetError, match=r"neither split_csv/1cls\.csv nor <object>/train/good"):
        build_visa(tmp_path)


def test_counts_are_the_published_ones():
    info = find_dataset("visa")
    assert [sum(column) for column in zip(*info.counts.values(), strict=True)] == [8659, 962, 1200]
    assert len(info.counts) == 12
    assert info.licence == "CC BY 4.0"
