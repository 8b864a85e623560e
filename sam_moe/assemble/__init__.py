"""The id of a card becomes a model: the only room that knows every paper."""
