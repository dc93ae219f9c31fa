"""Learned damping: from gradients through training, from evolution over tasks, from earlier runs, from recorded curves and from theory."""
