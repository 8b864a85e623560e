"""Labelled scans as training takes them: cached, cut, drawn, prompted."""
