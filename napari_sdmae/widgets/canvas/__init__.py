"""The viewer's layers: reading regions of them, showing results, drawing on them."""
