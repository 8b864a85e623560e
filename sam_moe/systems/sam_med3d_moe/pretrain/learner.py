"""The general model as a learner: its first weights, what of it learns, and its loss."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sam_moe.hosts.sam3d.heads import freeze_unasked
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.shapes import Float
from sam_moe.systems.sam_med3d_moe.prompted.conversation import PROMPTING, Prompting, conversation_loss
from sam_moe.training.engine.seeds import seeded


class PromptedLoss(nn.Module):
    """One step's loss: each region is encoded once and prompted in a conversation (`conversation_loss`)."""

    def __init__(self, model: SamMed3D, prompting: Prompting = PROMPTING) -> None:
        super().__init__()
        self.model, self.prompting = model, prompting

    def forward(self, batch: Mapping[str, Tensor], rng: torch.Generator) -> Float[Tensor, ""]:
        """The mean loss of a batch of `Regions`."""
        embedding = self.model.encode(batch["image"])
        return conversation_loss(self.model, embedding, batch["target"], rng, self.prompting)


def fresh_model(sizes: Sizes, seed: int) -> SamMed3D:
    """A model with the initial weights that training starts from."""
    with seeded(seed):
        model = SamMed3D(sizes)
        for name, parameter in model.named_parameters():
            linear = parameter.ndim == 2 and not any(part in name for part in ("embed", "token", "rel_pos"))
            if linear or name.endswith("pos_embed"):
                nn.init.trunc_normal_(parameter, std=0.02)
    return let_learn(model)


def let_learn(model: SamMed3D) -> SamMed3D:
    """The model itself, to be trained: all of it but what is never asked here."""
    model.train().requires_grad_(True)
    model.prompt_encoder.no_mask_embed.requires_grad_(False)
    freeze_unasked(model.mask_decoder)
    return model
