"""Line-ups for event scripts that come without one, such as the real play-by-play."""

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from footpass.files import DataError
from footpass.schema import ACTIONS, N_TEAMS, Role
from footpass.simulate.events import FORMATIONS, ROLE_WEIGHTS
from footpass.simulate.motion import N_PLACES


def infer_lineup(script: pd.DataFrame, frames: range, rng: np.random.Generator) -> pd.DataFrame:
    """Line-up that an event table of a half allows for, when nobody says who played where.

    Who never acts with eleven others about is a substitute; roles are those that make what each
    player does likeliest.
    """
    stints = []
    weights = np.array([ROLE_WEIGHTS[role] for role in Role], float) + 0.01
    weights /= weights.sum(axis=0)
    for team in range(N_TEAMS):
        mine = script[script["team"] == team]
        spans = mine.groupby("jersey")["frame"].agg(["min", "max"]).sort_values(["min", "max"])
        spare = [jersey for jersey in range(1, 100) if jersey not in spans.index]
        missing = max(N_PLACES - len(spans), 0)
        places = [[(frames.stop, jersey)] for jersey in spare[:missing]]  # they never act
        for jersey, (came, went) in spans.iterrows():
            if len(places) < N_PLACES:
                places.append([(went, jersey)])
                continue
            place = min(places, key=lambda held: held[-1][0])
            if place[-1][0] >= came:
                raise DataError(f"the script has a 12th player of team {team} at frame {came}")
            # He comes on between the last act of the one and his own first.
            place[-1] = ((place[-1][0] + came + 1) // 2, place[-1][1])
            place.append((went, jersey))
        counts = np.zeros((N_PLACES, len(ACTIONS)))
        for count, held in zip(counts, places, strict=True):
            acts = mine["cls"][mine["jersey"].isin([jersey for _, jersey in held])]
            count += np.bincount(acts, minlength=len(ACTIONS) + 1)[1:]
        roles = [Role[name] for name in FORMATIONS[rng.choice(list(FORMATIONS))].split()]
        likely = weights[np.array(roles) - 1]  # (roles, classes)
        fit = counts @ np.log(likely).T - likely.sum(axis=1) * counts.sum() / len(ACTIONS) / N_PLACES
        fit[[any(jersey == 1 for _, jersey in held) for held in places], roles.index(Role.GK)] += 1e3
        for held, role in zip(places, linear_sum_assignment(-fit)[1], strict=True):
            starts = [frames.start] + [stop for stop, _ in held[:-1]]
            stops = [*starts[1:], frames.stop]
            for (_, jersey), start, stop in zip(held, starts, stops, strict=True):
                stints.append((team, jersey, int(roles[role]), start, stop))
    return pd.DataFrame(stints, columns=["team", "jersey", "role", "start", "stop"])
