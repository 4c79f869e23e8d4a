"""Class weights divided out of what a DST says."""

import dataclasses

import numpy as np
import pytest
import torch

from footpass.models.dst import DST, DSTConfig
from footpass.models.player_dst import PlayerDST, PlayerDSTConfig
from footpass.schema import EOS, N_ACTION_TOKENS, NO_SLOT, SOS
from footpass.sequence.decode import without_weights

PUBLISHED = DSTConfig(window_length=30, width=16, heads=2, encoder_layers=1, decoder_layers=1)
PLAYERS = PlayerDSTConfig(window_length=30, player=8, width=16, heads=2, feedforward=32)
WEIGHTS = np.array([0.2, 0.4, 3.0, 1.0, 2.0, 0.7, 1.5, 0.9, 0.0, 0.3])  # as of `token_weights`
TOKENS = torch.tensor([[[SOS, NO_SLOT, 0], [2, 5, 9], [0, 17, 20]]])


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    return torch.randn(1, 30, PUBLISHED.inputs), torch.arange(1, 31)[None]


def test_classes_are_as_likely_as_before_over_their_weights(inputs):
    torch.manual_seed(0)
    model = DST(PUBLISHED).eval()
    with torch.no_grad():
        said, fair = (net(*inputs, TOKENS) for net in (model, without_weights(model, WEIGHTS)))
    told = [*range(SOS), EOS]
    wanted = said.action.softmax(-1)[..., told] / torch.tensor(WEIGHTS[told])
    wanted = wanted / wanted.sum(-1, keepdim=True)
    torch.testing.assert_close(fair.action[..., told].softmax(-1).double(), wanted.double())
    assert torch.equal(fair.slot, said.slot) and torch.equal(fair.frame, said.frame)


def test_a_player_wise_dst_tells_players_and_times_as_before(inputs):
    torch.manual_seed(0)
    model = PlayerDST(dataclasses.replace(PLAYERS, dropout=0.0)).eval()
    end = torch.tensor([[[EOS, NO_SLOT, 31]]])
    tokens = torch.cat((TOKENS, end), dim=1)
    with torch.no_grad():
        said, fair = (net(*inputs, tokens) for net in (model, without_weights(model, WEIGHTS)))
    assert torch.equal(fair.when, said.when)
    torch.testing.assert_close(fair.who.logsumexp(-1), said.who.logsumexp(-1))
    wanted = said.who.softmax(-1) / torch.tensor(WEIGHTS[:SOS], dtype=torch.float32)
    torch.testing.assert_close(fair.who.softmax(-1), wanted / wanted.sum(-1, keepdim=True))


def test_without_weights_nothing_changes():
    model = DST(PUBLISHED)
    assert without_weights(model, np.ones(N_ACTION_TOKENS)) is model
    before = model.heads.bias.clone()
    without_weights(model, WEIGHTS)
    assert torch.equal(model.heads.bias, before)
