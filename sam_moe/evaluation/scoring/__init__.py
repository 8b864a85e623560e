"""What is scored: metrics of two masks, official definitions, figures over clicks, means and intervals."""
