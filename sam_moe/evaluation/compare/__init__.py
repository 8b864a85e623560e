"""Several results against each other: differences, ranks, a page."""
