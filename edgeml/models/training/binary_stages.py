"""The two stages of training a binary network: signs for inputs first, then for weights as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeml.models.training.recipe import Recipe

if TYPE_CHECKING:
    from edgeml.models.training.state import TrainingState


def enter_stage(state: TrainingState, recipe: Recipe) -> None:
    """Prepare the network and its average for the epoch that comes next; networks without binary layers are left alone.

    It depends on the epoch's number alone, so that a resumed run takes the same steps.
    """
    from edgeml.models.binary.layers import binary_layers, set_binarize_weights

    for module in (state.module, state.average.module):
        set_binarize_weights(module, state.epoch >= recipe.real_weight_epochs)
        if state.epoch == recipe.real_weight_epochs > 0:
            for _, layer in binary_layers(module):
                layer.settle_scale()
