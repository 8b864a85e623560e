"""Which expert answers what, and how sure the gate is."""
