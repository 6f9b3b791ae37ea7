"""Tables as markdown, csv and tex."""
