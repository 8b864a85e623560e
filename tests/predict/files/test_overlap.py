"""Three steps at once: order, bounds, and that one failure stays one."""

import threading

import pytest

from sam_moe.predict.files.overlap import overlapped


def numbers(outcomes):
    return [(o.item, o.result, str(o.error or "")) for o in outcomes]


def test_every_item_goes_through_the_three_steps_in_order():
    outcomes = overlapped(range(5), lambda n: n + 1, lambda n: n * 10, lambda n: f"<{n}>")
    assert numbers(outcomes) == [(n, f"<{10 * (n + 1)}>", "") for n in range(5)]


@pytest.mark.parametrize("step", [0, 1, 2])
def test_an_error_in_any_step_ends_its_item_alone(step):
    def at(number):
        def work(n):
            if number == step and n == 2:
                raise ValueError(f"no {n}")
            return n

        return work

    outcomes = numbers(overlapped(range(4), at(0), at(1), at(2)))
    assert sorted(outcomes) == [(0, 0, ""), (1, 1, ""), (2, None, "no 2"), (3, 3, "")]


def test_one_item_is_read_while_another_is_computed_and_a_third_is_written():
    """Each step waits for the others: were they one after the other, none would ever go on."""
    together = threading.Barrier(3, timeout=20)

    def read(n):
        if n == 2:
            together.wait()
        return n

    def compute(n):
        if n == 1:
            together.wait()
        return n

    def write(n):
        if n == 0:
            together.wait()
        return n

    assert numbers(overlapped(range(3), read, compute, write)) == [(n, n, "") for n in range(3)]


@pytest.mark.parametrize("ahead", [1, 3])
def test_never_more_items_are_held_than_allowed(ahead):
    lock, held, most = threading.Lock(), set(), [0]

    def read(n):
        with lock:
            held.add(n)
            most[0] = max(most[0], len(held))
        return n

    def write(n):
        with lock:
            held.remove(n)

    assert len(list(overlapped(range(20), read, lambda n: n, write, ahead))) == 20
    # one computed, `ahead` read beside it, and those that wait to be written with the one that is
    assert 1 <= most[0] <= 2 * ahead + 2


def test_what_stops_the_program_stops_the_work():
    def interrupted(n):
        raise KeyboardInterrupt

    done = []
    with pytest.raises(KeyboardInterrupt):
        list(overlapped(range(9), lambda n: n, interrupted, done.append))
    assert done == []
