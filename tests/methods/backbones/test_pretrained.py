"""Whether pretrained weights can be had: a cache, a server that answers, a server that does not."""

from __future__ import annotations

import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import timm
import torch
from huggingface_hub import try_to_load_from_cache

from methods.backbones import pretrained
from methods.backbones.pretrained import can_be_had


class _Server(BaseHTTPRequestHandler):
    """Has one file, under the names that the test gives; every other answer is 404."""

    has: tuple[str, ...] = ()

    def do_HEAD(self) -> None:
        found = any(self.path.endswith(name) for name in self.has)
        self.send_response(200 if found else 404)
        if found:
            self.send_header("ETag", '"1"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", "1")
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def server(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{running.server_port}"
        monkeypatch.setattr(pretrained, "hf_hub_url", lambda repository, file: f"{address}/{repository}/{file}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        yield address
        running.shutdown()


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    can_be_had.cache_clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    yield
    can_be_had.cache_clear()


@pytest.mark.parametrize(
    ("has", "had"), [(("model.safetensors",), True), (("pytorch_model.bin",), True), (("README.md",), False)]
)
def test_the_hub_is_asked_for_either_file(server, monkeypatch, has, had):
    monkeypatch.setattr(_Server, "has", has)
    assert can_be_had("resnet18.tv_in1k") is had


def test_without_a_server_there_are_none(monkeypatch):
    monkeypatch.setattr(pretrained, "hf_hub_url", lambda *_: "http://127.0.0.1:9/none")
    assert not can_be_had("resnet18.tv_in1k")


def test_a_cached_file_needs_no_server(monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained, "hf_hub_url", lambda *_: "http://127.0.0.1:9/none")
    home = tmp_path / "hub" / "models--timm--resnet18.tv_in1k"
    snapshot = home / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"1")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0" * 40)
    look = partial(try_to_load_from_cache, cache_dir=tmp_path / "hub")
    monkeypatch.setattr(pretrained, "try_to_load_from_cache", look)
    assert can_be_had("resnet18.tv_in1k")
    assert not can_be_had("resnet34.a1_in1k")


def test_weights_outside_the_hub_are_asked_for_by_their_address(server, monkeypatch, tmp_path):
    config = SimpleNamespace(hf_hub_id=None, url=f"{server}/weights/net-1.pth")
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda *_, **__: config)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert not can_be_had("net")
    can_be_had.cache_clear()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "net-1.pth").write_bytes(b"1")
    assert can_be_had("net")
    (tmp_path / "checkpoints" / "net-1.pth").unlink()
    can_be_had.cache_clear()
    monkeypatch.setattr(_Server, "has", ("net-1.pth",))
    assert can_be_had("net")


def test_a_model_that_has_no_published_weights_is_left_to_timms_own_message():
    assert can_be_had("no_such_model")
