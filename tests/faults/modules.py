"""The modules of the campaign. Each has ``missing()``, why it cannot run here, ``cases()``, and ``sample()``, the short form."""

MODULES = ("images", "documents", "kills", "disks", "clock", "users", "signals")
