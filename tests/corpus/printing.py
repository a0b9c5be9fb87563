"""How the scripts here print what has no one way to be printed."""


def printable(raw):
    """Returns bytes as one line of ASCII that names them and no others."""
    return raw.decode("latin-1").encode("unicode_escape").decode("ascii")


def timestamp(nanoseconds):
    """Returns a time as seconds with nine decimals."""
    seconds, rest = divmod(abs(nanoseconds), 10**9)
    return f"{'-' if nanoseconds < 0 else ''}{seconds}.{rest:09d}"
