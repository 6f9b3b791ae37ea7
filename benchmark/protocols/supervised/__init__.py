"""Supervised classification of skeleton clips, with distillation in stages."""
