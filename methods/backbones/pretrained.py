"""Asks whether timm's pretrained weights of a model can be had: from a cache of this machine, or from their server."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import requests
import timm
import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError

_FILES = ("model.safetensors", "pytorch_model.bin")
_SECONDS = 5.0


@lru_cache(maxsize=64)
def can_be_had(name: str) -> bool:
    """Whether the weights are in a cache, or their server answers within five seconds.

    The answer is kept, so that one process plans all runs alike. A model without published weights counts as one that
    has some: building it says what is wrong.

    Args:
        name: timm name, with a tag if it is to be another than timm's default.
    """
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if config is None:
        return True
    if config.hf_hub_id:
        if any(isinstance(try_to_load_from_cache(config.hf_hub_id, file), str) for file in _FILES):
            return True
        return _hub_has(config.hf_hub_id)
    if not isinstance(config.url, str) or not config.url:
        return True
    return (Path(torch.hub.get_dir()) / "checkpoints" / Path(config.url).name).is_file() or _answers(config.url)


def _hub_has(repository: str) -> bool:
    for file in _FILES:
        try:
            get_hf_file_metadata(hf_hub_url(repository, file), timeout=_SECONDS)
        except EntryNotFoundError:
            continue  # the weights are in the other file
        except Exception:  # every version of the hub's client has its own error types
            return False
        return True
    return False


def _answers(url: str) -> bool:
    try:
        return requests.head(url, timeout=_SECONDS, allow_redirects=True).ok
    except requests.RequestException:
        return False
