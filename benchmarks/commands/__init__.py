"""Every command of the command line: killed and started again, and at the size of the public model."""
