"""Files of labels in every format; what is ours comes back as it was, what is others' as they state it. No torch."""
