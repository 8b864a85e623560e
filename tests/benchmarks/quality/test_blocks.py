import pytest

from benchmarks import cases
from benchmarks.quality import blocks

if not cases.DATA.is_dir():
    pytest.skip("the data folder is absent: set SAM_MOE_DATA", allow_module_level=True)


def test_no_target_of_the_test_part_is_of_a_patient_who_was_trained_on():
    trained = [(name, case) for name, found in cases.part_of("train").items() for case in found]
    patients = {(name, case.patient or case.id) for name, case in trained}
    chosen, _ = blocks.targets("test")
    assert chosen and not {(target.set, target.patient) for target in chosen} & patients


def test_the_general_block_has_the_seven_structures_of_the_bars():
    chosen, _ = blocks.targets("test")
    general = {target.structure for target in chosen if target.block == blocks.GENERAL}
    assert general == {"liver", "kidneys", "spleen", "brainstem", "parotids", "larynx", "mandible"}


def test_experts_labels_stand_apart_from_what_was_learnt():
    chosen, _ = blocks.targets("test")
    experts = cases.expert_labels()
    learnt = {target.label for target in chosen if target.block in (blocks.GENERAL, blocks.OTHER)}
    zero_shot = {target.label for target in chosen if target.block == blocks.ZERO_SHOT}
    assert not learnt & experts and zero_shot <= experts


def test_every_label_is_a_target_or_counted_as_left_out():
    chosen, left_out = blocks.targets("test")
    labels = 0
    for name, found in cases.part_of("test").items():
        for case in found:
            sizes = cases.described(name)[case.id].get("label_voxels", {})
            labels += 1 if name == "msd_hippocampus_mr" else sum(map(bool, sizes.values()))
    assert len(chosen) + sum(left_out.values()) == labels


def test_two_patients_of_each_set_are_the_first_two():
    chosen, _ = blocks.targets("test")
    few = blocks.first_patients(chosen, 2)
    tumours = {target.case for target in few if target.set == "sts_tumour_ct_mr"}
    assert tumours == {"STS_003_CT", "STS_003_MR_T1", "STS_019_CT", "STS_019_MR_T1"}
