"""Data sets: real folders of video or frames, and the embedded set, read by the same reader."""
