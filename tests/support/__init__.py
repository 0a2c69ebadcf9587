"""Pure. What tests of several rooms share: the stack, fakes, generators."""
