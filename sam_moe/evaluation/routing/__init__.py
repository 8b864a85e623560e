"""Which experts answer which structures: a gate run on cases, its choices counted, drawn and recorded."""
