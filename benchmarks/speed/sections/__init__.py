"""The sections of the table of speed: what each row runs, ours and in the plain way."""
