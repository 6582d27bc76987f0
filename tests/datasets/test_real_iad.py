import json

import pytest

from datasets.errors import DatasetError
from datasets.index.open_dataset import open_dataset
from datasets.index.problems import IndexingError
from datasets.index.registry import find_dataset
from datasets.index.verify import count_problems
from datasets.real_iad import TOTALS, build_real_iad
from tests.support.miniature_layouts import write_miniature_real_iad


@pytest.fixture
def root(tmp_path):
    return write_miniature_real_iad(tmp_path / "set")


def list_of(root, name="mint"):
    return root / "realiad_jsons/realiad_jsons" / f"{name}.json"


def rewrite(root, edit, name="mint"):
    content = json.loads(list_of(root, name).read_text())
    list_of(root, name).write_text(json.dumps(edit(content)))


def test_the_split_is_that_of_the_lists_and_every_view_is_an_image(root):
    index = build_real_iad(root)
    assert index.root == root / "realiad_256"
    assert index.categories == ("mint", "usb")
    assert len(index.split("train", "mint")) == 6
    defective = [s for s in index.split("test", "mint") if s.is_anomalous]
    assert (defective[0].path, defective[0].defect, defective[0].masks) == (
        "mint/NG/HS/S0000/mint_0000_NG_HS_C1.jpg",
        "HS",
        ("mint/NG/HS/S0000/mint_0000_NG_HS_C1.png",),
    )


def test_the_totals_are_those_of_all_images(root):
    assert sum(TOTALS) == 151_050
    (problem,) = count_problems(build_real_iad(root), find_dataset("real_iad"))
    assert "12 training and 12 test images; Real-IAD has 36465 and 114585" in str(problem)
    with pytest.raises(IndexingError, match="select complete categories"):
        open_dataset("real_iad", root, root)
    assert open_dataset("real_iad", root, root, categories=["usb"]).categories == ("usb",)


def test_a_part_of_the_objects_can_be_used(root):
    for file in sorted((root / "realiad_256/usb").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    (root / "realiad_256/usb").rmdir()
    assert build_real_iad(root).categories == ("mint",)


def test_two_resolutions_are_not_mixed_up(root):
    write_miniature_real_iad(root, resolution="1024")
    with pytest.raises(DatasetError, match=r"holds realiad_256 and realiad_1024.*ROOT=.*realiad_1024"):
        build_real_iad(root)
    assert build_real_iad(root / "realiad_256").samples == build_real_iad(root / "realiad_1024").samples


def test_lists_that_were_unpacked_one_directory_higher_are_found(root):
    lists = root / "realiad_jsons" / "realiad_jsons"
    for file in lists.iterdir():
        file.rename(root / "realiad_jsons" / file.name)
    lists.rmdir()
    assert build_real_iad(root).categories == ("mint", "usb")


def test_without_a_prefix_the_object_is_its_directory(root):
    expected = build_real_iad(root).samples
    rewrite(root, lambda content: content | {"meta": None})
    assert build_real_iad(root).samples == expected


def test_every_missing_file_is_named_at_once(root):
    (root / "realiad_256/mint/NG/HS/S0000/mint_0000_NG_HS_C1.png").unlink()
    (root / "realiad_256/usb/OK/S0001/usb_0001_OK_C2.jpg").unlink()
    with pytest.raises(IndexingError, match=r"Unpack usb\.zip again") as caught:
        build_real_iad(root)
    assert [problem.path for problem in caught.value.problems] == [
        "mint/NG/HS/S0000/mint_0000_NG_HS_C1.png",
        "usb/OK/S0001/usb_0001_OK_C2.jpg",
    ]
    assert caught.value.partial is not None


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda row: row | {"anomaly_class": "HS"}, "contaminated list"),
        (lambda row: row | {"image_path": "../elsewhere.jpg"}, "leads out of the dataset"),
        (lambda row: row | {"image_path": "/etc/elsewhere.jpg"}, "leads out of the dataset"),
        (lambda row: row | {"mask_path": "..\\x.png"}, "leads out of the dataset"),
        (lambda row: row | {"mask_path": 3}, "mask_path is not a path"),
        (lambda row: row | {"image_path": ""}, "image_path or anomaly_class is blank"),
        (lambda row: "row", "is not an entry of an image"),
        (lambda row: row | {"image_path": "OK/S0000/mint_0000_OK_C2.jpg"}, "is listed twice"),
    ],
)
def test_a_wrong_entry_is_named_with_its_number(root, edit, message):
    rewrite(root, lambda content: content | {"train": [edit(content["train"][0]), *content["train"][1:]]})
    with pytest.raises(IndexingError, match=rf"mint\.json:train\[[01]\]: .*{message}"):
        build_real_iad(root)


def test_a_defective_image_without_a_mask_is_an_error(root):
    rewrite(root, lambda content: content | {"test": [row | {"mask_path": None} for row in content["test"]]})
    with pytest.raises(IndexingError, match=r"defective, but mint\.json names no mask"):
        build_real_iad(root)


def test_a_prefix_that_leads_out_is_not_followed(root):
    rewrite(root, lambda content: content | {"meta": {"prefix": "../../"}})
    assert build_real_iad(root).categories == ("mint", "usb")


@pytest.mark.parametrize("content", ["", "[]", '{"train": []}', '{"train": {}, "test": []}', "\udcff"])
def test_a_damaged_list_is_named(root, content):
    list_of(root).write_text(content, errors="surrogateescape")
    with pytest.raises(DatasetError, match=r"mint\.json: .*Restore it from realiad_jsons\.zip"):
        build_real_iad(root)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DatasetError, match="none of realiad_256"):
        build_real_iad(tmp_path)
    (tmp_path / "realiad_256").mkdir()
    with pytest.raises(DatasetError, match=r"no list <object>\.json"):
        build_real_iad(tmp_path)
    (tmp_path / "realiad_jsons").mkdir()
    (tmp_path / "realiad_jsons/mint.json").write_text('{"train": [], "test": []}')
    with pytest.raises(DatasetError, match="holds the images of no object"):
        build_real_iad(tmp_path)
