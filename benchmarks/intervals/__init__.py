"""How often intervals over few patients hold the mean of all patients, by simulation."""
