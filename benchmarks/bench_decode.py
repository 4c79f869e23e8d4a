"""Decoding with kept keys and values, against reading everything again at every step."""

from unittest.mock import patch

import torch

from benchmarks.harness import compare, main
from footpass.models.dst import DST, DSTConfig
from footpass.models.public import load_reference
from footpass.schema import EOS
from tests.oracles.decode import PlainDST

WINDOWS, EVENTS = 4, 25


@torch.no_grad()
def run() -> dict:
    """4 windows of 750 frames to 25 events each, published size; the encoder, once in both, apart."""
    torch.manual_seed(0)
    config = DSTConfig()
    plain, model = PlainDST(config).eval(), DST(config).eval()
    # An untrained model may stop at once; this one never does.
    plain.action_and_roleid_output_projection.bias[EOS] = -100.0
    load_reference(model, plain.state_dict(), "public.pt")
    features = torch.randn(WINDOWS, config.window_length, config.inputs)
    frames = torch.arange(1, config.window_length + 1).repeat(WINDOWS, 1)
    encoded, padded = model.encode(features, frames)

    def fast() -> list[list]:
        with patch.object(model, "encode", lambda *_: (encoded, padded)):
            return [window.tokens.tolist() for window in model.write(features, frames, EVENTS)]

    return compare(
        "decode",
        f"{WINDOWS} windows x {config.window_length} frames x {EVENTS} events, published size, "
        "without encoder",
        fast,
        plain=lambda: [tokens.tolist() for tokens in plain.write_from(encoded, frames, EVENTS)],
        target=8,
        repeats=3,
    )


if __name__ == "__main__":
    main(run)
