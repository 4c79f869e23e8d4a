"""The vocabulary of FOOTPASS: classes, roles, slots, columns, mirrors, each written once.

The order of the class ids is the official evaluator's. (The public README's table swaps
throw-in, shot and header; scoring with that order turns the released DST file's macro F1
from 0.493 into 0.302.)
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np


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


SPLITS = ("train", "val", "challenge")
FPS = 25
PITCH = (105.0, 68.0)  # length, width in metres; the files have positions as fractions of it
FULL_HD = (1080, 1920)  # height, width of the picture that the boxes of the files refer to
MODEL_SIZE = (352, 640)  # height, width of the pictures that the models see
N_TEAMS = 2  # 0 attacks from the left, 1 from the right
N_ROLES = len(Role)
N_SLOTS = N_TEAMS * N_ROLES
N_CLASSES = len(Action)


Number = TypeVar("Number", int, np.ndarray)


def slot(team: Any, role: Number) -> Number:
    """Slot 0..25 of a role (1..13) in a team (0 or 1); works on arrays too."""
    return N_ROLES * team + (role - 1)


@dataclass(frozen=True)
class Mirror:
    """A symmetry of the pitch, to be applied to positions, velocities, slots and labels alike.

    ``flip_x`` is x -> 1-x and vx -> -vx, ``flip_y`` likewise. Every mirror undoes itself.
    """

    flip_x: bool
    flip_y: bool

    def role(self, role: int) -> Role:
        """Role that a role becomes: left and right change places unless both axes are flipped."""
        role = Role(role)
        return role if self.flip_x and self.flip_y else _OTHER_SIDE.get(role, role)

    @property
    def slots(self) -> tuple[int, ...]:
        """Slot that each slot 0..25 becomes: ``mirrored = array[..., mirror.slots, :]``."""
        teams = (1, 0) if self.flip_x else (0, 1)  # who came from the left comes from the right
        return tuple(slot(team, self.role(role)) for team in teams for role in Role)

    def state(self, state: np.ndarray) -> np.ndarray:
        """``(5, 26, T)`` game state on the mirrored pitch: positions, velocities and slots together."""
        state = state[:, np.asarray(self.slots)]  # a copy
        for flip, place, speed in ((self.flip_x, State.X, State.VX), (self.flip_y, State.Y, State.VY)):
            if flip:
                state[place] = 1 - state[place]
                state[speed] = -state[speed]
        return state


_PAIRS = ((Role.LB, Role.RB), (Role.LCB, Role.RCB), (Role.LM, Role.RM), (Role.LW, Role.RW))
_OTHER_SIDE = {a: b for left, right in _PAIRS for a, b in ((left, right), (right, left))}
MIRRORS = {"X": Mirror(True, False), "Y": Mirror(False, True), "XY": Mirror(True, True)}


class Tactical(IntEnum):
    """Columns of the tactical HDF5 files, float32, one row per player and frame."""

    FRAME = 0  # absolute in the match's video
    PLAYER_ID = 1  # 1xx left squad, 2xx right squad
    TEAM = 2
    JERSEY = 3  # may be NaN
    ROLE = 4
    X = 5  # pitch, about 0..1
    Y = 6
    VX = 7
    VY = 8
    BOX_X = 9  # top-left corner and size, pixels of FULL_HD; NaN where the player has no box
    BOX_Y = 10
    BOX_WIDTH = 11
    BOX_HEIGHT = 12
    LABEL = 13  # class of the event whose anchor is this frame; challenge files lack this column


class State(IntEnum):
    """Components of the game state of a slot at a frame."""

    X = 0
    Y = 1
    VX = 2
    VY = 3
    VISIBLE = 4  # 1 where the player has a box


N_STATE = N_SLOTS * len(State)  # numbers of the game state among a frame's features


class Node(IntEnum):
    """Features of a slot at a frame that the graph model reads beside the pixels."""

    TEAM = 0
    X = 1
    Y = 2
    VX = 3
    VY = 4


class Token(IntEnum):
    """Components of a decoder token: one event of a window, or the start or the end of its sequence."""

    ACTION = 0  # class id - 1, SOS or EOS
    SLOT = 1  # 0..25, NO_SLOT at the start and the end
    FRAME = 2  # 1 is the window's first frame; 0 at the start, one past the longest window at the end


SOS, EOS = len(ACTIONS), len(ACTIONS) + 1
N_ACTION_TOKENS = len(ACTIONS) + 2
NO_SLOT = N_SLOTS
N_SLOT_TOKENS = N_SLOTS + 1
PAD = -100  # fills up a batch of sequences; what `torch.nn.functional.cross_entropy` ignores

# Rows of the play-by-play JSON files, and the columns of an event table.
EVENT_COLUMNS = ("frame", "team", "jersey", "cls")
GROUND_TRUTH_COLUMNS = (*EVENT_COLUMNS, "box_visible", "replay")
PREDICTION_COLUMNS = (*EVENT_COLUMNS, "score")

# What a column of rows may hold, both ends included.
RANGES = {
    "frame": (0, 2**24 - 1),  # float32 counts no further
    "team": (0, N_TEAMS - 1),
    "role": (1, N_ROLES),
    "jersey": (-1, 999),  # the public scripts write -1 for one that is not known
    "label": (0, max(Action).value),
    "cls": (min(ACTIONS).value, max(ACTIONS).value),
    "box_visible": (0, 1),
    "replay": (0, 1),
    "score": (0, 1),
}


# The official evaluator's settings.
TOLERANCE = 12  # frames
SCORE_THRESHOLD = 0.15
MISSING = -15.0  # state of an empty slot, as in the published model
PAD_FRAME = -1  # number of a frame that only fills up a batch


def counted(n: int, noun: str) -> str:
    """A number with its noun: ``1 half``, ``1,200 halves``."""
    ending = "es" if noun.endswith(("ch", "s")) else "s"
    several = f"{noun[:-1]}ves" if noun.endswith("lf") else noun + ending
    return f"{n:,} {noun if n == 1 else several}"
