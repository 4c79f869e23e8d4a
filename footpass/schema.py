"""The vocabulary of FOOTPASS: classes, roles, slots, columns and file rows, each written once.

The order of the class ids is the official evaluator's. (The public README's table swaps
throw-in, shot and header; scoring with that order turns the released DST file's macro F1
from 0.493 into 0.302.)
"""

from enum import IntEnum


class Action(IntEnum):
    """Class of an event; 0 means that nothing happens."""

    BACKGROUND = 0
    DRIVE = 1
    PASS = 2
    CROSS = 3
    THROW_IN = 4
    SHOT = 5
    HEADER = 6
    TACKLE = 7
    BLOCK = 8

    @property
    def label(self) -> str:
        """Name for people and for files: ``Action.THROW_IN.label == "throw-in"``."""
        return self.name.lower().replace("_", "-")


ACTIONS = tuple(Action)[1:]  # the eight classes that are predicted and scored
ACTION_LABELS = tuple(action.label for action in ACTIONS)


class Role(IntEnum):
    """Tactical role of a player, as in column ``role_id`` of the tactical data."""

    GK = 1
    LB = 2
    LCB = 3
    MCB = 4
    RCB = 5
    LM = 6
    RM = 7
    DM = 8
    AM = 9
    LW = 10
    RW = 11
    CF = 12
    RB = 13


FPS = 25
N_TEAMS = 2  # 0 attacks from the left, 1 from the right
N_ROLES = len(Role)
N_SLOTS = N_TEAMS * N_ROLES
N_CLASSES = len(Action)


def slot(team: int, role: int) -> int:
    """Slot 0..25 of a role (1..13) in a team (0 or 1); works on arrays too."""
    return N_ROLES * team + (role - 1)


# Rows of the play-by-play JSON files, and the columns of an event table.
EVENT_COLUMNS = ("frame", "team", "jersey", "cls")
GROUND_TRUTH_COLUMNS = (*EVENT_COLUMNS, "box_visible", "replay")
PREDICTION_COLUMNS = (*EVENT_COLUMNS, "score")

# The official evaluator's settings.
TOLERANCE = 12  # frames
SCORE_THRESHOLD = 0.15
