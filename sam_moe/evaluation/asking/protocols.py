"""Prompt protocols: the prompts of a simulated user about a target, in order; recorded ones are replayed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from sam_moe.config import nearest_first
from sam_moe.errors import ConfigError, PromptError
from sam_moe.evaluation.asking.steps import Kind as Kind
from sam_moe.evaluation.asking.steps import kinds_of, step_names
from sam_moe.evaluation.asking.targets import Target
from sam_moe.evaluation.results import AUTOMATIC
from sam_moe.prompts.prompt import Item
from sam_moe.prompts.promptset import PromptSet
from sam_moe.prompts.simulate import Mask, box_around, centre_point, challenge_click, next_click
from sam_moe.prompts.sketch import (
    challenge_box,
    drawing_axis,
    flat_box,
    loop_around,
    next_loop,
    next_stroke,
    stroke_along,
)

First = Literal["", "box", "flat"]
Means = Literal["click", "stroke", "loop"]

CLICKS = 5
JITTER = 0.05  # a person's box: each side up to a twentieth of the edge in or out
BETWEEN = " · "  # between a structure and its protocol in a prompt file that holds several protocols


@runtime_checkable
class Script(Protocol):
    """The prompts about a target, one item a step; `steps` has the name of each step."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def steps(self) -> tuple[str, ...]:
        """The last prompt of each step: `box`, `click1`, `box+click3`."""

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of prompts that a system must support; none: it is for systems that take no prompts."""

    def item(self, target: Target, items: Sequence[Item], answer: Mask) -> Item | None:
        """The next prompt, after these items and the answer to them; None where there is no further one.

        Raises:
            PromptError: for a target that it has no prompts for.
        """


@dataclass(frozen=True)
class Simulated:
    """A box or none, then clicks, strokes or loops at the errors of the answer (ours, or CVPR 2025's).

    Ours: a box's sides are each moved by up to 5 % of its edge; `flat` is such a box on the target's middle
    slice alone, across the thickest voxels, where strokes and loops are drawn, too. Clicks are
    `next_click`'s, in millimetres, on missed and on false tissue apart; so are strokes and loops after the
    first. CVPR's: `challenge_click` and `challenge_box`: drawn on one slice of the third axis, and either
    taken from the target's first slice to its last, which the challenge's archives give, too, or left on its
    slice. (There structures are clicked side by side; here one after another.)

    With neither box nor clicks there is no prompt: a system is given the structure's name alone, in one step.
    """

    name: str
    description: str
    first: First = ""
    clicks: int = 0
    cvpr: bool = False
    means: Means = "click"

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps."""
        if not self.first and not self.clicks:
            return (self.name,)
        lead = f"{self.first}+" if self.first else ""
        begin = (self.first,) if self.first else ()
        return begin + tuple(f"{lead}{self.means}{n}" for n in range(1, self.clicks + 1))

    @property
    def kinds(self) -> frozenset[Kind]:
        """What its steps are made of."""
        return kinds_of(self.steps)

    def item(self, target: Target, items: Sequence[Item], answer: Mask) -> Item | None:
        """The box, the first click, stroke or loop, or the one that mends the answer; none without a kind."""
        if not self.kinds:
            return None
        axis = drawing_axis(target.spacing_mm)
        if self.first and not items:
            if self.cvpr:
                return challenge_box(target.truth, flat=self.first == "flat")
            if self.first == "flat":
                return flat_box(target.truth, axis, target.rng, jitter=JITTER)
            return box_around(target.truth, target.rng, jitter=JITTER)
        if self.means == "stroke":
            return next_stroke(target.truth, answer, axis) if items else stroke_along(target.truth, axis)
        if self.means == "loop":
            return next_loop(target.truth, answer, axis) if items else loop_around(target.truth, axis)
        if self.cvpr:
            return challenge_click(target.truth, answer)
        if not items:
            return centre_point(target.truth, target.spacing_mm)
        return next_click(target.truth, answer, spacing_mm=target.spacing_mm)


SIMULATED: Mapping[str, Simulated] = {
    script.name: script
    for script in (
        Simulated(AUTOMATIC, "no prompt: the structure's name alone, for systems that segment by themselves"),
        Simulated("click", "one click on the target's deepest voxel", clicks=1),
        Simulated("clicks", "a click on the deepest voxel, then four at the largest error", clicks=CLICKS),
        Simulated("box", "a box around the target, its sides moved by up to 5 %", "box"),
        Simulated("flat", "a box on the target's middle slice, its sides moved by up to 5 %", "flat"),
        Simulated("stroke", "a scribble along the target on its middle slice", clicks=1, means="stroke"),
        Simulated("loop", "a lasso around the target on its middle slice", clicks=1, means="loop"),
        Simulated("strokes", "a scribble, then four at the largest error", clicks=CLICKS, means="stroke"),
        Simulated("loops", "a lasso, then four around the largest error", clicks=CLICKS, means="loop"),
        Simulated(
            "cvpr2025",
            "the box of the target's middle slice, from its first slice to its last, then five clicks by "
            "CVPR 2025's rule",
            "box",
            CLICKS,
            cvpr=True,
        ),
        Simulated(
            "cvpr2025-flat",
            "the box of the target's middle slice alone, then five clicks by CVPR 2025's rule",
            "flat",
            CLICKS,
            cvpr=True,
        ),
    )
}


def scripts_for(protocol: str) -> tuple[Simulated, ...]:
    """The protocols of a name, or of several with commas between: `clicks,box`.

    Raises:
        ConfigError: for an unknown name, or two that have a step of one name.
    """
    names = [name.strip() for name in protocol.split(",")]
    for name in names:
        if name not in SIMULATED:
            known = ", ".join(nearest_first(name, SIMULATED))
            raise ConfigError(
                f"protocol {name!r} is unknown. Known: {known}; several with commas between, clicks,box. "
                "Recorded prompts are replayed by --prompts FILE."
            )
    chosen = tuple(SIMULATED[name] for name in names)
    steps = [step for script in chosen for step in script.steps]
    twice = next((step for step in steps if steps.count(step) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"protocol {protocol!r} has the step {twice} twice. Expected protocols whose steps differ, such "
            "as clicks,box or clicks,cvpr2025; run the others into a folder of their own."
        )
    return chosen


@dataclass(frozen=True)
class Replay:
    """The recorded prompts of one protocol: each scan's, by fingerprint, and each structure's."""

    name: str
    steps: tuple[str, ...]
    recorded: Mapping[tuple[str, str], tuple[Item, ...]]

    @property
    def kinds(self) -> frozenset[Kind]:
        """What the recorded items are."""
        return kinds_of(self.steps)

    def item(self, target: Target, items: Sequence[Item], answer: Mask) -> Item | None:
        """The next of the recorded items, whatever was answered."""
        recorded = self.recorded.get((target.scan, target.label))
        if recorded is None:
            raise PromptError(
                f"the recorded prompts have none for {target.label} of {target.case}. Expected a case with "
                "the fingerprint of this scan, and a target of this name in it."
            )
        return recorded[len(items)] if len(items) < len(recorded) else None


def replays_of(prompts: PromptSet) -> tuple[Replay, ...]:
    """The protocols recorded in a prompt set that `sam-moe simulate` or `evaluate` wrote, or one by hand.

    A set whose name is a protocol's has that one's steps; any other has as many as its longest target.

    Raises:
        PromptError: for a case without the fingerprint of its scan.
    """
    names = [name.strip() for name in prompts.name.split(",")]
    known = all(name in SIMULATED for name in names)
    found: dict[str, dict[tuple[str, str], tuple[Item, ...]]] = {}
    for case in prompts.cases:
        if case.fingerprint is None:
            raise PromptError(
                f"{prompts.name}: the case of {case.image} has no fingerprint. Expected its scan's, by "
                "which it is found; sam_moe.space.files.fingerprint(volume) computes it."
            )
        for target in case.targets:
            label, _, protocol = target.name.rpartition(BETWEEN) if len(names) > 1 else (target.name, "", "")
            name = protocol or prompts.name
            found.setdefault(name, {})[case.fingerprint, label or target.name] = case.prompt(target).items
    if known:
        return tuple(Replay(name, SIMULATED[name].steps, found.get(name, {})) for name in names)
    return tuple(
        Replay(name, step_names(max(recorded.values(), key=len)), recorded)
        for name, recorded in found.items()
    )


@dataclass(frozen=True)
class FirstSteps:
    """The first steps of a script, for a system that does not support the others."""

    script: Script
    count: int

    @property
    def name(self) -> str:
        """The script's."""
        return self.script.name

    @property
    def steps(self) -> tuple[str, ...]:
        """The first of the script's."""
        return self.script.steps[: self.count]

    @property
    def kinds(self) -> frozenset[Kind]:
        """What these steps are made of."""
        return kinds_of(self.steps)

    def item(self, target: Target, items: Sequence[Item], answer: Mask) -> Item | None:
        """The script's."""
        return self.script.item(target, items, answer)


def supported_part(script: Script, supports: frozenset[Kind]) -> Script | None:
    """The first steps of a script that need these kinds only; None where the first needs others."""
    if script.kinds <= supports:
        return script
    count = sum(kinds_of(script.steps[: n + 1]) <= supports for n in range(len(script.steps)))
    return FirstSteps(script, count) if count else None
