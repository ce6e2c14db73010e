"""What one database says differently from another: expressions, reflection, trigger texts."""
