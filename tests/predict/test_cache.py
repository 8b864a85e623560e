"""Embeddings are kept by content."""

import torch

from sam_moe.predict.cache import EmbeddingCache
from sam_moe.space.grid import Grid


def region(x=0.0):
    return Grid.around((x, 0, 0), (8, 8, 8), (1.5, 1.5, 1.5))


def test_the_same_scan_region_and_encoder_are_encoded_once():
    cache, calls = EmbeddingCache(), []

    def encode():
        calls.append(1)
        return torch.zeros(4)

    first, cached = cache.get("scan", region(), "encoder", encode)
    assert not cached
    again, cached = cache.get("scan", region(), "encoder", encode)
    assert cached and again is first and len(calls) == 1


def test_another_scan_region_or_encoder_is_another_embedding():
    cache = EmbeddingCache()
    for key in (("a", region(), "e"), ("b", region(), "e"), ("a", region(0.5), "e"), ("a", region(), "f")):
        assert cache.get(*key, lambda: torch.zeros(1))[1] is False
    assert len(cache) == 4


def test_the_least_recently_used_embeddings_make_room():
    cache = EmbeddingCache(limit_bytes=2 * 400)
    for x in (0, 1):
        cache.get("scan", region(x), "e", lambda: torch.zeros(100))
    cache.get("scan", region(0), "e", lambda: torch.zeros(100))
    cache.get("scan", region(2), "e", lambda: torch.zeros(100))
    assert len(cache) == 2
    assert cache.get("scan", region(0), "e", lambda: torch.zeros(100))[1] is True
    assert cache.get("scan", region(1), "e", lambda: torch.zeros(100))[1] is False
