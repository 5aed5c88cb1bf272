"""Finding things in pictures and telling their pixels apart: truth, training, judging, delivering."""
