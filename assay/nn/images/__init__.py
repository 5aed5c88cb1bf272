"""What pictures are turned into: fixed features, and nets."""
