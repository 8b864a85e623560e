"""The small random models that prediction is tested with."""

from tests.predict.conftest import mixture, model, network, preprocessing, promptable

__all__ = ["mixture", "model", "network", "preprocessing", "promptable"]
