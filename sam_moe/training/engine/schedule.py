"""How long and how fast a training learns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Steps, batch and learning rate: warm-up, plateau, linear decay to 0 over a share of the steps."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.05
    warmup: int = 200
    decay: float = 0.4
    average: float = 0.999
    clip: float = 1.0
    save_every: int = 200
    log_every: int = 20

    def factor(self, step: int) -> float:
        """Share of the learning rate at a step, in [0, 1]."""
        rest = max(1.0, self.decay * self.steps)
        return min(1.0, (step + 1) / max(1, self.warmup), max(0.0, (self.steps - step) / rest))
