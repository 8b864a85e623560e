"""The verbs for a first look: `sam-moe doctor`, which examines this machine, and `sam-moe demo`."""
