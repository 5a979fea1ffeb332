"""One exception tree; each class carries the exit code that the command line ends with.

    LogmlmError                70  internal: none of the below
    ├── UsageError             64  the command's words are off
    ├── DataError              65  logs or labels that can't be used
    │   └── FormatError        65  no line format fits
    ├── ModelError             65  a model directory that can't be used
    ├── UnreachableError       69  a broker, a receiver or a port is out of reach at start
    ├── StorageError           74  reading or writing failed
    ├── UndeliveredError       75  the input has ended, and alerts wait for their receivers
    └── ConfigError            78  a config file that can't be used

Exit codes are those of sysexits.h (BSD).
"""


class LogmlmError(Exception):
    """Base of all errors that a user can do something about; the text says what."""

    exit_code = 70


class UsageError(LogmlmError):
    """The command's words are off."""

    exit_code = 64


class DataError(LogmlmError):
    """Logs or labels that can't be used."""

    exit_code = 65


class FormatError(DataError):
    """No line format fits."""


class ModelError(LogmlmError):
    """A model directory that can't be used: incomplete, damaged, or of a newer version."""

    exit_code = 65


class UnreachableError(LogmlmError):
    """A broker or receiver is out of reach at start, or a port is taken."""

    exit_code = 69


class StorageError(LogmlmError):
    """Reading or writing failed: a full disk, missing rights."""

    exit_code = 74


class UndeliveredError(LogmlmError):
    """The input has ended, and alerts wait that no receiver took; another start sends them."""

    exit_code = 75


class ConfigError(LogmlmError):
    """A config file that can't be used; the text names the file, line and key."""

    exit_code = 78
