"""What a million cases would take, from the measured rows; what none of them measured is called assumed."""

from collections.abc import Sequence

from benchmarks.speed.rows import Row

CASES = 1_000_000
GPUS = 8
CORES_A_GPU = 16
# Not measured: about a third of the 312 TFLOP/s that NVIDIA's data sheet gives an A100 in bf16.
ASSUMED_TFLOP_S = 100.0
# Not measured: what a parallel file system gives one job.
ASSUMED_GB_S = 5.0

HOST = (
    "reading .nii",
    "taking up: checks and fingerprint",
    "resampling to the region, normalising",
    "restoring to 512x512x300",
    "writing .nii.gz",
)
WORK = ("encoding", "decoding a click")


def estimate(rows: Sequence[Row], threads: int) -> list[str]:
    """Lines for the table: on processors as measured, and on 8 GPUs; nothing where a row is missing."""
    found = {row.name: row for row in rows}
    if not {*HOST, *WORK} <= found.keys():
        return []
    host_s, work_s = (sum(found[name].seconds for name in names) for names in (HOST, WORK))
    gflop = sum(found[name].gflop or 0 for name in WORK)
    cores = GPUS * CORES_A_GPU
    processors_h = CASES * (host_s + work_s) * threads / cores / 3600
    host_h = CASES * host_s * threads / cores / 3600
    gpu_h = CASES * gflop / (1000 * ASSUMED_TFLOP_S) / GPUS / 3600
    stored_mb = (found["reading .nii"].moved_mb or 0) / 2
    disk_h = CASES * stored_mb / (1000 * ASSUMED_GB_S) / 3600
    assumed = f"assuming {ASSUMED_TFLOP_S:g} TFLOP/s (not measured)"
    most_h = max(gpu_h, host_h, disk_h)
    return [
        f"{CASES:,} cases of 512x512x300 voxels, one click each, public size (estimates)",
        f"  {cores} cores like these, no GPU: {processors_h:.1f} h by the medians on {threads} threads",
        f"  {GPUS} GPUs with {CORES_A_GPU} such cores each, {assumed}:",
        f"    {gpu_h:.2f} h on the GPUs, {gflop:.0f} GFLOP a case; {host_h:.1f} h on the cores for the rest",
        f"  files: {disk_h:.1f} h to read {stored_mb:.0f} MB a case, assuming {ASSUMED_GB_S:g} GB/s",
        f"  so {most_h:.1f} h where the three overlap wholly",
    ]
