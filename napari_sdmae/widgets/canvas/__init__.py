"""The viewer's layers: reading regions of them, showing answers, drawing on them."""
