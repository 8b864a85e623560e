"""Cards of this paper's models: checked, converted, kept, made into networks."""
