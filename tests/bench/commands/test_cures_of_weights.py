"""The cures of weights that can't be fetched are tried against a server on this machine that stands in for timm's."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import timm
import torch
from safetensors.torch import load, save

from methods.backbones.backbone import load_backbone, make_backbone
from methods.backbones.choice import BackboneChoice
from methods.backbones.pretrained import can_be_had
from methods.errors import BackboneError
from results.records.record import RunRecord
from results.records.store import Store
from tests.support.command_line import arguments, invoke

REPOSITORY = "timm/resnet18.tv_in1k"
"""Where timm has the weights of PaDiM's backbone."""


@pytest.fixture(scope="module")
def weights() -> bytes:
    """A file of weights of a ResNet-18 that no seed of this project gives."""
    torch.manual_seed(4711)
    return save(timm.create_model("resnet18", pretrained=False).state_dict())


@pytest.fixture
def network(monkeypatch, tmp_path, weights) -> Callable[[bool], None]:
    """Switches the network on or off, as another process finds it: what this one knows of weights is forgotten."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET(body=False)

        def do_GET(self, *, body: bool = True) -> None:
            found = self.path == f"/{REPOSITORY}/resolve/main/model.safetensors"
            self.send_response(200 if found else 404)
            if found:
                self.send_header("ETag", f'"{hashlib.sha256(weights).hexdigest()}"')
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("Content-Length", str(len(weights)))
            else:
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
            self.end_headers()
            if found and body:
                self.wfile.write(weights)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    def forget() -> None:
        can_be_had.cache_clear()
        load_backbone.cache_clear()

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)

        def switch(on: bool) -> None:
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", not on)  # it would try for a minute
            forget()

        switch(False)
        yield switch
        server.shutdown()
    forget()


def has_the_weights(choice: BackboneChoice, weights: bytes) -> bool:
    served, built = load(weights), make_backbone(choice).model.state_dict()
    return len(built) > 50 and all(torch.equal(served[name], tensor) for name, tensor in built.items())


@pytest.mark.parametrize("cure", ["With network access, timm downloads them once.", "WEIGHTS_DIR=<directory>"])
def test_pretrained_weights_are_downloaded_once_or_put_into_a_directory(network, tmp_path, weights, cure):
    choice = BackboneChoice("resnet18", "pretrained")
    with pytest.raises(BackboneError, match="can't be fetched") as caught:
        make_backbone(choice)
    assert cure in str(caught.value)
    if "WEIGHTS_DIR" in cure:
        name = re.search(r"put (\S+) \(timm's key names\) into a directory", str(caught.value))[1]
        (tmp_path / name).write_bytes(weights)
        choice = BackboneChoice("resnet18", "file", str(tmp_path))
    else:
        network(True)
    assert has_the_weights(choice, weights)
    network(False)
    assert has_the_weights(choice, weights), "what was downloaded once is used without network"


@pytest.fixture
def run_presets_own(folder, tmp_path) -> Callable[..., tuple[str, RunRecord]]:
    """Runs PaDiM with no choice of backbone and weights; returns what is printed, and the record."""

    def run(store: str, *more: str) -> tuple[str, RunRecord]:
        words = arguments(folder, tmp_path / "cache", tmp_path / store, "--settings", "unified")
        for option in ("--weights", "--backbone"):
            del words[words.index(option) : words.index(option) + 2]
        words[words.index("--preset") + 1] = "paper"  # the backbone of quick presets is installed
        result = invoke(*words, *more)
        assert result.exit_code == 0, result.output
        (record,) = Store(tmp_path / store).records()
        return " ".join(result.output.split()), record

    return run


def test_the_presets_own_weights_are_used_with_network_access_or_a_directory(
    network, run_presets_own, tmp_path, weights
):
    sentence = "With network access, or with WEIGHTS_DIR=, the presets' own are used."
    output, record = run_presets_own("before")
    assert sentence in output
    own = re.search(r"The pretrained weights of (\S+) can't be fetched", output)[1]
    assert record.backbone.name != own
    directory = tmp_path / "weights"
    directory.mkdir()
    (directory / f"{own}.safetensors").write_bytes(weights)
    for kind, more in (("file", ("--weights-dir", str(directory))), ("pretrained", ())):
        network(kind == "pretrained")
        output, record = run_presets_own(kind, *more)
        assert sentence not in output
        assert (record.backbone.name, record.backbone.weights) == (own, kind)
        choice = BackboneChoice(own, kind, str(directory) if more else "")
        assert record.backbone.sha256 == make_backbone(choice).sha256
        assert has_the_weights(choice, weights)
