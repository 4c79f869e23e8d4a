import itertools
import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import nan
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from footpass.files import DataError
from footpass.training import distributed, loop
from footpass.training.checkpoints import load_checkpoint, load_weights, save_checkpoint
from footpass.training.config import TrainConfig, learning_rate
from footpass.training.loop import micro_batches, run_epoch, train
from footpass.training.optim import Updates, parameter_groups, resolve_precision
from tests.training import tiny_run

TINY_RUN = Path(tiny_run.__file__)


class Perceptron(nn.Module):
    """Has a bit of all: weights, biases, a batch norm's statistics, dropout; steps of a millisecond."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(6)
        self.dropout = nn.Dropout(0.2)
        self.outer = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.dropout(self.norm(self.inner(x)).relu()))


def linear() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))


def perceptron() -> nn.Module:
    torch.manual_seed(1)
    return Perceptron()


def points(epoch: int, size: int = 12) -> Dataset:
    """Inputs, targets and weights: a third does not count."""
    rng = torch.Generator().manual_seed(100 + epoch)
    x = torch.randn(size, 4, generator=rng)
    return TensorDataset(x, x.sum(1) ** 2, torch.randint(3, (size,), generator=rng).float())


def squares(model: nn.Module, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
    x, y, weight = batch
    error = (model(x)[:, 0].float() - y) ** 2
    return (weight * error).sum() / weight.sum().clamp(min=1e-9), weight.sum()


def same(one: object, two: object) -> bool:
    """Whether nested states are equal to the last bit, but for the time it took."""
    if isinstance(one, dict):
        keys = one.keys() - {"seconds"}
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in keys)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return torch.equal(one, two) if isinstance(one, Tensor) else one == two


def assert_same_run(one: Path, two: Path) -> None:
    for name in ("last.pt", "best.pt"):
        states = [load_checkpoint(folder / name) for folder in (one, two)]
        assert same(*states), name
    logs = [(folder / "log.jsonl").read_text().splitlines() for folder in (one, two)]
    assert same(*([json.loads(line) for line in lines] for lines in logs))
    assert {path.name for path in two.glob(".*")} <= {".lock"}


# -- Learning rates and parameter groups


def test_without_epochs_the_weights_are_kept_as_they_are(tmp_path):
    model = perceptron()
    with pytest.raises(DataError, match="epochs = 0, and nothing to start from"):
        train(model, TrainConfig(epochs=0), points, squares, tmp_path)
    assert not list(tmp_path.iterdir())
    about = {"start": "fingerprint"}
    assert train(model, TrainConfig(epochs=0), points, squares, tmp_path, about=about) == []
    for name in ("last.pt", "best.pt"):
        assert same(load_checkpoint(tmp_path / name)["model"], perceptron().state_dict())
    assert (tmp_path / "log.jsonl").read_text() == ""


def test_learning_rate_against_values_by_hand():
    # 4 steps of warm-up, then a tenth from step 6 and again from step 8 on.
    rates = [learning_rate(step, 0.8, 4, (6, 8), 0.1) for step in range(10)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.08, 0.08, 0.008, 0.008])
    assert learning_rate(0, 0.8) == 0.8


def test_learning_rate_on_a_cosine_against_values_by_hand():
    # 2 steps of warm-up, then half a cosine over the 8 steps that are left.
    assert learning_rate(0, 1.0, 10, cosine=10) == pytest.approx(0.1)  # of a run that is all warm-up
    assert learning_rate(9, 1.0, 20, cosine=10) == pytest.approx(0.5)
    rates = [learning_rate(step, 1.0, 2, cosine=10) for step in (0, 1, 2, 4, 6, 8, 10, 99)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0.0, 0.0])


def test_a_constant_rate_stays_while_others_fall(tmp_path):
    """The published video backbone keeps 5e-5, the rest falls along a cosine."""
    lr = {"": 0.5, "inner": 0.1}
    config = TrainConfig(epochs=4, batch=12, lr=lr, schedule="cosine", constant=("inner",), warmup=1)
    rows = train(perceptron(), config, points, squares, tmp_path)
    assert [row["lr"]["inner"] for row in rows] == [0.1] * 4
    assert [row["lr"][""] for row in rows] == pytest.approx([0.5, 0.5, 0.375, 0.125])


def test_warm_up_counts_optimizer_steps_not_micro_batches(tmp_path):
    """The public scripts count micro-batches, step once in eight and stay at 14 % of their rates."""
    config = TrainConfig(epochs=4, batch=1, accumulate=8, warmup=3, lr={"": 0.5}, milestones=(3,))
    rows = train(linear(), config, lambda epoch: points(epoch, 8), squares, tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [row["lr"][""] for row in rows] == pytest.approx([0.5 / 3, 1 / 3, 0.5, 0.05])


def test_only_weights_decay():
    """The public DST has it the other way round."""
    model = perceptron()
    groups = parameter_groups(model, {"": 1e-3, "inner": 1e-4}, weight_decay=0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        names[id(parameter)]: (group["base_lr"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    assert found == {
        "inner.weight": (1e-4, 0.1),
        "inner.bias": (1e-4, 0.0),
        "norm.weight": (1e-3, 0.0),
        "norm.bias": (1e-3, 0.0),
        "outer.weight": (1e-3, 0.1),
        "outer.bias": (1e-3, 0.0),
    }


def test_group_sizes_are_logged(caplog):
    with caplog.at_level("INFO", logger="footpass"):
        parameter_groups(perceptron(), {"": 1e-3}, 0.1)
    assert [record.message for record in caplog.records] == [
        "biases and norms of *: 19 parameters",
        "weights of *: 30 parameters",
    ]


@pytest.mark.parametrize(
    ("lr", "message"),
    [({"inner": 1e-3}, "no learning rate for norm.weight"), ({"": 1, "x3d": 1}, r"\['x3d'\]: no param")],
)
def test_each_parameter_has_a_rate_and_each_rate_parameters(lr, message):
    with pytest.raises(DataError, match=message):
        parameter_groups(perceptron(), lr, 0.1)


# -- Micro-batches


@settings(deadline=None)
@given(
    size=st.integers(1, 60),
    batch=st.integers(1, 9),
    per_process=st.integers(1, 4),
    world=st.integers(1, 4),
    first=st.integers(0, 3),
)
def test_processes_share_the_samples_of_an_epoch(size, batch, per_process, world, first):
    config = TrainConfig(batch=batch, accumulate=per_process * world)
    alone = micro_batches(size, config, epoch=2)
    assert [place for part in alone for place in part.samples] == list(range(size))
    sizes = {len(part.samples) for part in alone}
    assert max(sizes) <= batch and max(sizes) - min(sizes) <= 1
    assert len({part.seed for part in alone}) == len(alone)

    # All processes take equally many steps, and together exactly what one process takes.
    shares = [micro_batches(size, config, 2, 0, rank, world) for rank in range(world)]
    assert len({sum(part.last for part in share) for share in shares}) == 1
    counted = [(part.samples, part.seed) for share in shares for part in share if part.share]
    assert sorted(counted) == sorted((part.samples, part.seed) for part in alone)

    # What comes after a step does not depend on where one started.
    after = [i + 1 for i, part in enumerate(alone) if part.last]
    if first < len(after):
        assert micro_batches(size, config, 2, first) == alone[(0, *after)[first] :]


# -- The loop


def test_accumulated_steps_equal_a_plain_loop_over_whole_steps(tmp_path):
    """The mean is over all that counts in a step, though its micro-batches count differently."""
    config = TrainConfig(
        epochs=2, batch=2, accumulate=3, lr={"": 0.05}, weight_decay=0.1, max_grad_norm=0.7, warmup=3
    )
    model, plain = linear(), linear()
    rows = train(model, config, lambda epoch: points(epoch, 11), squares, tmp_path)

    weights = [p for p in plain.parameters() if p.ndim > 1]
    biases = [p for p in plain.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": weights}, {"params": biases, "weight_decay": 0.0}])
    optimizer.param_groups[0]["weight_decay"] = 0.1
    step, means = 0, []
    for epoch in range(2):
        x, y, weight = points(epoch, 11).tensors
        loss_sum = 0.0
        for part in (slice(0, 6), slice(6, 11)):  # three micro-batches each
            loss = (weight * (plain(x)[:, 0] - y) ** 2)[part].sum()
            loss_sum += loss.item()
            optimizer.zero_grad()
            (loss / weight[part].sum()).backward()
            nn.utils.clip_grad_norm_(plain.parameters(), 0.7)
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = 0.05 * min(1, step / 3)
            optimizer.step()
        means.append(loss_sum / float(weight.sum()))
    assert [row["loss"] for row in rows] == pytest.approx(means, rel=1e-5)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, msg=name)


def test_frozen_backbone_learns_nothing_batch_norm_included(tmp_path):
    """The public scripts freeze the weights and let the statistics go on."""
    model = tiny_run.tiny()
    states = []

    def validate(model: nn.Module) -> dict[str, float]:
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"macro_f1": 0.0}

    validate(model)
    config = TrainConfig(epochs=2, batch=2, frozen_epochs=1, frozen_blocks=2, lr={"": 1e-2})
    train(model, config, tiny_run.samples, tiny_run.weighted_loss, tmp_path, validate)
    start, frozen, free = states
    # Block 0 and 1 are frozen for good, 2 to 4 for an epoch, the head never.
    never = {name for name in start if name.startswith(("x3d.blocks.0.", "x3d.blocks.1."))}
    first = {name for name in start if name.startswith("x3d.")}
    assert {name for name in start if torch.equal(start[name], frozen[name])} == first
    assert {name for name in start if torch.equal(frozen[name], free[name])} == never


def test_average_of_the_weights_is_what_is_validated_and_kept(tmp_path):
    trace, validated = [], []
    config = TrainConfig(epochs=3, batch=12, ema=0.75, lr={"": 0.1})
    model = linear()

    def watched(model: nn.Module, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        trace.append(model[0].weight.detach().clone())
        return squares(model, batch)

    def validate(model: nn.Module) -> dict[str, float]:
        validated.append(model[0].weight.detach().clone())
        return {"macro_f1": len(validated)}

    train(model, config, points, watched, tmp_path, validate)
    _, one, two = trace
    three = model[0].weight.detach()
    # The average starts at the weights after the first step.
    expected = [one, 0.75 * one + 0.25 * two]
    expected.append(0.75 * expected[1] + 0.25 * three)
    torch.testing.assert_close(validated, expected)
    torch.testing.assert_close(load_checkpoint(tmp_path / "best.pt")["model"]["0.weight"], expected[2])
    last = load_checkpoint(tmp_path / "last.pt")
    torch.testing.assert_close(last["model"]["0.weight"], three)
    load_weights(model, last, tmp_path / "last.pt")  # to work with: those of a DST, which is not chosen
    torch.testing.assert_close(model[0].weight.detach(), expected[2])


def test_mean_of_the_last_epochs_is_what_is_validated_and_kept(tmp_path):
    """Also of a run that was to be shorter at first, whose last epochs are no longer the last."""
    ends, validated = [], []
    model = linear()

    def validate(shown: nn.Module) -> dict[str, float]:
        ends.append(model[0].weight.detach().clone())
        validated.append(shown[0].weight.detach().clone())
        return {"macro_f1": len(validated)}

    for epochs in (2, 5):
        config = TrainConfig(epochs=epochs, average_epochs=2)
        model = linear()
        train(model, config, points, squares, tmp_path, validate)
    mean = [(one + two) / 2 for one, two in itertools.pairwise(ends)]
    torch.testing.assert_close(validated, [ends[0], mean[0], ends[2], ends[3], mean[3]])
    torch.testing.assert_close(load_checkpoint(tmp_path / "best.pt")["model"]["0.weight"], mean[3])
    longer = TrainConfig(epochs=6, average_epochs=2)  # whose average has but one of these two
    with pytest.raises(DataError, match="go on to epoch 7 or later"):
        train(linear(), longer, points, squares, tmp_path, validate)
    with pytest.raises(DataError, match="one average of the weights, not two"):
        TrainConfig(ema=0.9, average_epochs=2)


def test_the_time_of_an_epoch_that_was_broken_off_counts(tmp_path, monkeypatch):
    clock, breaks = [100.0], [3]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])

    def slow(model: nn.Module, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        clock[0] += 10
        breaks[0] -= 1
        if not breaks[0]:
            raise KeyboardInterrupt
        return squares(model, batch)

    config = TrainConfig(epochs=1, batch=4, save_every=1)  # three steps, of which the third is lost
    with pytest.raises(KeyboardInterrupt):
        train(linear(), config, points, slow, tmp_path)
    clock[0] += 1000
    (row,) = train(linear(), config, points, slow, tmp_path)
    assert row["seconds"] == 30


def test_best_checkpoint_has_the_highest_macro_f1(tmp_path):
    scores = iter([0.2, 0.5, 0.5, 0.4])
    kept = []

    def validate(model: nn.Module) -> dict[str, float]:
        kept.append(model[0].weight.detach().clone())
        return {"macro_f1": next(scores), "loss_val": 1.0}

    rows = train(linear(), TrainConfig(epochs=4), points, squares, tmp_path, validate)
    best = load_checkpoint(tmp_path / "best.pt")
    assert best["row"] == rows[1]
    assert torch.equal(best["model"]["0.weight"], kept[1])
    assert [row["macro_f1"] for row in rows] == [0.2, 0.5, 0.5, 0.4]
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log == rows


@pytest.mark.parametrize("figures", [{"f1": 1.0}, {"macro_f1": 1.0, "loss": 2.0}])
def test_validation_gives_macro_f1_and_does_not_hide_the_loss(tmp_path, figures):
    with pytest.raises(DataError, match=r"needs macro_f1, and none of \['epoch', 'step', 'loss'"):
        train(linear(), TrainConfig(), points, squares, tmp_path, lambda model: figures)


def test_bf16_computes_in_bf16_and_keeps_weights_in_fp32(tmp_path):
    seen = set()
    model = linear()
    model[1].register_forward_hook(lambda module, args, out: seen.add(out.dtype))
    config = TrainConfig(epochs=30, batch=4, lr={"": 0.03}, precision="bf16")
    rows = train(model, config, lambda epoch: points(0), squares, tmp_path)
    assert seen == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert rows[-1]["loss"] < rows[0]["loss"] / 2


def test_fp16_skips_steps_that_overflow_and_takes_the_others_as_fp32_does():
    """`train` allows it on CUDA only; the arithmetic is the same on the CPU."""
    traces = {}
    for precision in ("fp32", "fp16"):
        model = linear()
        config = TrainConfig(batch=12, lr={"": 0.03}, precision=precision, max_grad_norm=5.0)
        updates = Updates(model, config, per_epoch=1)
        if precision == "fp16":
            updates.scaler.load_state_dict(updates.scaler.state_dict() | {"scale": 2.0**18})
        micro = micro_batches(12, config, epoch=0)
        trace = traces[precision] = [model[0].weight.detach().clone()]
        for _ in range(15):
            run_epoch(model, zip(micro, [points(0).tensors], strict=True), squares, updates)
            trace.append(model[0].weight.detach().clone())
    fp32, fp16 = traces["fp32"], traces["fp16"]
    skipped = sum(torch.equal(one, two) for one, two in pairwise(fp16))
    assert 1 <= skipped == 18 - math.log2(updates.scaler.get_scale()) <= 10
    torch.testing.assert_close(fp16[skipped:], fp32[: 16 - skipped], rtol=0, atol=0.01)
    assert float((fp32[15 - skipped] - fp32[0]).abs().max()) > 0.05


def poisoned(moments: range) -> Callable:
    """A loss that is NaN at some of its calls."""
    calls = itertools.count()
    return lambda model, batch: squares(model, batch)[0] * (nan if next(calls) in moments else 1.0)


def test_a_run_in_fp16_goes_back_to_its_last_checkpoint_when_its_loss_is_no_number(
    tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(loop, "_check", lambda *args: None)  # fp16 on the CPU
    config = TrainConfig(epochs=3, batch=4, lr={"": 0.03}, precision="fp16", save_every=2)
    rows = train(linear(), config, points, poisoned(range(5, 7)), tmp_path)
    # The sixth of nine steps fails, then the fifth, the first after the checkpoint of the fourth.
    assert [record.message.partition(": the loss is nan")[0] for record in caplog.records] == [
        "optimizer step 5",
        "optimizer step 4",
    ]
    assert "back to step 4, with scale 64 (restart 1 of 3)" in caplog.messages[0]
    assert "back to step 4, with scale 4 (restart 2 of 3)" in caplog.messages[1]
    state = load_checkpoint(tmp_path / "last.pt")
    assert state["scaler"]["scale"] == 4 and [row["step"] for row in rows] == [3, 6, 9]
    monkeypatch.undo()
    untroubled = train(linear(), replace(config, precision="fp32"), points, squares_mean, tmp_path / "b")
    assert [row["loss"] for row in rows] == pytest.approx([r["loss"] for r in untroubled], rel=0.02)


def squares_mean(model: nn.Module, batch: list[Tensor]) -> Tensor:
    return squares(model, batch)[0]


def test_a_run_in_fp16_ends_when_going_back_does_not_help(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(loop, "_check", lambda *args: None)
    with pytest.raises(DataError, match="optimizer step 0: the loss is nan"):
        train(linear(), TrainConfig(precision="fp16"), points, poisoned(range(99)), tmp_path)
    assert [m.partition("(")[2] for m in caplog.messages] == [f"restart {i} of 3)" for i in (1, 2, 3)]


def test_what_was_begun_in_another_precision_goes_back_in_fp16(tmp_path, caplog, monkeypatch):
    config = TrainConfig(epochs=1, batch=4, lr={"": 0.03}, precision="bf16")
    train(linear(), config, points, squares, tmp_path)
    monkeypatch.setattr(loop, "_check", lambda *args: None)
    more = replace(config, epochs=2, precision="fp16")
    rows = train(linear(), more, points, poisoned(range(1)), tmp_path)
    assert [row["step"] for row in rows] == [3, 6]
    assert "back to step 3, with scale 64 (restart 1 of 3)" in caplog.text


def test_gradients_that_overflow_at_every_scale_do_not_go_unnoticed(tmp_path, monkeypatch):
    """The scaler would leave out all steps, and the run would learn nothing."""

    def loss(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return squares(model, batch)[0] + (0 * model[0].weight).sqrt().sum()  # 0, slope NaN

    monkeypatch.setattr(loop, "_check", lambda *args: None)
    with pytest.raises(DataError, match="the gradient is nan"):
        train(linear(), TrainConfig(epochs=99, precision="fp16"), points, loss, tmp_path)


def test_the_scale_of_fp16_grows_again_within_a_published_epoch():
    """By default it would after 2,000 steps, and TAAD's published training has 1,900."""
    scaler = Updates(linear(), TrainConfig(precision="fp16"), per_epoch=1).scaler
    assert scaler.get_growth_interval() <= 100


def test_another_precision_and_number_of_processes_may_go_on_and_are_noted(tmp_path, caplog):
    config = TrainConfig(epochs=1, batch=4)
    train(perceptron(), config, points, squares, tmp_path)
    state = load_checkpoint(tmp_path / "last.pt")
    save_checkpoint(tmp_path / "last.pt", state.pop("config"), state | {"processes": 2})
    more = replace(config, epochs=2, precision="bf16")
    assert [row["step"] for row in train(perceptron(), more, points, squares, tmp_path)] == [3, 6]
    assert caplog.messages[-2:] == [
        f"{tmp_path / 'last.pt'}: goes on with precision bf16, was fp32: not to the last bit",
        f"{tmp_path / 'last.pt'}: goes on with processes 1, was 2: not to the last bit",
    ]


@pytest.mark.parametrize(
    ("has", "taken"),
    [
        ({}, "fp32"),
        ({"avx512_bf16": False, "amx_bf16": False, "avx2": True}, "fp32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"architecture": "arm64", "bf16": True}, "bf16"),
    ],
)
def test_precision_auto_asks_what_the_cpu_has_and_says_what_it_takes(monkeypatch, caplog, has, taken):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    resolve_precision.cache_clear()
    assert resolve_precision("auto", torch.device("cpu")) == taken
    assert caplog.messages == [f"precision auto: {taken} on this cpu"]
    resolve_precision("bf16", torch.device("cpu"))
    assert len(caplog.messages) == 1 + (taken == "fp32")  # that it is slow there
    resolve_precision.cache_clear()


def test_workers_change_nothing(tmp_path):
    results = []
    for workers in (0, 2):
        model = perceptron()
        config = TrainConfig(epochs=1, batch=2, workers=workers)
        train(model, config, points, squares, tmp_path / str(workers))
        results.append(dict(model.state_dict()))
    assert same(*results)


# -- Interrupted runs


class Killed(BaseException):
    """Not an Exception: nothing may catch it."""


PERCEPTRON = TrainConfig(
    epochs=2, batch=2, accumulate=2, ema=0.7, save_every=2, warmup=2, max_grad_norm=1.0
)


def perceptron_run(folder: Path, tick: Callable[[], None] = lambda: None) -> None:
    def loss(model: nn.Module, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        tick()
        return squares(model, batch)

    def validate(model: nn.Module) -> dict[str, float]:
        tick()
        return {"macro_f1": float(model.outer.weight.norm())}  # falls, so that the first is the best

    train(perceptron(), PERCEPTRON, points, loss, folder, validate)


def test_interrupted_at_every_moment(tmp_path, monkeypatch):
    """Before every micro-batch and validation, and before and after each file takes its place."""
    replace_file = os.replace
    moments = 0
    fatal = None

    def tick() -> None:
        nonlocal moments
        moments += 1
        if moments == fatal:
            raise Killed

    def watched(source: str, target: str) -> None:
        tick()
        replace_file(source, target)
        tick()

    monkeypatch.setattr(os, "replace", watched)
    perceptron_run(tmp_path / "undisturbed", tick)
    # 12 micro-batches and 2 validations; of files, the log 3 times, the last 4 times, the best.
    total = moments
    assert load_checkpoint(tmp_path / "undisturbed/best.pt")["row"]["epoch"] == 0
    assert total >= 12 + 2 + 2 * (3 + 4 + 1)
    for fatal in range(1, total + 1):
        folder = tmp_path / str(fatal)
        moments = 0
        with pytest.raises(Killed):
            perceptron_run(folder, tick)
        perceptron_run(folder)
        assert_same_run(tmp_path / "undisturbed", folder)


@pytest.mark.slow
def test_killed_by_sigkill_and_started_again(tmp_path):
    moment = random.randrange(6, 16)
    print("killed in micro-batch", moment, "of 15")  # shown if the test fails
    folder = tmp_path / "killed"
    command = [sys.executable, str(TINY_RUN), str(folder), "3"]
    with subprocess.Popen([*command, str(moment)], stderr=subprocess.DEVNULL) as process:
        while not (folder / "stopped").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert 0 < load_checkpoint(folder / "last.pt")["step"] < 9
    (folder / "stopped").unlink()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)

    torch.set_num_threads(1)
    tiny_run.run(tmp_path / "undisturbed")
    assert_same_run(tmp_path / "undisturbed", folder)


class Table(nn.Module):
    """Rows of a table by their indices, more of them than one thread adds up the gradients of."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(3, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.rows[torch.arange(9000) % 3] * x


def test_threads_change_nothing_from_run_to_run(tmp_path):
    rng = torch.Generator().manual_seed(5)
    data = TensorDataset(torch.randn(2, 9000, 8, generator=rng))
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        for run in range(5):
            config = TrainConfig(epochs=4, batch=1, lr={"": 1e-2})
            train(
                Table(),
                config,
                lambda _: data,
                lambda m, b: (m(b[0]) - 1).square().mean(),
                tmp_path / str(run),
            )
    finally:
        torch.set_num_threads(threads)
    assert torch.get_deterministic_debug_mode() == 0
    first, *others = (
        load_checkpoint(tmp_path / str(run) / "last.pt")["model"]["rows"] for run in range(5)
    )
    assert all(torch.equal(first, rows) for rows in others)


def test_finished_run_is_left_alone_and_can_be_prolonged(tmp_path):
    config = replace(PERCEPTRON, epochs=1)
    train(perceptron(), config, points, squares, tmp_path / "short")
    before = (tmp_path / "short/last.pt").read_bytes()
    model = perceptron()
    rows = train(model, config, points, squares, tmp_path / "short")
    assert (tmp_path / "short/last.pt").read_bytes() == before
    assert len(rows) == 1
    assert same(load_checkpoint(tmp_path / "short/last.pt")["model"], dict(model.state_dict()))

    train(perceptron(), PERCEPTRON, points, squares, tmp_path / "short")
    train(perceptron(), PERCEPTRON, points, squares, tmp_path / "long")
    states = [load_checkpoint(tmp_path / name / "last.pt") for name in ("short", "long")]
    assert same(*states)


# -- Several processes


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path):
    """Weighted means, freezing, dropout and a last step with one micro-batch for two processes.

    The weights are those of one; batch-norm statistics are the mean over processes that saw half each.
    """
    alone = tmp_path / "alone"
    tiny_run.run(alone, epochs=2)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, str(TINY_RUN), str(tmp_path / "both"), "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    one, two = (load_checkpoint(tmp_path / name / "last.pt") for name in ("alone", "both"))
    for name in dict(tiny_run.tiny().named_parameters()):
        torch.testing.assert_close(two["model"][name], one["model"][name], msg=name)
    assert [row["loss"] for row in two["rows"]] == pytest.approx([row["loss"] for row in one["rows"]])


@pytest.mark.parametrize(
    ("gpus", "device", "backend"), [(0, "cpu", "gloo"), (1, "cuda:0", "gloo"), (4, "cuda:3", "nccl")]
)
def test_each_process_has_a_gpu_or_a_share_of_one(monkeypatch, gpus, device, backend):
    launched = {"WORLD_SIZE": 4, "LOCAL_WORLD_SIZE": 4, "LOCAL_RANK": 3}
    for name, value in launched.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(distributed.atexit, "register", lambda function: None)
    joined: list[str] = []
    monkeypatch.setattr(
        distributed.dist, "init_process_group", lambda name, timeout: joined.append(name)
    )
    assert str(distributed.join_processes()) == device and joined == [backend]


def test_who_gives_processes_too_few_micro_batches_is_told(caplog):
    loop._check(linear(), TrainConfig(accumulate=2), size=8, world=4)
    (text,) = caplog.messages
    assert text.startswith("accumulate = 2 is no multiple of 4 processes") and "--accumulate 4" in text


@pytest.mark.parametrize(("accumulate", "world"), [(1, 2), (3, 2), (2, 4)])
def test_processes_that_do_not_divide_a_step_still_learn_from_all_of_it(accumulate, world):
    config = TrainConfig(batch=4, accumulate=accumulate)
    parts = [micro_batches(37, config, epoch=0, rank=rank, world=world) for rank in range(world)]
    assert len({sum(part.last for part in mine) for mine in parts}) == 1  # as many steps
    counted = [place for mine in parts for part in mine if part.share for place in part.samples]
    assert sorted(counted) == list(range(37))


# -- Bad input: one clear error, and what was there is intact


def test_checkpoint_of_another_config(tmp_path):
    train(perceptron(), PERCEPTRON, points, squares, tmp_path, about={"clip": 50})
    before = (tmp_path / "last.pt").read_bytes()
    other = replace(PERCEPTRON, warmup=7)
    with pytest.raises(DataError, match=r"last.pt: of another config: train.warmup is 2 there, not 7"):
        train(perceptron(), other, points, squares, tmp_path, about={"clip": 50})
    with pytest.raises(DataError, match=r"about.clip is 50 there, not 49"):
        train(perceptron(), PERCEPTRON, points, squares, tmp_path, about={"clip": 49})
    with pytest.raises(DataError, match=r"kind is 'Perceptron' there, not 'Sequential'"):
        train(linear(), PERCEPTRON, points, squares, tmp_path)
    with pytest.raises(DataError, match=r"samples is 12 there, not 13"):
        train(perceptron(), PERCEPTRON, lambda e: points(e, 13), squares, tmp_path, about={"clip": 50})
    assert (tmp_path / "last.pt").read_bytes() == before


def test_checkpoint_that_cannot_go_on(tmp_path):
    config = TrainConfig(epochs=1)
    train(linear(), config, points, squares, tmp_path)
    (tmp_path / "best.pt").rename(tmp_path / "last.pt")
    with pytest.raises(DataError, match=r"last.pt: no run to go on with: 'optimizer': delete it"):
        train(linear(), config, points, squares, tmp_path)


def test_a_checkpoint_of_another_model(tmp_path):
    tiny_run.run(tmp_path, epochs=1)
    best = tmp_path / "best.pt"
    assert load_checkpoint(best, {"kind": "Tiny", "model": {"classes": 3}})["model"]
    with pytest.raises(DataError, match=r"model.classes is 3 there, not 4"):
        load_checkpoint(best, {"model": {"classes": 4}})
    with pytest.raises(DataError, match=r"none.pt: no such checkpoint"):
        load_checkpoint(tmp_path / "none.pt")


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_checkpoint(tmp_path_factory, share):
    folder = tmp_path_factory.mktemp("truncated")
    train(linear(), TrainConfig(epochs=1), points, squares, folder)
    whole = (folder / "last.pt").read_bytes()
    (folder / "last.pt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"last.pt: damaged, or no .*: delete it to train anew"):
        train(linear(), TrainConfig(epochs=1), points, squares, folder)


@pytest.mark.parametrize("content", [{"a": torch.zeros(1)}, [1], {"config": 1, "model": {}}])
def test_file_that_is_no_checkpoint(tmp_path, content):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"x.pt: damaged, or no checkpoint of this project"):
        load_checkpoint(tmp_path / "x.pt")


def test_checkpoint_that_would_run_code_is_refused(tmp_path):
    torch.save({"config": {}, "model": {}, "rows": print}, tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"x.pt: damaged, or no checkpoint"):
        load_checkpoint(tmp_path / "x.pt")


@pytest.mark.usefixtures("capsys")  # whose stderr is no file
@pytest.mark.parametrize("room", [0, 100, 2000])
def test_no_space_for_a_checkpoint(tmp_path, room):
    """The kernel refuses to write files beyond a size, as it does on a full disk."""
    config = replace(PERCEPTRON, epochs=1)
    train(perceptron(), config, points, squares, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(DataError, match=r"(last.pt|log.jsonl): cannot be written: File too large"):
            train(perceptron(), replace(config, epochs=2), points, squares, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_loss_that_is_not_finite_stops_the_run(tmp_path):
    def loss(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return squares(model, batch)[0] * (torch.nan if batch[0].shape[0] == 3 else 1)

    config = TrainConfig(epochs=1, batch=4, accumulate=1, save_every=1)
    with pytest.raises(DataError, match="optimizer step 2: the loss is nan"):
        train(linear(), config, lambda epoch: points(epoch, 11), loss, tmp_path)  # 4, 4 and 3 samples
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 2


def test_gradient_that_is_not_finite_reaches_no_weights(tmp_path):
    def loss(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return squares(model, batch)[0] + (0 * model[0].weight).sqrt().sum()  # 0, slope NaN

    model, before = linear(), linear()
    with pytest.raises(DataError, match="optimizer step 0: the gradient is nan"):
        train(model, TrainConfig(), points, loss, tmp_path)
    assert same(dict(model.state_dict()), dict(before.state_dict()))


class Short(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple:
        raise DataError("ends at frame 40", "match.mp4", "game_1_H1")


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_input_is_one_line_from_a_worker_too(tmp_path, workers):
    with pytest.raises(DataError) as error:
        train(linear(), TrainConfig(workers=workers), lambda epoch: Short(), squares, tmp_path)
    assert str(error.value) == "match.mp4: half game_1_H1: ends at frame 40"
    assert error.value.half == "game_1_H1"


def test_config_that_does_not_suit(tmp_path):
    with pytest.raises(DataError, match="fp16 needs a CUDA device, and the model is on cpu"):
        train(linear(), TrainConfig(precision="fp16"), points, squares, tmp_path)
    with pytest.raises(DataError, match="Sequential has no video backbone"):
        train(linear(), TrainConfig(frozen_epochs=1), points, squares, tmp_path)
    with pytest.raises(DataError, match="no samples"):
        train(linear(), TrainConfig(), lambda epoch: points(epoch, 0), squares, tmp_path)
    with pytest.raises(DataError, match="an epoch of 13 samples; the first has 12"):
        train(linear(), TrainConfig(), lambda epoch: points(epoch, 12 + epoch), squares, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file/run: cannot be made"):
        train(linear(), TrainConfig(), points, squares, tmp_path / "file/run")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": "3"}, "TrainConfig.epochs = '3': Input should be a valid integer"),
        ({"epochs": True}, "TrainConfig.epochs = True: Input should be a valid integer"),
        ({"ema": "true"}, "TrainConfig.ema = 'true': Input should be a valid number"),
        (
            {"precision": "fp8"},
            r"TrainConfig.precision = 'fp8': Input should be 'auto', 'fp32', 'bf16' or 'fp16'",
        ),
        ({"constant": ("x3d",)}, r"constant = \['x3d'\]: not among the keys of lr"),
        ({"lr": {"": "1e-3"}}, "TrainConfig.lr = '1e-3': Input should be a valid number"),
        ({"lr": {"": -1e-3}}, "TrainConfig.lr = -0.001: Input should be greater than or equal to 0"),
        ({"milestones": [3]}, r"TrainConfig.milestones = \[3\]: Input should be a valid tuple"),
        ({"decay": float("nan")}, "TrainConfig.decay = nan: Input should be a finite number"),
        ({"decay": -0.1}, "TrainConfig.decay = -0.1: Input should be greater than or equal to 0"),
        ({"accumulate": 0}, "TrainConfig.accumulate = 0: Input should be greater than or equal to 1"),
        ({"max_grad_norm": 0.0}, "TrainConfig.max_grad_norm = 0.0: Input should be greater than 0"),
        ({"warmup": -1}, "TrainConfig.warmup = -1: Input should be greater than or equal to 0"),
        ({"ema": 1.0}, "TrainConfig.ema = 1.0: Input should be less than 1"),
    ],
)
def test_config_out_of_range_or_of_another_type(values, message):
    with pytest.raises(DataError, match=message):
        TrainConfig(**values)
