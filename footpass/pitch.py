"""The markings of a football pitch."""

import itertools

import numpy as np

from footpass.schema import PITCH


def markings() -> list[np.ndarray]:
    """Pitch markings as polylines (n, 3) in metres, in steps short enough to be cut anywhere."""
    length, width = PITCH
    middle = width / 2
    turn = np.linspace(0, 2 * np.pi, 60)
    corners = [[(0, 0), (length, 0), (length, width), (0, width), (0, 0)]]
    corners.append([(length / 2, 0), (length / 2, width)])
    arcs = [np.column_stack([length / 2 + 9.15 * np.cos(turn), middle + 9.15 * np.sin(turn)])]
    for goal, inwards in ((0.0, 1), (length, -1)):
        for depth, half in ((16.5, 20.16), (5.5, 9.16)):  # penalty area and goal area
            x, low, high = goal + inwards * depth, middle - half, middle + half
            corners.append([(goal, low), (x, low), (x, high), (goal, high)])
        bow = np.linspace(-0.926, 0.926, 20)  # the part of the circle outside the penalty area
        arcs.append(
            np.column_stack([goal + inwards * (11 + 9.15 * np.cos(bow)), middle + 9.15 * np.sin(bow)])
        )
        arcs.append(np.array([[goal + inwards * 11, middle], [goal + inwards * 11.2, middle]]))
    for line in corners:
        pieces = [np.linspace(a, b, 13) for a, b in itertools.pairwise(line)]
        arcs.append(np.concatenate(pieces))
    return [np.column_stack([line, np.zeros(len(line))]) for line in arcs]
