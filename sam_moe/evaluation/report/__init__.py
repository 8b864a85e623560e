"""The page of one evaluation: tables, plots, cases."""
