"""Records in, statements out: what a finished cell says, how sure it is, and how it is shown. Knows no model."""


class ResultError(Exception):
    """A record, store or figure that cannot be used as it stands; the message names the file and what to do."""
