"""The mixture: who answers a prompt, and how several answers become one; embeddings and logits, no images."""
