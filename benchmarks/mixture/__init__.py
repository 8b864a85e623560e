"""The mixture beside its general model, its experts, and what could replace it; what a gate costs."""
