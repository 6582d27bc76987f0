"""Records, their store, exact metrics, tables and statistics. This package never imports torch.

``results.load()`` gives all records as one tidy frame, one row per run x category x metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def load(roots: Sequence[Path | str] | None = None) -> pd.DataFrame:
    """All records as one tidy frame; see ``results.tables.tidy.load``."""
    from results.tables.tidy import load as load_tidy  # pandas is slow to import, and most of this package is fast

    return load_tidy(roots)
