"""M4oE (arXiv 2405.09446): modality-specific experts in every block, one model for many modalities."""
