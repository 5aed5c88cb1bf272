"""Training of nets on pictures: augmentation in batches, and a loop that ends in time."""
