"""The training loop."""

from __future__ import annotations

import pytest
import torch

from methods.checkpoints.state_file import read_state, save_state
from methods.detector import FitContext
from methods.training import loop as training
from methods.training.loop import Training, train_network
from methods.training.on_device import ResidentSet, on_device
from methods.training.schedule import learning_rate
from methods.uniad.detector import UniAD
from tests.support.features import FakeImages, structured
from tests.support.trainings import CONFIG, CPU, LAYOUT, equal, train


def test_the_report_counts_steps_and_presentations():
    _, report = train(FitContext(0, CPU))
    assert report.steps == 12
    assert [step for step, _ in report.loss_curve] == list(range(1, 13))
    # 12 images in batches of 5, 5, 2: twelve steps are four passes.
    assert report.presentations_per_image == 4.0
    _, by_epochs = train(FitContext(0, CPU), steps=0, epochs=3)
    assert by_epochs.steps == 9
    assert by_epochs.presentations_per_image == 3.0


def test_the_loss_falls():
    _, report = train(FitContext(0, CPU), steps=60)
    losses = [loss for _, loss in report.loss_curve]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


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
    anew, _ = train(FitContext(0, CPU, checkpoint=checkpoint))
    assert equal(whole, anew)
    assert not checkpoint.exists()


class Watcher:
    """An observer that does everything that could disturb a training."""

    def due(self, step: int, total: int, per_epoch: int) -> bool:
        return step % 2 == 0 or step == total

    def __call__(self, step: int, detector: UniAD) -> dict[str, object]:
        torch.rand(3)
        batch = FakeImages(*structured(LAYOUT, 2, 5, concatenated=True)).batch([0, 1])
        score = float(detector.predict(batch).image_scores.sum())
        detector.dropout.keep(torch.Size([10]), 0.5)
        detector.network.eval()
        return {"step": step, "score": score}


def test_an_observer_leaves_no_trace():
    plain, _ = train(FitContext(0, CPU))
    watched, report = train(FitContext(0, CPU, observer=Watcher()))
    assert [noted["step"] for noted in report.observations] == [2, 4, 6, 8, 10, 12]
    assert equal(plain, watched)


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


def test_losses_read_late_as_from_a_gpu_are_the_same(monkeypatch):
    prompt, expected = train(FitContext(0, CPU, observer=Watcher()))
    monkeypatch.setitem(training._READING, "cpu", 5)
    late, report = train(FitContext(0, CPU, observer=Watcher()))
    assert report.loss_curve == expected.loss_curve
    assert equal(prompt, late)


def test_a_training_set_in_device_memory_gives_the_same_batches():
    taps = structured(LAYOUT, 12, 0, concatenated=True)
    names = tuple(f"c{i % 3}" for i in range(12))
    plain, resident = FakeImages(*taps, categories=names), ResidentSet(FakeImages(*taps, categories=names), CPU)
    assert len(resident) == 12
    for rows in ([3, 0, 11], [5]):
        ours, theirs = resident.batch(rows), plain.batch(rows)
        assert ours.categories == theirs.categories
        assert torch.equal(ours.features[0], theirs.features[0])


def test_only_a_small_training_set_is_kept_in_memory_and_training_is_the_same(monkeypatch):
    few = FakeImages(*structured(LAYOUT, 12, 0, concatenated=True))
    assert isinstance(on_device(few, CPU), ResidentSet)
    kept, expected = train(FitContext(0, CPU))
    monkeypatch.setattr("methods.training.on_device._SMALL", 12 * 4 * few.batch([0]).features[0].numel() - 1)
    assert on_device(few, CPU) is few
    read, report = train(FitContext(0, CPU))
    assert report.loss_curve == expected.loss_curve
    assert equal(kept, read)


def test_bfloat16_trains_to_nearly_the_same_loss():
    _, exact = train(FitContext(0, CPU), steps=40)
    _, narrow = train(FitContext(0, CPU), steps=40, precision="bfloat16")
    assert narrow.loss_curve != exact.loss_curve
    assert narrow.loss_curve[-1][1] == pytest.approx(exact.loss_curve[-1][1], rel=0.05)


def test_states_are_safetensors(tmp_path):
    detector, _ = train(FitContext(0, CPU))
    save_state(detector.state(), tmp_path / "deep" / "state.safetensors")
    read = read_state(tmp_path / "deep" / "state.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in detector.state().items())


def test_step_schedule_drops_tenfold_at_its_place():
    rates = [learning_rate("step", step, 1000, 1e-4) for step in range(1000)]
    assert rates[:800] == [1e-4] * 800
    assert rates[800:] == [pytest.approx(1e-5)] * 200


def test_one_cycle_equals_torchs():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-3, total_steps=300)
    for step in range(300):
        expected = optimiser.param_groups[0]["lr"]
        assert learning_rate("one_cycle", step, 300, 1e-3) == pytest.approx(expected, rel=0.02, abs=1e-8)
        optimiser.step()
        if step < 299:
            scheduler.step()


def test_two_steps_cosine_and_exponential_schedules():
    rates = [learning_rate("two_steps", step, 100, 1.0) for step in (0, 79, 80, 89, 90, 99)]
    assert rates == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04])
    tenfold = [learning_rate("two_tenfold_steps", step, 700, 1.0) for step in (399, 400, 599, 600)]
    assert tenfold == pytest.approx([1, 0.1, 0.1, 0.01])
    assert [learning_rate("cosine", step, 100, 2.0) for step in (0, 50)] == pytest.approx([2.0, 1.0])
    assert learning_rate("cosine", 99, 100, 2.0) < 1e-3
    # FCDD: after 20 of 200 epochs the rate was multiplied 20 times.
    assert learning_rate("exponential", 20, 200, 1.0) == pytest.approx(0.985**20)


class TwoStages(UniAD):
    """Trains its network twice, the second time with a rate of its own for the queries."""

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


def test_a_fit_in_two_stages_goes_on_from_where_it_was_killed(tmp_path, monkeypatch):
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


def test_momentum_and_decay_are_those_of_the_named_optimiser():
    parameter = torch.nn.Parameter(torch.ones(2))
    training = Training(1, 0, 1, 0.1, weight_decay=0.5, optimiser="sgd", momentum=0.9, nesterov=True)
    optimiser = training.optimise([parameter])
    assert isinstance(optimiser, torch.optim.SGD)
    assert optimiser.defaults["nesterov"]
    assert optimiser.defaults["momentum"] == 0.9
    adam = Training(1, 0, 1, 0.1, optimiser="adam", betas=(0.5, 0.999)).optimise([parameter])
    assert type(adam) is torch.optim.Adam
    assert adam.defaults["betas"] == (0.5, 0.999)
    assert type(Training(1, 0, 1, 0.1).optimise([parameter])) is torch.optim.AdamW
