"""Signals as a terminal leaves them: what runs in the background, or under nohup, ignores some of them, and so would
its child processes.
"""

import signal

DEFAULTS = {"SIGINT": signal.default_int_handler, "SIGTERM": signal.SIG_DFL, "SIGHUP": signal.SIG_DFL}

for name, handler in DEFAULTS.items():
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)
