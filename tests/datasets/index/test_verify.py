import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from datasets.download.obtain import MANIFEST
from datasets.index.mvtec_layout import index_folder
from datasets.index.problems import Problem
from datasets.index.registry import find_dataset
from datasets.index.verify import count_problems, verify, verify_root
from tests.support.miniature import write_miniature_cifar10, write_miniature_folder, write_miniature_visa

FOLDER = find_dataset("folder")
MASK = "bolt/ground_truth/scratch/000_mask.png"


@pytest.fixture
def root(tmp_path):
    return write_miniature_folder(tmp_path / "own")


def found(root, info=FOLDER) -> dict[str, str]:
    problems = verify_root(root, info)
    assert len({problem.path for problem in problems}) == len(problems)
    return {problem.path: problem.what for problem in problems}


def save(root, path, pixels, **options):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(root / path, **options)


def test_a_sound_dataset_has_no_problem(root):
    assert verify_root(root, FOLDER) == []
    assert verify(index_folder(root, "own"), FOLDER) == []


@pytest.mark.parametrize("values", [1, 255, 7])
def test_masks_of_any_positive_value_are_sound(root, values):
    mask = np.zeros((64, 64))
    mask[3:9, 3:9] = values
    save(root, MASK, mask)
    assert found(root) == {}


def test_visa_is_sound_except_for_its_counts(tmp_path):
    problems = verify_root(write_miniature_visa(tmp_path), find_dataset("visa"))
    assert len(problems) == 12
    assert problems[0] == Problem(
        "candle",
        "6 training, 2 good and 2 anomalous test images; VisA has 900 training, 100 good and 100 anomalous "
        "test images.",
        "Unpack the dataset again, into an empty directory.",
    )


def test_damaged_images_are_all_found(root):
    (root / "bolt/train/good/000.png").write_bytes(b"")
    (root / "bolt/test/good/001.png").write_bytes(b"<html>")
    whole = (root / "cloth/test/stain/001.png").read_bytes()
    (root / "cloth/test/stain/001.png").write_bytes(whole[: len(whole) // 2])
    problems = found(root)
    assert sorted(problems) == [
        "bolt/test/good/001.png",
        "bolt/train/good/000.png",
        "cloth/test/stain/001.png",
    ]
    assert problems["bolt/train/good/000.png"].startswith("the file is empty (0 bytes)")
    assert problems["bolt/test/good/001.png"].startswith("not an image")


def test_a_damaged_mask(root):
    (root / MASK).write_bytes(b"")
    assert found(root)[MASK].startswith("the file is empty")


def test_an_inverted_mask_is_suspicious(root):
    inverted = 255 - np.asarray(Image.open(root / MASK))
    save(root, MASK, inverted)
    (problem,) = verify_root(root, FOLDER)
    assert (problem.path, problem.severity) == (MASK, "warning")
    assert "may be inverted" in problem.what


def test_an_empty_mask_of_a_defective_image(root):
    save(root, MASK, np.zeros((64, 64)))
    of_category, problem = verify_root(root, FOLDER)
    assert of_category.path == "bolt"
    assert "1 of 4 defective images have a black mask" in of_category.what
    assert (problem.path, problem.severity) == (MASK, "error")
    assert "is empty" in problem.what


@pytest.mark.parametrize(
    ("shape", "severity", "what"),
    [
        ((32, 32), "warning", "the mask is 32x32, but its image is 64x64."),
        ((32, 64), "error", "another aspect ratio"),
    ],
)
def test_a_mask_of_another_size(root, shape, severity, what):
    mask = np.zeros(shape)
    mask[:4] = 255
    save(root, MASK, mask)
    (problem,) = verify_root(root, FOLDER)
    assert (problem.path, problem.severity) == (MASK, severity)
    assert what in problem.what


def test_masks_of_one_image_that_differ_in_size(root):
    (root / MASK).unlink()
    for number, size in enumerate((64, 32)):
        save(root, f"bolt/ground_truth/scratch/000/{number}.png", np.eye(size) * 255)
    problems = found(root)
    assert problems["bolt/test/scratch/000.png"] == "its masks differ in size."


def test_a_lossy_mask_is_suspicious(root):
    mask = Image.open(root / MASK)
    (root / MASK).unlink()
    mask.save(root / "bolt/ground_truth/scratch/000_mask.jpg")
    assert "is a JPEG" in found(root)["bolt/ground_truth/scratch/000_mask.jpg"]


def test_masks_without_an_image(root):
    save(root, "bolt/ground_truth/scratch/009_mask.png", np.eye(64) * 255)
    save(root, "bolt/ground_truth/never_seen/000_mask.png", np.eye(64) * 255)
    save(root, "bolt/ground_truth/scratch/008/000.png", np.eye(64) * 255)
    problems = verify_root(root, FOLDER)
    assert [(problem.path, problem.severity) for problem in problems] == [
        ("bolt/ground_truth/never_seen/000_mask.png", "warning"),
        ("bolt/ground_truth/scratch/008/000.png", "warning"),
        ("bolt/ground_truth/scratch/009_mask.png", "warning"),
    ]
    assert {problem.what for problem in problems} == {"a mask without an image."}


def test_a_mask_of_a_normal_image_must_be_empty(root):
    save(root, "bolt/ground_truth/good/000_mask.png", np.zeros((64, 64)))
    assert found(root) == {}
    save(root, "bolt/ground_truth/good/001_mask.png", np.eye(64) * 255)
    problems = found(root)
    assert list(problems) == ["bolt/ground_truth/good/001_mask.png"]
    assert "marks a defect" in problems["bolt/ground_truth/good/001_mask.png"]


def test_missing_masks_are_reported_although_there_is_no_index(root):
    (root / MASK).unlink()
    (root / "cloth/test/good/001.png").write_bytes(b"")
    problems = found(root)
    assert sorted(problems) == ["bolt/test/scratch/000.png", "cloth/test/good/001.png"]
    assert f"{MASK} is missing" in problems["bolt/test/scratch/000.png"]


def test_a_directory_that_is_no_dataset_is_a_problem_not_an_exception(tmp_path):
    for root in (tmp_path, tmp_path / "gone"):
        for name in ("folder", "visa", "mvtec", "cifar10-01234"):
            (problem,) = verify_root(root, find_dataset(name))
            assert str(root) in problem.what


def test_a_split_list_with_swapped_masks_is_noticed(tmp_path):
    root = write_miniature_visa(tmp_path, objects=("candle",))
    file = root / "split_csv/1cls.csv"
    with file.open(newline="", encoding="utf-8") as text:
        rows = list(csv.reader(text))
    rows[-1][4], rows[-2][4] = rows[-2][4], rows[-1][4]
    with file.open("w", newline="", encoding="utf-8") as text:
        csv.writer(text).writerows(rows)
    problems = found(root, find_dataset("visa"))
    assert problems["candle/Data/Masks/Anomaly/000.png"] == (
        "is the mask of candle/Data/Images/Anomaly/001.JPG, but is not named like it."
    )
    assert "candle/Data/Masks/Anomaly/001.png" in problems


def test_an_unused_mask_of_visa_is_found(tmp_path):
    root = write_miniature_visa(tmp_path, objects=("candle",))
    save(root, "candle/Data/Masks/Anomaly/077.png", np.eye(64))
    assert found(root, find_dataset("visa"))["candle/Data/Masks/Anomaly/077.png"] == "a mask without an image."


def test_files_that_changed_since_the_download(root):
    (root / MANIFEST).write_text('{"files": {"bolt/train/good/000.png": 3, "gone.png": 5}}')
    problems = found(root)
    assert sorted(problems) == ["bolt/train/good/000.png", "gone.png"]
    assert "but 3 were unpacked" in problems["bolt/train/good/000.png"]


def test_counts_are_compared_category_by_category(tmp_path):
    root = write_miniature_folder(tmp_path, categories=("bottle", "cable", "bolt"))
    problems = count_problems(index_folder(root, "mvtec"), find_dataset("mvtec"))
    what = {problem.path: problem.what for problem in problems}
    assert len(problems) == 16
    assert "4 training, 2 good and 4 anomalous" in what["bottle"]
    assert "209 training, 20 good and 63 anomalous" in what["bottle"]
    assert what["zipper"] == "the category is missing."
    assert what["bolt"] == "is not a category of MVTec AD."


def test_cifar10_rows_are_checked(tmp_path):
    root = write_miniature_cifar10(tmp_path)
    assert list(found(root, find_dataset("cifar10-01234"))) == ["01234"]


def test_progress_is_reported_and_threads_change_nothing(root):
    (root / "bolt/test/good/001.png").write_bytes(b"")
    steps = []
    one = verify_root(root, FOLDER, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 20) for done in range(1, 21)]
    assert verify_root(root, FOLDER, threads=4) == one


def test_a_loop_of_symbolic_links_ends(root):
    (root / "bolt/ground_truth/loop").symlink_to(root / "bolt", target_is_directory=True)
    shutil.rmtree(root / "cloth")
    assert all(problem.severity == "warning" for problem in verify_root(root, FOLDER))
