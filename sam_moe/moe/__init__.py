"""Mixtures of experts in any network: gates score, rules select, the chosen run, and answers are fused."""
