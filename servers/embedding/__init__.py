"""Text to vectors: find the model, tokenise, batch, compute on one thread, hand the vectors back."""
