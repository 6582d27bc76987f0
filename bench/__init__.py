"""Decides what to run, runs it, measures it. Start with ``python -m bench --help``."""

import importlib

_datasets = importlib.import_module("datasets")
if not getattr(_datasets, "UNIBOARD", False):
    raise ImportError(
        f"The package 'datasets' that Python found ({getattr(_datasets, '__file__', None)}) is not UniBoard's; "
        "Hugging Face publishes another package of that name. Run `python -m bench ...` in UniBoard's root directory, "
        "in the environment that `make setup` creates, so that the root comes first on the path."
    )
