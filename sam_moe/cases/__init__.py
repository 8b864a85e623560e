"""Where labelled cases are, for training, evaluation and benchmarks alike.

- `dataset.py`: sets of ours, with a `dataset.json`. `splits.py`: the data folder and the parts of its sets.
- `layouts/`: the layouts of challenges, one module each; `source.py`: what a layout is given and finds.
- `parts.py`: the chosen part of a source. `reading.py`, `archives.py`: the files that a case names.
"""
