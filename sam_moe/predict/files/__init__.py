"""From file to file: one scan or many, masks and what describes them."""
