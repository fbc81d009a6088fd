"""Features → embeddings: projectors, predictors, prototypes."""
