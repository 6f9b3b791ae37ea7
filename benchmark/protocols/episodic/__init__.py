"""Few-shot episodes, of videos and of skeleton clips."""
