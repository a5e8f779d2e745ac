"""The one error a person sees: what was given, what was expected, what to do."""


class InputError(ValueError):
    """Something handed to crsdun cannot be used.

    The message is one line in the user's terms and holds the remedy. The command line prints it
    and ends with exit code 2; in Python it is an ordinary ``ValueError``.
    """


class UnitError(InputError):
    """Wavelengths come in a unit that is unknown or missing; giving them in nm mends it."""
