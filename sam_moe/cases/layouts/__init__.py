"""Where cases are: how each of the usual layouts of challenges names its images, label maps and patients."""

from sam_moe.cases.layouts.parts import choose
from sam_moe.cases.layouts.source import Found, Layout, Source

__all__ = ["Found", "Layout", "Source", "choose"]
