"""From trained weights to records: embedding, matching frozen episodes, metrics."""
