"""How good answers are: challenges, protocols, metrics, reports and rankings."""
