"""What the grammar of matches is worth to lists of events: ``python -m benchmarks.grammar``.

Three systems of the public release are decoded with it, each held out: the DST by itself, its scores
calibrated on the other matches; DST and TAAD, likewise; and learned re-scoring of both. How strongly
the transitions count, and whether impossible ones are forbidden, is chosen on simulated detections:
those of the other val matches, pasted onto train matches that neither re-scoring nor the grammar has
learned from.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from footpass.crossfit import cut
from footpass.data.statistics import derive
from footpass.ensemble import chain, rescore
from footpass.events import concat, halves_of, match_of, select_halves
from footpass.experiments.profile import load_profile
from footpass.experiments.release import load_release
from footpass.metrics import Evaluation, compare, evaluate
from footpass.postprocess.grammar import decode, legal, legal_events, log_ratios
from footpass.schema import Action
from footpass.simulate.copy_paste import cut_snippets, paste

HELD_OUT = 12  # train matches that detections are simulated for
SETTINGS = list(product((0.0, 0.1, 0.2, 0.4, 0.7, 1.0), (False, True)))  # strength, forbidding


@dataclass(frozen=True)
class Candidates:
    """Of a match or more: events and how much speaks for each, and what expected F1 keeps of them."""

    events: pd.DataFrame
    log_odds: np.ndarray
    kept: pd.DataFrame

    def decoded(self, transitions: np.ndarray) -> pd.DataFrame:
        return self.events[decode(self.events, self.log_odds, transitions)].reset_index(drop=True)


def same_team_throw_ins(events: pd.DataFrame) -> float:
    """Share of throw-ins that follow an event of their own team: 1.2 % in train, NaN of none.

    The other team has put the ball out; a half's first event follows nothing.
    """
    events = events.sort_values(["half", "frame", "team", "jersey", "cls"], kind="stable")
    before = events[["half", "team"]].shift()
    throw_ins = (events["cls"] == Action.THROW_IN) & (events["half"] == before["half"])
    return float((events["team"] == before["team"])[throw_ins].mean())


def propose(model: chain.Chain | rescore.Rescorer, tables: Sequence[pd.DataFrame]) -> Candidates:
    """What a fitted system makes of predictions."""
    module: Any = chain if isinstance(model, chain.Chain) else rescore
    weighed = *module.probabilities(model, tables), np.array(model.recall)
    return Candidates(*chain.weighed(*weighed), rescore.choose(*weighed))


def measure(
    models: Mapping[str, Any],
    tables: Sequence[pd.DataFrame],
    val: pd.DataFrame,
    train: pd.DataFrame,
    unseen: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Events without grammar, and with the setting that is best on other matches than the scored one.

    Prints every setting: its mean on the simulated matches, and what it has on val.
    """
    prior = {"real": _prior(concat([train, unseen])), "simulated": _prior(train)}
    kept, decoded, on_val, on_simulated = {}, {}, {}, {}
    for match, model in models.items():
        halves = [half for half in halves_of(val) if match_of(half) == match]
        own, true = [cut(table, halves) for table in tables], select_halves(val, halves)
        found = propose(model, own)
        kept[match], decoded[match] = found.kept, [found.decoded(t) for t in prior["real"]]
        on_val[match] = [evaluate(events, true).macro_f1 for events in decoded[match]]
        pasted = paste(cut_snippets(true, own), unseen, np.random.default_rng(0))
        found = propose(model, pasted)
        on_simulated[match] = [evaluate(found.decoded(t), unseen).macro_f1 for t in prior["simulated"]]
    print("| strength | forbidding | macro F1, simulated | macro F1, val | illegal throw-ins, val |")
    print("| --- | --- | --- | --- | --- |")
    for k, (strength, forbidding) in enumerate(SETTINGS):
        table = concat([by_setting[k] for by_setting in decoded.values()])
        mean = np.mean([scores[k] for scores in on_simulated.values()])
        figures = f"{evaluate(table, val).macro_f1:.4f} | {same_team_throw_ins(table):.1%}"
        print(f"| {strength} | {'yes' if forbidding else 'no'} | {mean:.4f} | {figures} |", flush=True)
    result = {"without": concat(list(kept.values()))}
    hard = np.array([forbidding for _, forbidding in SETTINGS])
    for name, scores, allowed in (
        ("chosen on simulated matches", on_simulated, hard | ~hard),
        ("chosen on the other val matches", on_val, hard | ~hard),
        ("forbidding, chosen on simulated matches", on_simulated, hard),
    ):
        best = {}
        for match in decoded:
            mean = np.mean([scores[other] for other in scores if other != match], axis=0)
            best[match] = int(np.argmax(np.where(allowed, mean, -1)))
        print(f"{name}: {', '.join(f'{match} {SETTINGS[k]}' for match, k in best.items())}")
        result[name] = concat([decoded[match][k] for match, k in best.items()])
    return result


def _prior(truth: pd.DataFrame) -> list[np.ndarray]:
    """Transitions of every setting."""
    ratios, allowed = log_ratios(truth), legal(derive(truth).transitions)[..., None]
    return [np.where(allowed | (not hard), strength * ratios, -np.inf) for strength, hard in SETTINGS]


def report(name: str, systems: Mapping[str, pd.DataFrame], val: pd.DataFrame) -> None:
    """Print a row for each table of events, and what it gains over the first."""
    results: dict[str, Evaluation] = {kind: evaluate(table, val) for kind, table in systems.items()}
    found = compare(results)
    for kind, table in systems.items():
        counts, gain = results[kind].counts, found.gains.get(kind)
        change = f"{gain.value:+.4f} ({gain.low:+.3f} to {gain.high:+.3f})" if gain else ""
        figures = f"{counts.macro_f1:.4f} | {change} | {counts.micro['f1']:.4f}"
        throw_ins = f"{counts.f1[Action.THROW_IN - 1]:.3f} | {same_team_throw_ins(table):.1%}"
        print(f"| {name}, {kind} | {figures} | {throw_ins} | {len(table)} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--release", help="a clone of the public repository (FOOTPASS_RELEASE)")
    parser.add_argument("--profile", default="study", help="whose re-scoring (%(default)s)")
    parser.add_argument("--cache", default="runs/cache", help="fitted re-scoring (%(default)s)")
    args = parser.parse_args(arguments)
    release = load_release(args.release)
    print(f"{release.source}, {release.systems}")
    val, inputs = release.val, {name: release.predictions[name] for name in ("DST", "TAAD")}
    matches = sorted({match_of(half) for half in halves_of(release.train)})
    chosen = set(np.random.default_rng(0).permutation(matches)[:HELD_OUT])
    halves = halves_of(release.train)
    train, unseen = (
        select_halves(release.train, [half for half in halves if (match_of(half) in chosen) == out])
        for out in (False, True)
    )
    measured = {f"{name} as released": {"without": table} for name, table in inputs.items()}
    known = val, train, unseen
    for name, part in (("DST calibrated", {"DST": inputs["DST"]}), ("both calibrated", inputs)):
        models = chain.chain_lomo(part, val, train).models
        measured[name] = measure(models, list(part.values()), *known)
    config = load_profile(args.profile).rescore
    models = rescore.rescore_lomo(inputs, val, train, config, cache_dir=args.cache).models
    measured["re-scoring"] = measure(models, list(inputs.values()), *known)
    print("| events | macro F1 | gain, 90 % interval | micro F1 | throw-in F1 | illegal | events |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, systems in measured.items():
        report(name, systems | {"legal events": legal_events(systems["without"])}, val)


if __name__ == "__main__":
    main()
