"""Kinds of gates, a module each; `GATES` knows their names, and other packages' kinds, without torch.

A kind is a subclass of `sam_moe.moe.gate.Gate`.
"""

from sam_moe.variants import Variants

GATES = Variants("kind of gate", "sam_moe.moe.gates", "sam_moe.gates")
