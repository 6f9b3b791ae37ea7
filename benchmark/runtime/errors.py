"""What can go wrong through the user's input; the command line turns each into one line and exit code 2 or 1."""


class UserError(Exception):
    """Wrong usage or configuration: an unknown key, an impossible way or shot, a missing file. Exit code 2."""


class DataError(UserError):
    """A data set that cannot be used as asked: a missing, short or corrupt file, named in the message."""


class RunError(Exception):
    """A run that started and could not finish. Exit code 1."""


class Diverged(RunError):
    """The loss is no longer finite."""
