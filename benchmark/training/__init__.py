"""Training: the loop, base training, episodes, and what a teacher gives to a student."""
