"""Where images come from: stores, data sets, chance, transforms. Knows no model."""
