"""The rows of an ablation study: what each is made of, and which of them a profile computes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from footpass.configs import Count, build, config_dataclass, read_toml
from footpass.experiments.profile import Profile, varied
from footpass.experiments.stages import Reading
from footpass.files import PROJECT, DataError
from footpass.models.losses import Weighting
from footpass.postprocess.search import Step

GRID = PROJECT / "notebooks" / "ablations.toml"


@config_dataclass
class Row:
    """One row of the study: what it is made of.

    Whatever is fitted on the truth of val is fitted on other matches than it is applied to.
    """

    name: str
    group: str = "rows"  # rows that belong together; a profile says which groups it computes
    model: Literal["taad", "gnn", "dst"] = "dst"  # whose events
    variant: str | None = None  # of the profile (`Profile.variants`) that all its models are of
    seed: Count | None = None  # the only one that it is made with; None: the grid's
    # Of the DST: whether it reads TAAD + GNN too, `losses.WEIGHTINGS`, and what it reads.
    fusion: Literal["none", "concat"] = "none"
    weighting: Weighting = "none"
    reads: Reading = "detectors"
    divide_weights: bool = False  # the class weights of training are divided out when it writes
    thresholds: bool = False  # of the scores, one a class
    steps: tuple[Step, ...] = ()  # of `footpass.postprocess`
    judge_unseen: bool = False  # whether these take it for evidence that a player is not in the picture
    ensemble: bool = False  # fusion by rule with the events of the plain DST
    members: tuple[str, ...] = ()  # and with those of these variants' DSTs
    # Re-scoring of its events, the members' and the detector's: learned (true), by calibrated scores
    # alone, or by these and the grammar of train matches.
    rescore: Literal[False, True, "scores", "grammar"] = False
    against: tuple[str, ...] = ()  # names of rows that it is compared with

    def __post_init__(self) -> None:
        of_dst = "fusion", "weighting", "reads", "divide_weights", "ensemble", "members"
        given = [name for name in of_dst if getattr(self, name) != getattr(Row, name)]
        if self.model != "dst" and given:
            raise DataError(f"row {self.name!r}: {given[0]} is of a DST, and its model is {self.model}")
        for wrong, reason in (
            (self.judge_unseen and not self.steps, "judge_unseen is of steps, and there are none"),
            (self.rescore and (self.thresholds or self.steps), "rescore: neither thresholds nor steps"),
            (
                self.divide_weights and (self.weighting == "none" or self.members),
                "divide_weights is of a weighted DST alone",
            ),
            (
                len({self.variant, *self.members}) <= len(self.members),
                "members: each is another variant, and none the row's own",
            ),
            (
                self.reads == "oracle" and self.fusion == "none",
                'reads = "oracle" is in place of the second detector: fusion = "concat"',
            ),
        ):
            if wrong:
                raise DataError(f"row {self.name!r}: {reason}")

    @property
    def fitted(self) -> bool:
        """Whether something is fitted on the truth of val."""
        by_rule = self.thresholds or self.steps or self.ensemble or self.members
        return bool(by_rule or self.rescore)


@config_dataclass
class Grid:
    """Rows, and the seeds that those of a DST and those of a detector are trained with."""

    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Count, ...], Field(min_length=1)]
    detector_seeds: Annotated[tuple[Count, ...], Field(min_length=1)] = (0,)
    # Rows of detectors that learn nothing, so that their first seed is as good as all.
    untrained: tuple[str, ...] = ()
    # Rows of detectors that learn what comes after common features alone: minutes, so all seeds.
    heads: tuple[str, ...] = ()

    def seeds_of(self, row: Row) -> tuple[int, ...]:
        """The seeds that a row is made with."""
        if row.seed is not None:
            return (row.seed,)
        if row.model == "dst" or row.name in self.heads:
            return self.seeds
        return self.detector_seeds[:1] if row.name in self.untrained else self.detector_seeds

    def jobs(self) -> Iterator[tuple[Row, int]]:
        """Every row with every one of its seeds, the first seed of all rows first."""
        for place in range(max(len(self.seeds), len(self.detector_seeds))):
            for row in self.rows:
                yield from ((row, seed) for seed in self.seeds_of(row)[place : place + 1])


def read_grid(path: str | Path) -> Grid:
    """A grid from a TOML file: ``seeds``, ``detector_seeds`` and a table ``rows`` of `Row`."""
    content = read_toml(path)
    try:
        grid = build(Grid, content)
    except DataError as error:
        raise error.at(path) from error
    names = [row.name for row in grid.rows]
    for row in grid.rows:
        if names.count(row.name) > 1:
            raise DataError(f"two rows are called {row.name!r}", path)
        for other in row.against:
            if other not in names:
                raise DataError(f"row {row.name!r} is compared with {other!r}, which is no row", path)
    return grid


def open_grid(path: str | Path | None, profile: Profile) -> Grid:
    """The grid of a file, by default the project's, with as many rows and seeds as the profile says."""
    path, asked = Path(path or GRID), profile.ablations
    grid = read_grid(path)
    groups = list(dict.fromkeys(row.group for row in grid.rows))
    # Another grid than the project's is as short as it ought to be.
    others = path.absolute() != GRID.absolute()
    wanted = groups if asked.groups is None or others else list(asked.groups)
    for group in wanted:
        if group not in groups:
            raise DataError(f"no rows {group!r} (ablations.groups): there are {', '.join(groups)}", path)
    rows = tuple(row for row in grid.rows if row.group in wanted)
    for row in rows:
        for variant in filter(None, (row.variant, *row.members)):
            if variant not in profile.variants:
                missing = f"row {row.name!r} is of variant {variant!r}, which profile {profile.name}"
                raise DataError(f"{missing} has not: add it, or leave out the group {row.group!r}", path)
    seeds, detector_seeds = grid.seeds[: asked.seeds], grid.detector_seeds[: asked.seeds]
    detectors = [row for row in rows if row.model != "dst"]
    untrained = tuple(row.name for row in detectors if not _learns(row, profile))
    heads = tuple(row.name for row in detectors if varied(profile, row.variant).features)
    return Grid(rows, seeds, detector_seeds, untrained, heads)


def _learns(row: Row, profile: Profile) -> bool:
    """Whether a detector's row is trained, or is a model of the zoo as it is."""
    own = varied(profile, row.variant)
    graph = own.gnn.train.epochs if row.model == "gnn" else 0
    return bool(own.taad.train.epochs or graph)
