"""Result and truth to numbers, tables and pictures."""
