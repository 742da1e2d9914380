"""Mean and spread of grey / 255 that the server subtracts and divides by (model.json, `input`)."""

MEAN, STD = 0.5, 0.25
