"""What lies between a verb and its terminal: environment, standard streams, progress."""
