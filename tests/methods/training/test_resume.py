"""Trainings that are killed and resumed."""

from __future__ import annotations

import copy
import dataclasses
import re
import warnings

import pytest
import torch

from methods.detector import FitContext, FitReport
from methods.training.loop import Training, train_network
from methods.training.resume import TrainingState, sealed
from methods.uniad.detector import UniAD
from tests.support.features import FakeImages, structured
from tests.support.trainings import CONFIG, CPU, LAYOUT, KilledError, Watcher, equal, train, train_until_killed


def test_a_training_killed_and_resumed_ends_at_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("methods.training.loop._CHECKPOINT_SECONDS", 0.0)
    whole, expected = train(FitContext(0, CPU))
    checkpoint = tmp_path / "state.pt"
    train_until_killed(checkpoint)
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
    with pytest.warns(UserWarning, match=f"{checkpoint}: the checkpoint can't be used: .*removed, .*starts at step 0"):
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


PLAIN = FitContext(0, CPU)


def interrupted(checkpoint, context: FitContext = PLAIN):
    """Write the checkpoint of a training that dies in step 8, and return its content."""

    def die(done: int, total: int, what: str) -> None:
        if done == 8:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("methods.training.loop._CHECKPOINT_SECONDS", 0.0)
        with pytest.raises(KilledError):
            train(dataclasses.replace(context, progress=die, checkpoint=checkpoint))
    return torch.load(checkpoint, weights_only=True)


def write(checkpoint, state) -> None:
    """Write a state with the right digest."""
    state.pop("digest", None)
    torch.save(sealed(state), checkpoint)


def refused(checkpoint, reason: str, context: FitContext = PLAIN):
    """Train with a checkpoint that must be removed with one line; return the detector."""
    with pytest.warns(UserWarning, match="can't be used") as caught:
        detector, report = train(dataclasses.replace(context, checkpoint=checkpoint))
    (line,) = [str(one.message) for one in caught]
    assert line.startswith(f"{checkpoint}: the checkpoint can't be used: "), line
    assert line.endswith(" It is removed, and the training starts at step 0."), line
    assert re.search(reason, line), line
    assert len(report.loss_curve) == report.steps == 12
    assert not checkpoint.exists()
    return detector


def test_checkpoints_that_change_places_between_seeds_are_not_used(tmp_path):
    contexts = [FitContext(seed, CPU, fit_id=f"fit {seed}") for seed in (0, 1)]
    wholes = [train(context)[0] for context in contexts]
    assert not equal(*wholes)
    files = [tmp_path / f"seed{seed}.pt" for seed in (0, 1)]
    for file, context in zip(files, contexts, strict=True):
        interrupted(file, context)
    first, second = (file.read_bytes() for file in files)
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    for seed in (0, 1):
        reason = f"of another run .fit 'fit {1 - seed}', and this one is 'fit {seed}'"
        assert equal(wholes[seed], refused(files[seed], reason, contexts[seed]))


def test_a_checkpoint_of_an_earlier_version_is_not_used(tmp_path):
    """It had neither an id nor a digest."""
    state = interrupted(tmp_path / "state.pt")
    for part in ("schema", "fit_id", "stage", "digest"):
        del state[part]
    torch.save(state, tmp_path / "state.pt")
    assert equal(train(FitContext(0, CPU))[0], refused(tmp_path / "state.pt", "an earlier version wrote it"))


def test_a_checkpoint_of_the_other_stage_is_not_used(tmp_path, monkeypatch):
    whole, _ = two_stages(FitContext(0, CPU))
    two_stages(FitContext(0, CPU, checkpoint=tmp_path / "state.pt"))
    first, second = tmp_path / "state.first.pt", tmp_path / "state.second.pt"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.warns(UserWarning, match="of another run .fit 'second', and this one is 'first'"):
        again, _ = two_stages(FitContext(0, CPU, checkpoint=tmp_path / "state.pt"))
    assert equal(whole, again)


def _zeroed(state) -> None:
    for tensor in state["network"].values():
        tensor.zero_()


def _place(state, path: str):
    """The container and the key of a part, as ``optimiser.state.0.exp_avg``."""
    *parents, last = (int(name) if name.lstrip("-").isdigit() else name for name in path.split("."))
    for name in parents:
        state = state[name]
    return state, last


def _set(path: str, value):
    return _rewrite(path, lambda _: value)


def _rewrite(path: str, function):
    def change(state) -> None:
        container, key = _place(state, path)
        container[key] = function(container[key] if isinstance(container, list) else container.get(key))

    return change


def _drop(path: str):
    def change(state) -> None:
        container, key = _place(state, path)
        del container[key]

    return change


def _network(function):
    def change(state) -> None:
        name = next(iter(state["network"]))
        state["network"][name] = function(state["network"][name])

    return change


MALFORMED = {
    "step beyond the end": _set("step", 13),
    "step far beyond the end": _set("step", 2**70),
    "negative step": _set("step", -1),
    "step zero": _set("step", 0),
    "step true": _set("step", True),
    "step as text": _set("step", "7"),
    "step as a float": _set("step", 7.0),
    "step is a tensor": _set("step", torch.tensor(7)),
    "schema of the future": _set("schema", 99),
    "no moments": _set("optimiser.state", {}),
    "no optimiser": _drop("optimiser"),
    "an empty optimiser": _set("optimiser", {}),
    "the optimiser is a list": _set("optimiser", []),
    "an optimiser without groups": _set("optimiser.param_groups", []),
    "another decay": _set("optimiser.param_groups.0.weight_decay", 0.5),
    "other parameters": _rewrite("optimiser.param_groups.0.params", lambda ids: ids[:-1]),
    "a moment less": _drop("optimiser.state.0.exp_avg"),
    "a moment more": _set("optimiser.state.0.max_exp_avg_sq", torch.zeros(1)),
    "moments of no parameter": _set("optimiser.state.9999", {}),
    "moments of parameter -1": _set("optimiser.state.-1", {}),
    "a smaller moment": _set("optimiser.state.0.exp_avg", torch.zeros(1)),
    "a larger moment": _rewrite("optimiser.state.0.exp_avg_sq", lambda m: torch.cat([m, m])),
    "moments in half precision": _rewrite("optimiser.state.0.exp_avg", lambda m: m.half()),
    "moments in double precision": _rewrite("optimiser.state.0.exp_avg", lambda m: m.double()),
    "a moment is not finite": _rewrite("optimiser.state.0.exp_avg", lambda m: m * float("nan")),
    "a moment is None": _set("optimiser.state.0.exp_avg", None),
    "the moments' step is a vector": _set("optimiser.state.0.step", torch.ones(3)),
    "the moments' step is a number": _set("optimiser.state.0.step", 7),
    "the network is None": _set("network", None),
    "a network without tensors": _set("network", {}),
    "the network has None": _network(lambda tensor: None),
    "weights of another shape": _network(lambda tensor: tensor.repeat(*[2] * tensor.dim())),
    "weights in half precision": _network(lambda tensor: tensor.half()),
    "weights as whole numbers": _network(lambda tensor: tensor.long()),
    "short random state": _set("torch_rng", torch.zeros(5, dtype=torch.uint8)),
    "random state of floats": _rewrite("torch_rng", lambda t: t.float()),
    "random state is text": _set("torch_rng", "abc"),
    "dropout is None": _set("dropout", None),
    "dropout of three words": _rewrite("dropout.state", lambda words: words[:3]),
    "dropout of floats": _rewrite("dropout.state", lambda words: [word + 0.5 for word in words]),
    "dropout of large words": _rewrite("dropout.state", lambda words: [2**64, *words[1:]]),
    "seconds as text": _set("seconds", "12"),
    "seconds not finite": _set("seconds", float("inf")),
    "negative seconds": _set("seconds", -1.0),
    "losses are a number": _set("loss_curve", 3),
    "losses without steps": _set("loss_curve", [1.0, 2.0]),
    "losses beyond the step": _set("loss_curve", [(11, 1.0)]),
    "losses not finite": _set("loss_curve", [(1, float("nan"))]),
    "losses as text": _set("loss_curve", [(1, "low")]),
    "losses twice": _set("loss_curve", [(1, 1.0), (1, 1.0)]),
    "observations are no JSON": _set("observations", "[{"),
    "observations are a number": _set("observations", "3"),
    "observations of numbers": _set("observations", "[3]"),
    "observations nested deeply": _set("observations", "[" * 100_000),
    "observations are None": _set("observations", None),
    **{f"without {part}": _drop(part) for part in ("step", "seconds", "network", "torch_rng", "dropout", "loss_curve")},
}


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """The content of a checkpoint after seven steps."""
    return interrupted(tmp_path_factory.mktemp("intact") / "state.pt")


def new_state() -> TrainingState:
    """The state of a training of 12 steps that begins."""
    torch.manual_seed(7)
    detector = UniAD(CONFIG, LAYOUT)
    optimiser = Training.of(CONFIG).optimise(p for p in detector.network.parameters() if p.requires_grad)
    return TrainingState(detector.network, optimiser, detector.dropout, FitReport(), 12)


def require_unused(checkpoint, reason: str) -> None:
    """Check that a file is removed with one line, and that nothing of it is in the state of the training."""
    state, fresh, drawn = new_state(), new_state(), torch.get_rng_state()
    with pytest.warns(UserWarning, match=f"the checkpoint can't be used: .*({reason}).* It is removed, and") as caught:
        assert state.resume(checkpoint) == 0
    assert len(caught) == 1
    assert not checkpoint.exists()
    pairs = zip(state.network.state_dict().values(), fresh.network.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert state.optimiser.state_dict() == fresh.optimiser.state_dict()
    assert state.dropout.state() == fresh.dropout.state()
    assert state.report == fresh.report
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize("variant", MALFORMED)
def test_a_malformed_checkpoint_is_removed_and_not_used_even_if_its_digest_is_right(tmp_path, intact, variant):
    state = copy.deepcopy(intact)
    MALFORMED[variant](state)
    write(tmp_path / "state.pt", state)
    require_unused(tmp_path / "state.pt", "it|its|the")


EDITED = {
    "zeroed weights": _zeroed,
    "other losses": _set("loss_curve.0", (1, 0.5)),
    "an earlier step": _set("step", 3),
    "no moments of one parameter": _drop("optimiser.state.0"),
    "a step beyond the end": _set("step", 13),
}


@pytest.mark.parametrize("variant", EDITED)
def test_an_edited_checkpoint_does_not_match_its_digest(tmp_path, intact, variant):
    """The archive's own checksums are right, because it was written again."""
    state = copy.deepcopy(intact)
    EDITED[variant](state)
    torch.save(state, tmp_path / "state.pt")
    require_unused(tmp_path / "state.pt", "its content does not match its digest")


@pytest.mark.parametrize("content", [3, [1], {}, {"schema": 1}, torch.zeros(3)])
def test_a_file_of_something_else_is_not_used(tmp_path, content):
    torch.save(content, tmp_path / "state.pt")
    require_unused(tmp_path / "state.pt", "it does not say which run it is of")


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_not_used(tmp_path, intact, share):
    write(tmp_path / "state.pt", copy.deepcopy(intact))
    content = (tmp_path / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(content[: int(share * len(content))])
    require_unused(tmp_path / "state.pt", "it is damaged")


def test_an_intact_checkpoint_with_its_digest_written_anew_is_used(tmp_path, intact):
    """So that the tests above refuse nothing only because of how they write a file."""
    write(tmp_path / "state.pt", copy.deepcopy(intact))
    steps: list[int] = []
    context = FitContext(0, CPU, progress=lambda d, t, w: steps.append(d), checkpoint=tmp_path / "state.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, _ = train(context)
    assert steps[0] == 8
    assert equal(train(PLAIN)[0], again)


@pytest.mark.parametrize(("optimiser", "momentum"), [("sgd", 0.0), ("sgd", 0.9), ("adam", 0.0)])
def test_a_checkpoint_of_another_optimiser_is_used(tmp_path, monkeypatch, optimiser, momentum):
    plain = Training.of
    kind = {"optimiser": optimiser, "momentum": momentum}
    monkeypatch.setattr(Training, "of", classmethod(lambda cls, config, **fixed: plain(config, **fixed | kind)))
    whole, _ = train(FitContext(0, CPU))
    interrupted(tmp_path / "state.pt")
    steps: list[int] = []
    again, _ = train(FitContext(0, CPU, progress=lambda d, t, w: steps.append(d), checkpoint=tmp_path / "state.pt"))
    assert steps[0] == 8
    assert equal(whole, again)
