"""Freezes Produce-23: renders every scene and writes src/crsdun/scenes/produce/hashes.json.

python benchmarks/produce_hashes.py

Only for a new version of the benchmark (``VERSION`` in rendering.py): the hashes of a published one never change.
"""

import json
from pathlib import Path

from crsdun.scenes.produce import dataset

frozen = {
    split: [dataset.scene_hash(dataset.render(split, index)) for index in range(count)]
    for split, count in dataset.SCENES.items()
}
Path(dataset.__file__).with_name("hashes.json").write_text(json.dumps(frozen, indent=0) + "\n", encoding="utf-8")
for split in dataset.SCENES:
    print(split, dataset.split_hash(split))
