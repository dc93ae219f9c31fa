"""`ControlledLR` inside of other people's trainers; each module needs its package, and is imported only on use."""
