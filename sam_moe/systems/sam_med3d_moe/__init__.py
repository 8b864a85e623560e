"""SAM-Med3D-MoE (arXiv 2407.04938): a frozen SAM-Med3D, finetuned mask decoders, a gate for each prompt."""
