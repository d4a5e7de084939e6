"""The page in a browser behind `mdflow demo`: what is dropped on it, what happens behind it, what it shows."""
