"""Analysis of finished trials: it works on arrays and knows nothing of training."""
