"""SAM-Med3D, the frozen foundation model: the reference's numbers at a fraction of its cost."""
