"""The shape of a schedule on a built-in task: searched with the base rate factored out, and judged on other seeds."""
