"""Where images come from: stores, data sets, chance, transforms. Emits DataSample; knows no model."""
