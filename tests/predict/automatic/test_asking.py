"""Any network with these methods segments."""

import torch

from sam_moe.predict.automatic.asking import Automatic
from sam_moe.predict.automatic.model import AutomaticModel
from tests.predict.automatic.bands import BLOCK, Bands, card_of


def test_a_network_with_the_methods_is_automatic_and_another_is_not(network):
    assert isinstance(network, Automatic)
    assert not isinstance(torch.nn.Identity(), Automatic)


def test_a_class_that_is_no_module_segments_too(scan):
    class Middle:
        sets = (BLOCK,)

        def look(self, images):
            return images.new_zeros(len(images), 1)

        def answer(self, images, data_set):
            logits = images.new_zeros(len(images), 3, *images.shape[2:])
            logits[:, 2, 10:20, 10:20] = 20
            return logits, {}

        def distance(self, profile, data_set):
            return None

    found = AutomaticModel(Middle(), card_of((BLOCK,)), "middle").open(scan).segment()
    # Ten pixels of 2 mm each way, on all slices of 72 mm together: 13 or 14 voxels of 1.5 mm each way
    assert 27.3 < found.volumes_ml["bright"] < 31.8
    assert found.not_found == ("grey",) and found.shares == {} and found.experts == {}
    assert isinstance(Bands(), Automatic)
