"""The decoder's heads that no training here asks: the IoU's, and those of masks 1 to 3."""

from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder

UNASKED = ("iou_prediction_head", *(f"output_hypernetworks_mlps.{number}" for number in (1, 2, 3)))


def freeze_unasked(decoder: MaskDecoder) -> None:
    """Freeze the heads never asked, as in the reference's training."""
    for name, parameter in decoder.named_parameters():
        if name.startswith(UNASKED):
            parameter.requires_grad_(False)
