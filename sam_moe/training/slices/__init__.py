"""Labelled scans as an automatic model learns from them: axial slices, kept prepared, drawn by number.

`settings.py` has what a recipe names; `cases.py` reads and prepares a case; `keeping.py` does so once for
all, into `cache.py`; `drawing.py` draws tiles, `augmenting.py` turns, scales and disturbs them. Together:

    where = {"layout": "folders", "root": "chaos_abdomen_mr", "splits": "benchmarks/splits.json"}
    chaos = {part: [{**where, "part": part}] for part in ("train", "validation")}
    data = SliceData.model_validate({"folder": "../shared/data", "sets": {"chaos-mr": chaos}})
    check_slices(data, card.sets, run)  # before the work: are all cases there?
    cache = keep_slices(data, card.sets, "train", run, progress)  # read once, memory-mapped from then on
    samples = Samples(DrawnSlices(cache, Drawing(tile=128), seed=0))  # the engine's; torch's collate serves
    for whole in keep_slices(data, card.sets, "validation", run, progress).wholes():
        ...  # whole.stack, whole.labels [x,y,z], whole.contoured, whole.set, whole.id

A batch: `image` float32 [b,3,t,t], `target` int64 [b,t,t], `contoured` bool [b,c], `set`, `scan` int64 [b].
"""
