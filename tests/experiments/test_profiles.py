"""Profiles: the project's files hold what was published, a user's own are checked."""

import json
import tomllib
from dataclasses import replace
from functools import reduce

import pytest

from footpass.configs import PROFILES, override, profile_name
from footpass.detectors.clips import ClipConfig
from footpass.ensemble.config import Boosting, RescoreConfig
from footpass.experiments.profile import SeasonSize, load_profile, varied
from footpass.experiments.settings import FOLDER, finds_data, notebook_settings
from footpass.files import DataError
from footpass.models.dst import DSTConfig
from footpass.models.player_dst import PlayerDSTConfig
from footpass.models.x3d import X3DConfig
from footpass.sequence.recipes import DSTRecipe
from footpass.sequence.windows import WindowConfig
from footpass.training.config import TrainConfig
from footpass.training.loop import micro_batches


def test_every_profile_has_its_file_and_begins_with_what_it_is():
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(PROFILES)
    for name in PROFILES:
        assert load_profile(name).name == name
        assert load_profile(name).notebooks == notebook_settings(name)
        assert load_profile(name).find_data == finds_data(name)
        assert (FOLDER / f"{name}.toml").read_text(encoding="utf-8").startswith(f"# {name}: ")


def test_the_study_keeps_its_values():
    """Hours of training and watching are made with them."""
    study = load_profile("study")
    assert study.season == SeasonSize(train=6, val=44, minutes=15.0, held_out=3, highlights=48)
    assert study.taad.model.x3d == study.gnn.model.x3d == X3DConfig(8, (8, 32, 48, 64), (1, 3, 3, 1))
    assert study.taad.clips == ClipConfig(16, (176, 320), 1, 14, others=8, per_class=150)
    assert study.gnn.clips == replace(study.taad.clips, others=25)
    assert (study.taad.background, study.gnn.background) == (0.25, 0.12)
    assert study.taad.train.epochs == 22 and study.gnn.train.lr == {"": 2e-3, "features.": 4e-4}
    assert study.dst.model == PlayerDSTConfig(player=32, width=128, feedforward=256, forget=0.0)
    assert study.dst.pretraining.train.milestones == (5, 7)
    assert study.rescore == RescoreConfig()
    assert study.ablations.rescore == RescoreConfig(24, repeats=1, stages=1, boosting=Boosting(8000, 60))
    assert study.play_by_play.weighting == "sqrt" and study.play_by_play.train.decay == 0.3


def published_table() -> list[list[str]]:
    """Rows of the table in the profile ``paper``: setting, published, ours, why it differs."""
    lines = (FOLDER / "paper.toml").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line[1:].split("|")] for line in lines if line.count(" |") == 3]
    assert rows[0] == ["setting", "published", "ours", "why it differs"]
    return rows[1:]


@pytest.mark.parametrize("row", published_table(), ids=lambda row: row[0])
def test_the_paper_profile_has_the_published_settings(row):
    """As its table has them, of a variant after its name; each difference has a reason."""
    setting, published, ours, reason = row
    variant, _, setting = setting.rpartition(": ")
    value = reduce(getattr, setting.split("."), varied(load_profile("paper"), variant or None))
    assert json.loads(json.dumps(value)) == tomllib.loads(f"value = {ours}")["value"]
    assert bool(reason) == (published != ours)


def test_the_paper_profile_takes_the_published_steps():
    """192,000 windows in 2,000 steps; 4,800 random clips beside those of events."""
    paper, halves = load_profile("paper"), 96
    assert paper.dst.model == DSTConfig() and paper.season is None and paper.play_by_play is None
    assert paper.taad.clips == ClipConfig() and paper.gnn.clips.random_per_half * halves == 4_800
    windows = paper.dst.windows.per_half * halves
    assert windows == 192_000
    assert sum(micro.last for micro in micro_batches(windows, paper.dst.train, epoch=0)) == 2_000
    assert (1 - paper.gnn.background) / paper.gnn.background == pytest.approx(20, rel=1e-4)


def test_a_file_of_ones_own_says_only_what_differs(tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    path.write_text(
        'base = "demo"\n[taad.train]\nbatch = 4\nlr = { "" = 1e-4 }\n[notebooks]\ndst_seeds = 2'
    )
    mine, demo = load_profile(str(path)), load_profile("demo")
    train = replace(demo.taad.train, batch=4, lr={"": 1e-4})
    settings = replace(demo.notebooks, dst_seeds=2)
    taad = replace(demo.taad, train=train)
    assert mine == replace(demo, name="mine", taad=taad, notebooks=settings)
    monkeypatch.setenv("FOOTPASS_PROFILE", str(path))
    assert load_profile() == mine and profile_name() == "mine"


def test_a_variant_changes_what_it_says_and_no_more(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'base = "demo"\n[variants]\n'
        'plain.dst = { model = { kind = "DST" }, windows = {}, train = { epochs = 2 } }\n'
        'fast.taad.train = { epochs = 2, lr = { "features." = 1e-4 } }\nfast.gnn.gammas = [[0, 2.0]]'
    )
    mine = load_profile(str(path))
    fast, plain = varied(mine, "fast"), varied(mine, "plain")
    train = replace(mine.taad.train, epochs=2, lr={**mine.taad.train.lr, "features.": 1e-4})
    taad, gnn = replace(mine.taad, train=train), replace(mine.gnn, gammas=((0, 2.0),))
    assert fast == replace(mine, taad=taad, gnn=gnn)
    dst = DSTRecipe(DSTConfig(), WindowConfig(), TrainConfig(epochs=2))
    assert plain == replace(mine, dst=dst, start=("taad", "gnn"))  # the zoo's DSTs are of another kind
    assert varied(mine, None) is mine and load_profile("demo").variants == {}
    with pytest.raises(DataError, match="profile mine has no variant 'slow'; it has plain, fast"):
        varied(mine, "slow")
    with pytest.raises(DataError, match="profile demo has no variant 'A'; it has none"):
        varied(load_profile("demo"), "A")


def test_a_variant_may_go_on_from_another(tmp_path):
    path = tmp_path / "mine.toml"
    text = 'base = "smoke"\n[variants.wide]\nbase = "A"\ndst.model.width = 48\n'
    path.write_text(text)
    mine = load_profile(str(path))
    one, wide = varied(mine, "A").dst, varied(mine, "wide").dst
    assert wide == replace(one, model=replace(one.model, width=48))
    for wrong in ('[variants.far]\nbase = "wide"', "[variants.far]\nbase = 3"):
        path.write_text(text + wrong)
        with pytest.raises(DataError, match="variant far: base = .*: none of transformer, A, B"):
            load_profile(str(path))


def test_a_variant_is_laid_over_a_profile_as_it_has_become():
    profile = load_profile("smoke")
    changed = replace(profile, taad=replace(profile.taad, background=0.5))
    taad = varied(changed, "transformer").taad
    assert (taad.background, taad.model.temporal) == (0.5, "transformer")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base = ", "mine.toml: not TOML: Invalid value"),
        ('base = "dmo"', "base = 'dmo': none of smoke"),
        ("", "Profile.taad: Field required"),
        ('base = "demo"\n[taad.train]\nbatsh = 4', "mine.toml.*Profile.taad.train.batsh: no such field"),
        (
            'base = "demo"\n[taad.train]\nbatch = "4"',
            "taad.train.batch = '4': Input should be a valid integer",
        ),
        ('base = "demo"\n[taad]\ntrain = 4', "taad.train = 4: Input should be an object"),
        ('base = "demo"\n[dst.model]\nkind = "GRU"', "kind = 'GRU': one of DST, PlayerDST"),
        ('base = "demo"\n[dst.model]\nkind = "DST"', "Profile.dst.windows: Field required"),
        ('base = "demo"\n[season]\ntrian = 2', "season.trian: no such field"),
        (
            'base = "demo"\n[variants.B.dst.model]\nwidht = 2',
            "mine.toml.*variant B: Profile.dst.model: PlayerDSTConfig.widht: no such field",
        ),
        ('base = "demo"\nstart = ["tad"]', "Profile.start"),
        ('base = "demo"\n[variants]\nB = 2', "variants.B = 2: Input should be an object"),
    ],
)
def test_mistakes_in_a_profile_are_named(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_profile(str(path))


def test_a_profile_that_is_not_there_is_named():
    with pytest.raises(DataError, match=r"'nowhere.toml' is none of smoke, demo, study, paper"):
        load_profile("nowhere.toml")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("gnn.gammas=[[2, -1.0]]", "-1.0: Input should be greater than or equal to 0"),
        ("gnn.model.head=7", "7: Input should be a multiple of 2"),
        ("taad.model.transformer.heads=3", "width 256 is not a multiple of 3 heads"),
        ("dst.weighting=square", "'square': String should match pattern"),
        ("dst.windows.sparse=true", "a PlayerDST reads whole windows"),
        ("dst.windows.short_epochs=1", "a PlayerDST reads whole windows"),
        ("dst.model.min_probability=0.0", "0.0: Input should be greater than 0"),
    ],
)
def test_what_cannot_be_trained_or_used_is_refused_at_once(setting, message):
    with pytest.raises(DataError, match=message):
        override(load_profile("smoke"), setting)
