"""Two selections of records compared, or one with published figures."""
