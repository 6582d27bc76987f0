import pytest

from datasets.errors import DatasetError, UnknownNameError
from datasets.index.open_dataset import open_dataset
from datasets.index.problems import IndexingError
from datasets.mvtec import COUNTS
from tests.support.miniature import write_miniature_cifar10, write_miniature_folder, write_miniature_visa


def test_a_dataset_is_opened_from_its_directory_in_data_dir(tmp_path):
    write_miniature_visa(tmp_path / "visa", objects=("candle",))
    index = open_dataset("visa", tmp_path, check_counts=False)
    assert index.root == tmp_path / "visa"
    assert index.categories == ("candle",)


def test_a_dataset_is_opened_from_a_given_root(tmp_path):
    root = write_miniature_folder(tmp_path / "elsewhere")
    assert open_dataset("folder", tmp_path / "data", root=root).root == root


def test_the_four_tasks_of_cifar10_share_a_directory(tmp_path):
    write_miniature_cifar10(tmp_path / "cifar10")
    roots = {open_dataset(f"cifar10-{task}", tmp_path, check_counts=False).root for task in ("01234", "13579")}
    assert len(roots) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mvtec", r"MVTec AD: .*mvtec is missing\. .*mvtec\.com"),
        ("visa", r"VisA: .*visa is missing\. .*split_csv/1cls\.csv"),
        ("cifar10-56789", r"CIFAR-10 .*: .*cifar10 is missing\. .*cifar-10-batches-py"),
        ("folder", r"Own images: .*folder is missing\. .*ROOT="),
    ],
)
def test_missing_data_is_explained(tmp_path, name, expected):
    with pytest.raises(DatasetError, match=expected):
        open_dataset(name, tmp_path)


def test_a_file_is_not_a_dataset(tmp_path):
    (tmp_path / "visa").write_text("x")
    with pytest.raises(DatasetError, match="visa is not a directory"):
        open_dataset("visa", tmp_path)


def test_a_wrong_name_gets_the_most_similar_one(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean visa"):
        open_dataset("vsia", tmp_path)


def test_categories_are_selected(tmp_path):
    root = write_miniature_folder(tmp_path, categories=("a", "b", "c"))
    assert open_dataset("folder", tmp_path, root, categories=["c", "a"]).categories == ("a", "c")
    with pytest.raises(UnknownNameError, match=r"Unknown category of folder 'bb'\. Did you mean b"):
        open_dataset("folder", tmp_path, root, categories=["bb"])


def test_an_incomplete_dataset_is_an_error_unless_the_check_is_off(tmp_path):
    write_miniature_folder(tmp_path / "mvtec", categories=("bottle", "cable"))
    with pytest.raises(IndexingError, match="switch the check of counts off") as caught:
        open_dataset("mvtec", tmp_path)
    assert len(caught.value.problems) == 15
    assert len(open_dataset("mvtec", tmp_path, check_counts=False).samples) == 20


def test_of_a_selection_only_the_selected_categories_are_checked(tmp_path, monkeypatch):
    write_miniature_folder(tmp_path / "mvtec", categories=("bottle", "cable"))
    monkeypatch.setitem(COUNTS, "bottle", (4, 2, 4))
    assert open_dataset("mvtec", tmp_path, categories=["bottle"]).categories == ("bottle",)
    with pytest.raises(IndexingError) as caught:
        open_dataset("mvtec", tmp_path, categories=["bottle", "cable"])
    assert [problem.path for problem in caught.value.problems] == ["cable"]
