"""What is checked and reserved before anything is spawned."""
