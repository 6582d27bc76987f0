"""Trainings that are killed and resumed."""

from __future__ import annotations

import pytest
import torch

from methods.detector import FitContext
from methods.training.loop import Training, train_network
from methods.uniad.detector import UniAD
from tests.support.features import FakeImages, structured
from tests.support.trainings import CONFIG, CPU, LAYOUT, Watcher, equal, train


class KilledError(Exception):
    pass


def test_a_training_killed_and_resumed_ends_at_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("methods.training.loop._CHECKPOINT_SECONDS", 0.0)
    whole, expected = train(FitContext(0, CPU))

    def die(done: int, total: int, what: str) -> None:
        if done == 8:
            raise KilledError

    checkpoint = tmp_path / "state.pt"
    with pytest.raises(KilledError):
        train(FitContext(0, CPU, progress=die, checkpoint=checkpoint))
    assert checkpoint.exists()
    steps: list[int] = []
    resumed, report = train(
        FitContext(0, CPU, progress=lambda done, total, what: steps.append(done), checkpoint=checkpoint)
    )
    assert steps == [8, 9, 10, 11, 12], "seven steps were kept"
    assert equal(whole, resumed)
    assert report.loss_curve == expected.loss_curve
    assert report.presentations_per_image == expected.presentations_per_image
    assert not checkpoint.exists()


@pytest.mark.parametrize("content", [b"", b"PK torn", None])
def test_a_checkpoint_that_is_torn_or_holds_code_is_dropped_and_never_executed(tmp_path, content):
    checkpoint = tmp_path / "state.pt"

    class Malicious:
        def __reduce__(self):
            return (exec, ("raise SystemExit('executed')",))

    if content is None:
        torch.save({"step": Malicious()}, checkpoint)
    else:
        checkpoint.write_bytes(content)
    whole, _ = train(FitContext(0, CPU))
    again, _ = train(FitContext(0, CPU, checkpoint=checkpoint))
    assert equal(whole, again)
    assert not checkpoint.exists()


def test_observations_survive_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setattr("methods.training.loop._CHECKPOINT_SECONDS", 0.0)
    _, whole = train(FitContext(0, CPU, observer=Watcher()))

    def die(done: int, total: int, what: str) -> None:
        if done == 7:
            raise KilledError

    checkpoint = tmp_path / "state.pt"
    with pytest.raises(KilledError):
        train(FitContext(0, CPU, progress=die, checkpoint=checkpoint, observer=Watcher()))
    _, resumed = train(FitContext(0, CPU, checkpoint=checkpoint, observer=Watcher()))
    assert resumed.observations == whole.observations


class TwoStages(UniAD):
    """Trains its network twice, the second time with another learning rate for the queries."""

    def fit(self, train, context):
        def losses_of(batch):
            (features,) = batch.features
            yield (self.network(features) - features).square().mean()

        training = Training.of(self.config)
        first = train_network(self, self.network, losses_of, train, context, training, self.dropout, stage="first")
        slow = [p for name, p in self.network.named_parameters() if "learned_embed" in name]
        ids = {id(p) for p in slow}
        fast = [p for p in self.network.parameters() if id(p) not in ids]
        groups = [{"params": fast}, {"params": slow, "lr": 0.0, "weight_decay": 0.0}]
        self.queries = [p.detach().clone() for p in slow]
        self.slow = slow
        return train_network(
            self, self.network, losses_of, train, context, training, self.dropout, groups=groups, stage="second"
        ).after(first)


def two_stages(context: FitContext):
    torch.manual_seed(7)
    detector = TwoStages(CONFIG, LAYOUT)
    return detector, detector.fit(FakeImages(*structured(LAYOUT, 12, 0, concatenated=True)), context)


def test_a_fit_in_two_stages_resumes_where_it_was_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("methods.training.loop._CHECKPOINT_SECONDS", 0.0)
    whole, expected = two_stages(FitContext(0, CPU))
    assert expected.steps == 24
    assert expected.presentations_per_image == 8.0
    assert whole.slow
    assert all(torch.equal(a, b) for a, b in zip(whole.queries, whole.slow, strict=True)), "their own rate is 0"
    calls = 0

    def die(done: int, total: int, what: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 17:
            raise KilledError

    checkpoint = tmp_path / "state.pt"
    with pytest.raises(KilledError):
        two_stages(FitContext(0, CPU, progress=die, checkpoint=checkpoint))
    done: list[int] = []
    resumed, _ = two_stages(FitContext(0, CPU, progress=lambda d, t, w: done.append(d), checkpoint=checkpoint))
    assert done[0] == 5, "the first stage was not repeated, four steps of the second were kept"
    assert equal(whole, resumed)
