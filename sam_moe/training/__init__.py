"""Learning: the small general model from scans and phantoms; experts and gates come to live here."""
