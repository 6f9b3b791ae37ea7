"""Few-shot distillation benchmarks for action recognition."""
