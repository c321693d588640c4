"""Everything that changes while a network is trained, and the checkpoint file that holds it."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeml.core.atomic import atomic_write
from edgeml.core.errors import EdgeMLError, UsageError

if TYPE_CHECKING:
    import torch
    from torch.optim.lr_scheduler import LRScheduler
    from torch.optim.swa_utils import AveragedModel

_FORMAT = 1


@dataclass(kw_only=True)
class TrainingState:
    """What a run has reached.

    Attributes:
        module: the network.
        average: the moving average of its weights.
        optimizer: with its moments.
        schedule: with its step.
        epoch: epochs done.
        history: one dict of metrics an epoch.
    """

    module: torch.nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def save_checkpoint(state: TrainingState, path: Path, identity: dict[str, Any]) -> None:
    """Write the state, whole or not at all.

    No random number generator is saved: each epoch seeds its own from the run's seed and its number.

    Args:
        state: what the run has reached.
        path: the file.
        identity: plain values that a run resumed from it must share.

    Raises:
        EdgeMLError: the file could not be written.
    """
    import torch

    content = {
        "format": _FORMAT,
        "identity": json.dumps(identity),
        "epoch": state.epoch,
        "history": json.dumps(state.history),
        "model": state.module.state_dict(),
        "model_ema": state.average.module.state_dict(),
        "ema_updates": int(state.average.n_averaged),
        "optimizer": state.optimizer.state_dict(),
        "schedule": state.schedule.state_dict(),
    }
    with atomic_write(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # torch's archive writer reports a full disk so
            raise EdgeMLError(f"cannot write {path}: {str(error).splitlines()[0]}") from error


def load_checkpoint(state: TrainingState, path: Path, identity: dict[str, Any]) -> None:
    """Bring `state` to what the checkpoint holds.

    Raises:
        UsageError: the file is no checkpoint of edgeml, or of a run with another network, data or recipe.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != _FORMAT:
            raise UsageError(f"{path} has the checkpoint format {content['format']}; this edgeml reads {_FORMAT}")
        _check_identity(json.loads(content["identity"]), identity, path)
        state.module.load_state_dict(content["model"])
        state.average.module.load_state_dict(content["model_ema"])
        state.average.n_averaged.fill_(content["ema_updates"])
        state.optimizer.load_state_dict(content["optimizer"])
        state.schedule.load_state_dict(content["schedule"])
        state.epoch = int(content["epoch"])
        state.history = json.loads(content["history"])
    except (
        OSError,
        RuntimeError,
        EOFError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        pickle.PickleError,
    ) as error:
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise UsageError(f"{path} is not a checkpoint that training can be resumed from: {reason}") from error


def _check_identity(found: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    for key, value in expected.items():
        if found.get(key) != value:
            raise UsageError(
                f"{path} belongs to a run with {key} {found.get(key)!r}, this one has {value!r}; "
                "resume with the same settings, or name another output directory"
            )
