"""In which numbers a training computes: bfloat16 where that is quicker, float32 elsewhere."""

from typing import Literal

Precision = Literal["auto", "float32", "bfloat16"]


def mixed_precision(precision: Precision) -> Literal["no", "bf16"]:
    """Accelerate's word for a precision.

    `auto` is bfloat16 on a GPU that computes with it, and on a processor with AMX. On others, autocast to
    bfloat16 took 1.5 times as long as float32.
    """
    if precision == "auto":
        import torch  # only here: recipes are read without it

        quick = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if torch.cuda.is_available()
            else bool(torch.cpu.get_capabilities().get("amx_bf16"))
        )
        precision = "bfloat16" if quick else "float32"
    return "bf16" if precision == "bfloat16" else "no"
