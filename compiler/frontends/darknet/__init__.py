"""DarkNet models: a text file with the layers (.cfg) and a file with their numbers (.weights)."""
