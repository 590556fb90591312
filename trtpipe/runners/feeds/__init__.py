"""From what a user names (files, images, a data set, chance) to the inputs that a model or an engine is run with."""
