"""The two servers worth supervising: memory and inference, and the doors that they share."""
