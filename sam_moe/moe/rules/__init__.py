"""Selection rules, a module each; `RULES` knows their names, and other packages' rules, without torch."""

from sam_moe.variants import Variants

RULES = Variants("selection rule", "sam_moe.moe.rules", "sam_moe.rules")
