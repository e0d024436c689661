"""Image datasets: by name, from archives, from folders."""
