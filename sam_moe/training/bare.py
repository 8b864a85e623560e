"""`python -m sam_moe.training.bare RUN`: the door to the training of the general model on a bare machine."""

import runpy

if __name__ == "__main__":
    runpy.run_module("sam_moe.systems.sam_med3d_moe.pretrain.prepared", run_name="__main__", alter_sys=True)
