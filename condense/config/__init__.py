"""Settings, presets, and their JSON form."""
