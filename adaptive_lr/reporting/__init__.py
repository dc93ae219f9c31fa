"""Reports, figures and TensorBoard events."""
