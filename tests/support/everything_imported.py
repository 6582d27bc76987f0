"""Importing this module imports everything that a benchmark imports later on, so that forked processes need not.

In a process without it, the modules of the page, of scipy and of Pillow's formats take about two and a half seconds.
"""

from __future__ import annotations

import scipy.stats
from PIL import Image

import bench.benchmark
import bench.commands.app
import bench.execution.runner
import bench.plan.plan
import reports.build
from datasets.index.registry import known_datasets
from methods.registry import known_detectors

__all__ = ["bench", "reports", "scipy"]

known_datasets()
known_detectors()
Image.init()
