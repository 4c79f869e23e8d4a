"""DST against the public model and `torch.nn.Transformer`; decoding against decoding without a cache."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from footpass.files import DataError
from footpass.models.dst import DST, DSTConfig
from footpass.models.losses import token_losses
from footpass.models.public import load_reference
from footpass.models.transformer import Written, _Linear
from footpass.schema import EOS, NO_SLOT, PAD, PAD_FRAME, SOS
from footpass.sequence.tokens import encode
from tests import golden
from tests.oracles.decode import PlainDST

GOLDEN = DSTConfig(
    window_length=40, width=32, heads=4, encoder_layers=2, decoder_layers=2, mask_memory=False
)
TINY = DSTConfig(window_length=30, width=16, heads=2, encoder_layers=2, decoder_layers=2, feedforward=32)
START = torch.tensor([[[SOS, NO_SLOT, 0]]])


def golden_example(reference) -> tuple[DST, Tensor, Tensor, dict]:
    model = DST(GOLDEN).eval()
    shapes = golden.read(reference, "dst_state_dict")["golden_state_dict"]
    load_reference(model, golden.filled(shapes), "public.pt")
    frames = torch.arange(1, 41).repeat(2, 1)
    frames[1, 30:] = PAD_FRAME
    return model, golden.wave((2, 40, 364), 0.017), frames, golden.read(reference, "dst_golden")


def pair(config: DSTConfig = TINY, seed: int = 0) -> tuple[DST, PlainDST]:
    """Ours and the plain one with the same weights: random, and lively enough to write and to stop."""
    torch.manual_seed(seed)
    plain, model = PlainDST(config).eval(), DST(config).eval()
    with torch.no_grad():
        for head in (plain.action_and_roleid_output_projection, plain.timestamp_output_projection):
            head.weight.mul_(4)
        plain.action_and_roleid_output_projection.bias[EOS] += 3.0
    load_reference(model, plain.state_dict(), "public.pt")
    return model, plain


def windows(config: DSTConfig = TINY, seed: int = 0, count: int = 3) -> tuple[Tensor, Tensor]:
    """Windows of full length, but the second of 20 frames."""
    rng = torch.Generator().manual_seed(seed)
    frames = torch.arange(1, config.window_length + 1).repeat(count, 1)
    frames[1, 20:] = PAD_FRAME
    return torch.randn(count, config.window_length, config.inputs, generator=rng), frames


def test_teacher_forced_logits_equal_the_public_model(reference):
    model, features, frames, wanted = golden_example(reference)
    events = [[cls, slot, frame] for frame, slot, cls in wanted["events_frame_slot_class"]]
    tokens = torch.tensor([[SOS, NO_SLOT, 0], *events]).expand(2, -1, -1)
    with torch.no_grad():
        logits = torch.cat(model(features, frames, tokens), dim=-1).transpose(1, 2)
    wanted = torch.tensor(wanted["teacher_forced"]["output"]).view(2, 79, 5)
    torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-5)


def test_autoregressive_steps_equal_the_public_model(reference):
    model, features, frames, wanted = golden_example(reference)
    wanted = wanted["autoregressive"]
    memory, tokens, past = model.memory(features, frames), START.expand(2, 1, 3), None
    steps = []
    for _ in range(wanted["max_tgt_len"]):
        logits, past = model.next_tokens(tokens, memory, past)
        steps.append([head.softmax(-1) for head in logits])
        tokens = torch.stack([head.argmax(-1) for head in logits], dim=-1)
    for name, heads in zip(("action", "role", "frame"), zip(*steps, strict=True), strict=True):
        ours = torch.cat(heads, dim=1)
        torch.testing.assert_close(ours.flatten(), torch.tensor(wanted[name]), rtol=0, atol=1e-5)


def test_published_size_takes_the_public_names(reference):
    public = golden.read(reference, "dst_state_dict")["state_dict"]
    assert {name: list(t.shape) for name, t in PlainDST(DSTConfig()).state_dict().items()} == public
    model = DST(DSTConfig())
    load_reference(model, {name: torch.zeros(shape) for name, shape in public.items()}, "public.pt")
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(45.5e6, rel=0.001)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["none", "concat", "concat3"]), st.booleans())
def test_logits_equal_torchs_transformer(seed, fusion, mask_memory):
    config = dataclasses.replace(TINY, fusion=fusion, mask_memory=mask_memory)
    model, plain = pair(config, seed)
    features, frames = windows(config, seed)
    tokens = torch.stack([torch.randint(0, n, (3, 5)) for n in (10, 27, 32)], dim=-1)
    with torch.no_grad():
        memory = plain.encode(features, frames)
        wanted = plain.logits(tokens, memory, frames == PAD_FRAME if mask_memory else None)
        ours = model(features, frames, tokens)
    for one, two in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_decoding_with_kept_keys_and_values_is_decoding_without(seed):
    model, plain = pair(seed=seed)
    features, frames = windows(seed=seed)
    wanted = plain.write(features, frames, max_events=9)
    for written, tokens in zip(model.write(features, frames, max_events=9), wanted, strict=True):
        assert written.tokens.tolist() == tokens.tolist()


def test_these_examples_write_short_long_and_empty_windows():
    """Else the test above would show little."""
    lengths = {
        len(w.tokens) for seed in range(12) for w in pair(seed=seed)[0].write(*windows(seed=seed), 9)
    }
    assert {0, 9} < lengths


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_windows_are_decoded_together_as_alone(seed):
    model, _ = pair(seed=seed)
    features, frames = windows(seed=seed)
    for beams in (1, 3):
        together = model.write(features, frames, 9, beams)
        for i, one in enumerate(together):
            alone = model.write(features[i : i + 1], frames[i : i + 1], 9, beams)[0]
            assert alone.tokens.equal(one.tokens)
            torch.testing.assert_close(alone.scores, one.scores)


def slow_beam_search(model: DST, features: Tensor, frames: Tensor, steps: int, beams: int) -> Written:
    """One window: all hypotheses as lists, every step computed from the start."""
    memory = model.memory(features, frames)
    open_or_done = [(0.0, [START[0, 0].tolist()], [], False)]  # total, tokens, scores, done
    for _ in range(steps + 1):
        grown = []
        for total, tokens, scores, done in open_or_done:
            if done:
                grown.append((total, tokens, scores, True))
                continue
            logits = model.next_tokens(torch.tensor([tokens]), memory)[0]
            action, slot, frame = (head[0, -1].log_softmax(-1).tolist() for head in logits)
            when = max(range(1, int(frames.max()) + 1), key=frame.__getitem__)
            for a in range(SOS):
                for s in range(NO_SLOT):
                    score = [*scores, np.exp(action[a])]
                    grown.append((total + action[a] + slot[s], [*tokens, [a, s, when]], score, False))
            grown.append((total + action[EOS] + slot[NO_SLOT], [*tokens, [EOS]], scores, True))
        open_or_done = sorted(grown, key=lambda h: -h[0] / (len(h[1]) - 1))[:beams]
    _, tokens, scores, done = open_or_done[0]
    tokens = tokens[1:-1] if done else tokens[1 : steps + 1]
    return Written(torch.tensor(tokens).view(-1, 3), torch.tensor(scores[:steps]))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 2, 4]))
@example(23, 4)  # the end, one step after the last event, decides
def test_beam_search_is_that_of_the_slow_loop(seed, beams):
    model, _ = pair(seed=seed)
    features, frames = windows(seed=seed)
    with torch.no_grad():
        wanted = slow_beam_search(model, features[1:2], frames[1:2], 4, beams)
    written = model.write(features, frames, max_events=4, beams=beams)[1]
    assert written.tokens.tolist() == wanted.tokens.tolist()
    torch.testing.assert_close(written.scores, wanted.scores.to(written.scores))


@pytest.mark.parametrize("rows", [1, 2, 4, 5])
@pytest.mark.parametrize("shape", [(-1, 6), (1, -1, 6)])
def test_few_rows_are_multiplied_like_many(rows, shape):
    torch.manual_seed(rows)
    layer, x = _Linear(6, 7), torch.randn(rows, 6).view(shape).requires_grad_()
    wanted = F.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), wanted)
    assert layer(x).is_contiguous()
    ours, theirs = (
        torch.autograd.grad(y.square().sum(), (x, *layer.parameters())) for y in (layer(x), wanted)
    )
    torch.testing.assert_close(ours, theirs)


def test_padded_frames_may_be_anything_when_masked():
    """The public decoder reads padded frames."""
    tokens = START.expand(3, 1, 3)
    for mask_memory in (True, False):
        model, _ = pair(dataclasses.replace(TINY, mask_memory=mask_memory))
        features, frames = windows()
        logits = model(features, frames, tokens).frame
        short = model(features[1:2, :20], frames[1:2, :20], tokens[:1]).frame
        assert torch.allclose(logits[1:2], short, atol=1e-5) == mask_memory
        features[1, 20:] = 99.0
        torch.testing.assert_close(model(features, frames, tokens).frame, logits)


def test_half_precision_stays_close():
    model, _ = pair()
    features, frames = windows()
    tokens = START.expand(3, 1, 3)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(features, frames, tokens)
        model.write(features, frames, max_events=3, beams=2)
    for one, two in zip(half, model(features, frames, tokens), strict=True):
        torch.testing.assert_close(one.float(), two, rtol=0, atol=0.2)


def test_padding_after_a_sentence_changes_nothing_before_it():
    model, _ = pair()
    features, frames = windows()
    tokens = torch.tensor([[SOS, NO_SLOT, 0], [1, 2, 3]]).expand(3, -1, -1)
    padded = torch.cat((tokens, torch.full((3, 4, 3), PAD)), dim=1)
    for one, two in zip(model(features, frames, tokens), model(features, frames, padded), strict=True):
        torch.testing.assert_close(one, two[:, :2])


def test_a_sentence_without_an_end_is_kept_and_longer_ones_go_on():
    """The public decoding stops at 25 events and drops windows that have not ended by then."""
    model, _ = pair()
    with torch.no_grad():
        model.heads.bias[EOS] = -100
    for n in (4, 40):
        for written in model.write(*windows(), max_events=n):
            assert written.tokens.shape == (n, 3)
            assert written.scores.shape == (n,)
            assert ((written.tokens >= 0) & (written.tokens < torch.tensor([SOS, NO_SLOT, 31]))).all()
            assert (written.tokens[:, 2] >= 1).all()


def test_no_event_is_written_into_the_padding():
    model, _ = pair()
    with torch.no_grad():
        model.heads.bias[EOS] = -100
        model.heads.bias[-11:] += 50  # the frames that the second window does not have
    first, second, _ = model.write(*windows(), max_events=5)
    assert (first.tokens[:, 2] > 20).all()
    assert second.tokens[:, 2].max() <= 20


def test_eight_windows_are_learnt_by_heart():
    """Training and decoding agree: tokens, the shift by one, masks, padding, two events at a frame."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    config = DSTConfig(32, "none", 48, 4, 1, 2, 96, dropout=0.0)
    model = DST(config)
    counts = [0, 1, 2, 3, 4, 5, 6, 7]
    events = [
        np.stack([rng.integers(100, 132, n), rng.integers(0, 26, n), rng.integers(1, 9, n)], axis=1)
        for n in counts
    ]
    events[7][1, 0] = events[7][0, 0]
    sentences = [encode(rows, start=100, length=32) for rows in events]
    tokens = pad_sequence([*map(torch.from_numpy, sentences)], True, PAD)
    features = torch.randn(8, 32, config.inputs)
    frames = torch.arange(1, 33).repeat(8, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        losses = token_losses(model(features, frames, tokens[:, :-1]), tokens[:, 1:])
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
    model.eval()
    for beams in (1, 3):
        written = model.write(features, frames, beams=beams)
        assert [w.tokens.tolist() for w in written] == [s[1:-1].tolist() for s in sentences]
        assert min(w.scores.min() for w in written[1:]) > 0.5


def test_a_new_decoder_hears_whole_what_it_looks_at():
    """So that a frame is copied as soon as it is found; of one frame alone, whatever asks."""
    for layer in DST(TINY).eval().decoder:
        frame = torch.randn(1, 1, TINY.width)
        with torch.no_grad():
            heard = layer.cross(torch.randn(1, 3, TINY.width), layer.cross.keys_values(frame))
            nothing = layer.cross(torch.randn(1, 3, TINY.width), layer.cross.keys_values(0 * frame))
        torch.testing.assert_close(heard - nothing, frame.expand(1, 3, -1))


def test_evidence_is_how_far_a_class_is_over_the_background():
    """Noise far below it is not heard, and it does not matter where a detector has its zero."""
    config = dataclasses.replace(TINY, reads="evidence")
    model, (features, frames) = DST(config).eval(), windows()
    state, logits = features.split((26 * 5, 26 * 9), dim=-1)
    logits = logits.unflatten(-1, (9, 26)).clone()
    logits[..., 0, :] = logits.amax(dim=-2) + 2  # the background is so far above all else
    louder = logits + torch.randn(*logits.shape[:2], 1, 26)
    silent, event = logits.clone(), logits.clone()
    silent[..., 1:, :] -= 100
    event[0, 7, 3, 5] = event[0, 7, 0, 5] + 1
    as_logits = [torch.cat((state, one.flatten(2)), dim=-1) for one in (logits, louder, silent, event)]
    with torch.no_grad():
        first, *others, last = (model.encode(one, frames)[0] for one in as_logits)
    for other in others:
        torch.testing.assert_close(other, first, rtol=0, atol=1e-5)
    assert (last[0] - first[0]).abs().max() > 1e-3
    torch.testing.assert_close(last[1:], first[1:])


def test_configs_that_cannot_be_are_errors():
    with pytest.raises(DataError, match=r"fusion = 'sum': .*\(none\|concat\|"):
        DSTConfig(fusion="sum")
    with pytest.raises(DataError, match=r"width 20 is not a multiple of 2 \* 8 heads"):
        DSTConfig(width=20)
    assert (DSTConfig().inputs, DSTConfig(fusion="concat").inputs) == (364, 598)


def test_a_checkpoint_of_another_size_is_one_clear_error():
    plain = PlainDST(TINY).state_dict()
    with pytest.raises(DataError, match=r"read\.weight is \(16, 364\), this model's is \(16, 598\)"):
        load_reference(DST(dataclasses.replace(TINY, fusion="concat")), plain, "public.pt")
    plain.pop("decoder_embedding.bias")
    with pytest.raises(DataError, match=r"no tensor 'decoder_embedding\.bias'"):
        load_reference(DST(TINY), plain, "public.pt")
