"""The signals of a terminal, for what is tested below a shell that left some of them ignored."""

import signal


def hear_signals() -> None:
    """Let SIGHUP and SIGINT, which ``nohup`` and ``&`` leave ignored, do what they do on a terminal, here and in children."""
    for number, usual in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, usual)
