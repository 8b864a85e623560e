"""Metrics, official definitions, means and intervals."""
