"""Shape annotations: jaxtyping's, or stand-ins where it is not installed, as on a bare training machine."""

from typing import TYPE_CHECKING, Any

__all__ = ["Bool", "Float", "Int", "Shaped", "UInt8"]

if TYPE_CHECKING:
    from jaxtyping import Bool as Bool
    from jaxtyping import Float as Float
    from jaxtyping import Int as Int
    from jaxtyping import Shaped as Shaped
    from jaxtyping import UInt8 as UInt8
else:
    try:
        from jaxtyping import Bool, Float, Int, Shaped, UInt8
    except ImportError:

        class Shaped:
            """Stands for the array type alone: `Shaped[Tensor, "i j k"]` is `Tensor`."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Bool = Float = Int = UInt8 = Shaped
