#!/bin/sh
# Does socceraction accept an exported file?   tests/importers/socceraction_check.sh SPADL.csv [ENVIRONMENT]
# socceraction needs NumPy 1 and pandas 2, so it is asked in an environment of its own, made on first use.
set -e
environment=${2:-.socceraction}
[ -x "$environment/bin/python" ] || python3 -m venv "$environment"
"$environment/bin/python" -c "import socceraction.spadl" 2>/dev/null ||
  "$environment/bin/python" -m pip install -q "socceraction==1.5.3" "multimethod<2"  # newer ones break its pandera
"$environment/bin/python" -W ignore - "$1" <<'PYTHON'
import sys

import pandas as pd
from socceraction import atomic, spadl
from socceraction.spadl.schema import SPADLSchema
from socceraction.spadl.utils import play_left_to_right
from socceraction.vaep import features

actions = SPADLSchema.validate(pd.read_csv(sys.argv[1]))
for game, rows in actions.groupby("game_id"):
    turned = play_left_to_right(spadl.add_names(rows.reset_index(drop=True)), "home")
    states = features.gamestates(turned, 3)
    for feature in (features.actiontype_onehot, features.startlocation, features.endlocation, features.time):
        assert feature(states).notna().all(axis=None), feature.__name__
    atomic.spadl.convert_to_atomic(turned)
    shots = turned[turned["type_name"] == "shot"]
    print(f"{game}: {len(rows)} actions, {len(shots)} shots from x = {shots['start_x'].median():.0f} m (median)")
print("socceraction accepts it")
PYTHON
