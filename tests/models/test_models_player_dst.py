"""The DST for little data: probabilities that sum to one, what it may not see, decoding, learning."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from footpass.files import DataError
from footpass.models.losses import answer_losses
from footpass.models.player_dst import PlayerDST, PlayerDSTConfig, _places
from footpass.schema import EOS, N_CLASSES, N_SLOTS, NO_SLOT, PAD, PAD_FRAME, SOS, State
from footpass.sequence.tokens import encode, window_features
from footpass.sequence.windows import Sample, collate

SMALL = PlayerDSTConfig(
    window_length=60, player=8, width=16, heads=2, feedforward=32, dropout=0.0, forget=0.0
)
EVENTS = [(8, 3, 2), (31, 3, 1), (55, 17, 8)]  # frame, slot, class


def model(fusion: str = "none", seed: int = 0) -> PlayerDST:
    torch.manual_seed(seed)
    return PlayerDST(dataclasses.replace(SMALL, fusion=fusion)).eval()


def sample(
    events=EVENTS, volumes: int = 1, length: int = 60, loud: float = 8.0, seed: int = 0
) -> Sample:
    """Players who stand about, all of them seen, and detectors that peak at the events."""
    rng = np.random.default_rng(seed)
    state = np.zeros((len(State), N_SLOTS, length), np.float32)
    state[:2] = rng.random((2, N_SLOTS, 1))
    state[State.VISIBLE] = 1
    logits = rng.normal(0, 0.3, (volumes, N_CLASSES, N_SLOTS, length)).astype(np.float32)
    logits[:, 0] += 5
    for frame, slot, cls in events:
        logits[:, cls, slot, max(0, frame - 1) : frame + 2] += loud
    tokens = encode(np.array(events).reshape(-1, 3), 0, SMALL.window_length)
    return Sample(window_features(state, *logits), np.arange(1, length + 1), tokens)


def batch(*samples: Sample) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(collate(samples or [sample()]))


@pytest.mark.parametrize("fusion, volumes", [("none", 1), ("concat", 2), ("concat4", 4)])
def test_steps_are_probabilities_and_none_is_before_the_last_event(fusion, volumes):
    features, frames, tokens = batch(sample(volumes=volumes), sample(EVENTS[:1], volumes, length=40))
    with torch.no_grad():
        when = model(fusion)(features, frames, tokens).when  # (2, L, 13)
    torch.testing.assert_close(when.exp().sum(-1), torch.ones(when.shape[:2]))
    assert (when[0, 2, :6].exp() < 1e-9).all()  # the second event is in step 6
    assert (when[1, 0, 8:-1].exp() < 1e-9).all()  # the second window has 8 steps


def test_an_answer_does_not_depend_on_later_events():
    """Teacher forcing shows the model all events; those to come must not help."""
    net = model()
    features, frames, tokens = batch()
    other = tokens.clone()
    other[:, 3] = torch.tensor([5, 20, 58])
    with torch.no_grad():
        one, two = (net(features, frames, each) for each in (tokens, other))
    torch.testing.assert_close(one.when[:, :3], two.when[:, :3])
    torch.testing.assert_close(one.who[:, :2], two.who[:, :2])
    assert not torch.allclose(one.when[:, 3], two.when[:, 3])


def test_padding_changes_nothing():
    net = model()
    where = []
    net.stands.register_forward_hook(lambda module, given, told: where.append(given[0]))
    short = sample(EVENTS[:2], length=41)
    alone, beside = batch(short), batch(short, sample())
    with torch.no_grad():
        one, two = (net(*each) for each in (alone, beside))
    length = alone[2].shape[1] - 1
    torch.testing.assert_close(two.when[0, :length, :9], one.when[0, :, :9], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(two.who[0, :2], one.who[0, :2], rtol=1e-4, atol=1e-4)
    assert alone[1].shape[1] == 41 and (beside[1][0, 41:] == PAD_FRAME).all()
    for given in (where[0][0], where[1][0, :9]):
        torch.testing.assert_close(given, where[0][0, :1].expand(9, -1, -1))  # all stand where they were


def test_untrained_it_says_what_the_detector_says():
    """The prior copies: a loud peak's player and class are the likeliest answer at its step."""
    features, frames, tokens = batch()
    with torch.no_grad():
        who = model()(features, frames, tokens).who[0]
    for place, (_, slot, cls) in enumerate(EVENTS):
        assert divmod(int(who[place].argmax()), N_CLASSES - 1) == (slot, cls - 1)


def test_the_losses_are_cross_entropies_over_real_tokens():
    features, frames, tokens = batch(sample(), sample(EVENTS[:1]))
    answers = model()(features, frames, tokens)
    weights = torch.linspace(0.5, 2.0, 10)
    losses = answer_losses(answers, tokens[:, 1:], weights, smoothing=0.0)
    moment, kinds, weight, slots = [], [], [], []
    for i, row in enumerate(tokens[:, 1:].tolist()):
        for j, (action, slot, frame) in enumerate(row):
            if action == PAD:
                continue
            moment.append(-answers.when[i, j, -1 if action == EOS else (frame - 1) // 5])
            if action != EOS:
                odds = answers.who[i, j]
                kinds.append(-weights[action] * odds[slot].log_softmax(-1)[action])
                weight.append(weights[action])
                slots.append(-odds.flatten().log_softmax(0).view(odds.shape)[slot].logsumexp(0))
    assert (len(moment), len(kinds)) == (6, 4)
    wanted = [sum(kinds) / sum(weight), sum(slots) / 4, sum(moment) / 6]
    torch.testing.assert_close(losses, torch.stack(wanted))


def test_windows_without_events_have_a_loss_of_the_end_alone():
    features, frames, tokens = batch(sample([]))
    answers = model()(features, frames, tokens)
    kind, slot, moment = answer_losses(answers, tokens[:, 1:]).tolist()
    assert kind == slot == 0 and moment == pytest.approx(-float(answers.when[0, 0, -1].detach()))


def test_windows_without_events_reach_every_parameter():
    """Of several processes, one may have a batch without events, and all wait for its gradients."""
    net = model()
    features, frames, tokens = batch(sample([]))
    answer_losses(net(features, frames, tokens), tokens[:, 1:]).sum().backward()
    missing = {name for name, parameter in net.named_parameters() if parameter.grad is None}
    net.zero_grad()
    features, frames, tokens = batch()
    answer_losses(net(features, frames, tokens), tokens[:, 1:]).sum().backward()
    assert missing == {name for name, p in net.named_parameters() if p.grad is None}


def test_it_learns_windows_and_writes_them_again():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    scripts = [
        sorted((int(f), int(rng.integers(26)), int(rng.integers(1, 9))) for f in at)
        for at in ([5, 30, 52], [22], [11, 40], [])
    ]
    # The detector is no help: it says nothing of the events.
    windows = batch(*(sample(script, loud=0.0, seed=i) for i, script in enumerate(scripts)))
    net = PlayerDST(SMALL)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        answer_losses(net(*windows), windows[2][:, 1:], smoothing=0.0).sum().backward()
        optimizer.step()
    for written, script in zip(net.eval().write(*windows[:2]), scripts, strict=True):
        told = [(a + 1, s) for a, s, _ in written.tokens.tolist()]
        assert told == [(cls, slot) for _, slot, cls in script]
        for (_, _, frame), (at, *_) in zip(written.tokens.tolist(), script, strict=True):
            assert abs(frame - 1 - at) <= 2  # the middle of its step
        assert (written.scores > 0.5).all()


def test_kept_keys_and_values_change_nothing():
    net = model()
    features, frames, tokens = batch()
    read = net.read(features, frames)
    with torch.no_grad():
        at_once, _ = net._told(tokens[:, :4], read)
        past, steps = None, []
        for i in range(4):
            told, past = net._told(tokens[:, i : i + 1], read, past)
            steps.append(told)
    torch.testing.assert_close(torch.cat(steps, dim=1), at_once, rtol=1e-4, atol=1e-5)


def test_written_events_are_events_of_the_window():
    """However little it knows: frames of the window in order, slots and classes that exist."""
    net = PlayerDST(dataclasses.replace(SMALL, min_probability=1e-5)).eval()
    features, frames, _ = batch(sample(), sample(length=33))
    for written, length in zip(net.write(features, frames), (60, 33), strict=True):
        action, slot, frame = written.tokens.unbind(-1)
        assert len(frame) > 3 and (frame >= 1).all() and (frame <= length).all()
        assert (frame.diff() >= 0).all() and (action < SOS).all() and (slot < NO_SLOT).all()
        assert ((written.scores >= 1e-5) & (written.scores <= 1)).all()
        for one in set(zip(action.tolist(), slot.tolist(), strict=True)):  # nobody twice at a time
            mine = frame[(action == one[0]) & (slot == one[1])]
            assert (mine.diff() > 0).all()


def test_drawn_games_have_the_probabilities_that_the_model_states():
    """Of games of one event, when, who and what can be written down without drawing any."""
    net = model()
    net.config = dataclasses.replace(net.config, samples=4000)
    features, frames, _ = batch(sample(), sample(length=40))
    start = torch.tensor([[[SOS, NO_SLOT, 0]]]).expand(2, 1, 3)
    with torch.no_grad():
        mass = net._drawn(features, frames, max_events=1)  # (2, 208, 12)
        read = net.read(features, frames)
        told, _ = net._told(start, read)
        when = net.when(told, start, read).exp()[:, 0, :-1]  # (2, 12)
        steps = torch.arange(12).expand(2, 12)
        who = net.who(told, start, steps, read).flatten(2).softmax(-1)  # (2, 12, 208)
    torch.testing.assert_close(mass.sum(1), when, rtol=0, atol=0.03)
    torch.testing.assert_close(mass.transpose(1, 2), who * when[..., None], rtol=0, atol=0.02)


def test_no_game_has_more_events_than_allowed_and_draws_are_the_same_each_time():
    net = model()
    features, frames, _ = batch()
    assert net._drawn(features, frames, 2).sum() <= 2 + 1e-4
    one, two = (net.write(features, frames)[0] for _ in range(2))
    assert torch.equal(one.tokens, two.tokens) and torch.equal(one.scores, two.scores)


def test_a_window_is_decoded_the_same_alone_and_beside_others():
    torch.manual_seed(0)
    net = PlayerDST(dataclasses.replace(SMALL, min_probability=1e-5)).eval().double()
    samples = [sample(), sample(length=33), sample(length=47)]
    features, frames, _ = batch(*samples)
    together = net.write(features.double(), frames)
    for one, written in zip(samples, together, strict=True):
        features, frames, _ = batch(one)
        (alone,) = net.write(features.double(), frames)
        assert len(alone.scores) > 3 and torch.equal(alone.tokens, written.tokens)
        torch.testing.assert_close(alone.scores, written.scores)


@pytest.mark.parametrize(
    "metres, wanted",
    [
        ((52.5, 34.0), (np.exp(-17), np.exp(-52.5 / 2), np.exp(-52.5 / 12))),  # the centre
        ((30.0, 0.0), (1, np.exp(-15), np.exp(-np.hypot(30, 34) / 12))),  # a throw-in
        ((105.0, 68.0), (1, 1, np.exp(-34 / 12))),  # a corner
        ((94.0, 34.0), (np.exp(-17), np.exp(-11 / 2), np.exp(-11 / 12))),  # a penalty
    ],
)
def test_places_are_near_lines_and_goals(metres, wanted):
    state = torch.tensor([metres[0] / 105, metres[1] / 68, 0.0, 0.0, 1.0], dtype=torch.float64)
    for mirror in (state, torch.cat((1 - state[:2], state[2:]))):
        np.testing.assert_allclose(_places(mirror), [*wanted, 1.0], atol=1e-9)
    running = state + torch.tensor([0, 0, 3.0, -4.0, 0])
    assert float(_places(running)[3]) == pytest.approx(np.exp(-5 / 1.5))


def test_bad_sizes_and_beams_are_refused():
    with pytest.raises(DataError, match="fusion = 'sum'"):
        PlayerDSTConfig(fusion="sum")
    with pytest.raises(DataError, match=r"width 20 is not a multiple of 2 \* 4 heads"):
        PlayerDSTConfig(width=20)
    with pytest.raises(DataError, match="it has no beams"):
        model().write(*batch()[:2], beams=2)
    assert (PlayerDSTConfig().inputs, PlayerDSTConfig(fusion="concat").inputs) == (364, 598)
