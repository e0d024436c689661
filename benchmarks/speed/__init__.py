"""Speed of the engine, compared with a plain reference implementation."""
