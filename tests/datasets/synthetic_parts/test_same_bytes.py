"""The dataset has the same bytes on every processor.

Records name a fingerprint of the files. If it depended on the processor, a record would be stale on another machine.
"""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datasets.synthetic import generate
from datasets.synthetic_parts.catalogue import LOOKS

ROOT = Path(__file__).parents[3]
PARTS = [path for path in sorted((ROOT / "datasets" / "synthetic_parts").glob("*.py")) if path.stem != "contact_sheet"]
FEW = {"train": 1, "good": 1, "per_defect": 1}

DIGESTS = {
    "capsule": "1757ef8a589996515cf7fe51114fba1c9bbea43de5ae3f063fc7edf31e433a8f",
    "circuit": "19d2c26aa9602f5601af83ad0e3643a4c9b910cef14434a3c7bad5811bac8148",
    "flange": "6322349cb8fa8c8486fb5faa109b1c08e2fabcce64bba14f6f1f5e9e1c7388b9",
    "linen": "3d7e452cc1ff8e2a80f0eea7c5fdcd4bc9bb7319443b6b28fab3bfe9f6919325",
    "oak": "0f0f301cdbb6d5168a9b8b3340a03dd3a848b739929976bcf1edf5540020f30a",
    "screw": "15f0bb48d03419c44a346d7a9c0402fde7ef1b2ed8fdc93109221728df287ab3",
    "twill": "54d772662b1644ee1bd3c322c32ef93052a0550284d28bfd7f6b674928d9a11a",
    "washer": "e71298334c155ca49762a840b8c146858f7107d94a210898dd012f5d40073213",
}
"""sha256 of the files of each category, two normal images and one with each defect, from the standard seed."""

EXACT = {
    "np": "abs arange array asarray ascontiguousarray bincount broadcast_to clip flatnonzero floor full full_like "
    "maximum meshgrid minimum ones ones_like pad rint sign sqrt stack where zeros zeros_like random "
    "bool_ float32 float64 floating int16 int32 int64 uint8 uint16",
    "ndimage": "binary_closing binary_fill_holes label",
    "math": "ceil floor pi sqrt",
    "draw": "ellipse rectangle text",
}
"""What the drawing may call. IEEE 754 defines each result to the last bit, or it is computed with whole numbers.

Not among them: ``np.sum`` and products of matrices, whose order of additions depends on the processor; functions such
as ``np.exp``; Pillow's ``resize``, ``polygon`` and ``line``, which compute in floating point in an order that a
compiler may change.
"""


def _digests(root: Path) -> dict[str, str]:
    digests = {}
    for category in LOOKS:
        digest = hashlib.sha256()
        for path in sorted((root / category).rglob("*.png")):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
        digests[category] = digest.hexdigest()
    return digests


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return _digests(generate(tmp_path_factory.mktemp("data") / "synthetic", **FEW))


def test_the_images_are_those_of_this_version(here: dict[str, str]) -> None:
    """If the drawing was changed on purpose: raise ``VERSION`` in ``datasets/synthetic.py`` and store these digests."""
    assert here == DIGESTS


def test_a_processor_without_vector_extensions_draws_the_same_bytes(here: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import sys, numpy; from pathlib import Path; from datasets.synthetic import generate; "
        "assert not numpy.show_config(mode='dicts')['SIMD Extensions'].get('found'); "
        f"generate(Path(sys.argv[1]), **{FEW})"
    )
    limits = {
        "NPY_DISABLE_CPU_FEATURES": " ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])),
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2,-AVX512F",  # the mathematical library
        "OPENBLAS_CORETYPE": "Prescott",
    }
    root = tmp_path / "synthetic"
    subprocess.run([sys.executable, "-c", code, str(root)], cwd=ROOT, env={**os.environ, **limits}, check=True)
    assert _digests(root) == here


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_the_drawing_calls_only_what_is_exactly_defined(path: Path) -> None:
    inexact = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in EXACT:
            if node.attr not in EXACT[node.value.id].split():
                inexact.append(f"{node.lineno}: {node.value.id}.{node.attr}")
        elif isinstance(node, ast.Attribute) and node.attr in (
            "resize",
            "polygon",
            "line",
            "chord",
            "dot",
            "std",
            "var",
        ):
            inexact.append(f"{node.lineno}: {node.attr}")
        elif isinstance(node, ast.Pow | ast.MatMult) or (isinstance(node, ast.Name) and node.id in ("pow", "sum")):
            inexact.append(type(node).__name__)
    assert inexact == []
