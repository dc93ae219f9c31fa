"""What a person builds on an optimizer: schedules and controllers as torch schedulers."""
