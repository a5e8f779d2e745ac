"""What a run learns from. The sessions of a run agree in it, and weights on record belong to no other run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.networks import read_header, record_of_weights
from crsdun.provenance import fingerprint
from crsdun.training.config import TrainConfig, config_from, flat, plain
from crsdun.training.run_log import RECORD, read_record
from crsdun.typed import typed

# Keys that may change between two sessions of a run: none of them affects what is learnt.
# ``steps`` does, through the schedule, but a run may be prolonged or end earlier.
FREE = {"steps", "out", "data.source", "sampling.workers", "log_every", "checkpoint_every", "minutes"}


@dataclass(frozen=True)
class Origin:
    """What a run learns from.

    Attributes:
        config: of the run.
        data: fingerprint of each set of scenes, by its name.
        files: SHA-256 of what each other file holds that the configuration names, by its key (``files_of``).
    """

    config: TrainConfig
    data: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_weights(cls, path: Path) -> tuple[Origin, int]:
        """Of the run that wrote weights, and after how many steps.

        Raises:
            InputError: as ``read_header``, or their card does not say.
        """
        made = read_header(path).card.provenance
        try:
            data, files = (typed(dict[str, str], each, "data") for each in (made["data"], made.get("files", {})))
            return cls(config_from(made["recipe"]), data, files), int(made["step"])
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise InputError(f"{path} does not say how it was trained ({error})", "choose another out") from error

    @classmethod
    def of_run(cls, folder: Path) -> Origin:
        """Of the run in a folder, by its record.

        Raises:
            OSError: there is none.
            InputError: it is damaged.
        """
        record: Any = read_record(folder)
        data = {name: fingerprint(hashes) for name, hashes in record.get("data", {}).items()}
        return cls(config_from(record["config"]), data, record.get("files", {}))

    def check(self, now: Origin) -> None:
        """Raise an InputError that names the difference unless the run ``now`` may go on from this one."""
        folder, remedy = now.config.out, "start a new run with another out"
        before, after = self.recipe(), now.recipe()
        differences = [
            f"{key} was {before.get(key)!r}, now {after.get(key)!r}"
            for key in sorted(before.keys() | after.keys())
            if before.get(key) != after.get(key)
        ]
        if differences:
            raise InputError(
                f"{folder} is a run with another configuration: {'; '.join(differences)}",
                f"change it back, or {remedy}",
            )
        # In the order of their roles: ``data.source`` may have another name.
        if self.data != now.data and [*self.data.values()] != [*now.data.values()]:
            raise InputError(
                f"the scenes are not those that {folder} learnt from ({RECORD} lists their hashes)",
                f"restore them and what their .yaml said, or {remedy}",
            )
        for key, sha256 in self.files.items():  # earlier versions did not record them
            if now.files.get(key) != sha256:
                raise InputError(
                    f"{key}={after[key]} does not hold what {folder} began with ({RECORD} has its hash)",
                    f"restore it, or {remedy}",
                )

    def recipe(self) -> dict[str, Any]:
        """The keys that determine what is learnt, with dots, and their values."""
        return {key: value for key, value in flat(plain(self.config)) if key not in FREE}

    def digest(self) -> str:
        """One SHA-256 of all that counts."""
        facts = json.dumps([self.recipe(), self.data, self.files], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()


def files_of(config: TrainConfig) -> dict[str, str]:
    """SHA-256 of what the files hold that a configuration names besides those of its scenes, by the key that does."""
    files = {}
    exposure = config.camera.exposure()
    if isinstance(exposure.mask, np.ndarray):
        facts = json.dumps([exposure.mask.shape, str(exposure.mask.dtype), exposure.mask_wavelengths])
        files["camera.mask"] = hashlib.sha256(facts.encode() + exposure.mask.tobytes()).hexdigest()
    if config.network.weights is not None and (file := record_of_weights(config.network.weights)):
        files["network.weights"] = file["sha256"]
    return files
