"""Training: named recipes, a loop that resumes exactly, and weights that remember what they were trained for."""

from edgeml.models.training.recipe import RECIPES, Recipe, get_recipe
from edgeml.models.training.run import TrainResult, train
from edgeml.models.training.weights_metadata import WeightsMetadata, read_weights_metadata

__all__ = ["RECIPES", "Recipe", "TrainResult", "WeightsMetadata", "get_recipe", "read_weights_metadata", "train"]
