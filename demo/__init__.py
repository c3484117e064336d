"""A small ML system of real parts that lastgood's demo starts, breaks and lets heal."""
