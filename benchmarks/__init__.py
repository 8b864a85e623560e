"""Measurements: run each with `python -m benchmarks.<room>.<script>` from the folder of the project."""
