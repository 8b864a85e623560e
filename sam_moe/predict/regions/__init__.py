"""Regions of a scan: where a prompt asks for one, how it is cut, tiled over a large target and shared."""
