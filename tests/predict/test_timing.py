"""Stages and their milliseconds."""

from time import perf_counter

from sam_moe.predict.timing import timed


def wait(milliseconds):
    start = perf_counter()
    while perf_counter() - start < milliseconds / 1000:
        pass


def test_the_blocks_of_a_stage_add_up():
    timings = {}
    for stage, milliseconds in (("cut", 3), ("encode", 1), ("cut", 4)):
        with timed(timings, stage):
            wait(milliseconds)
    assert list(timings) == ["cut", "encode"]
    assert timings["cut"] >= 7 and timings["encode"] >= 1
