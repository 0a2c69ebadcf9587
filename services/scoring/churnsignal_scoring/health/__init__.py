"""Pure. How healthy an account is: from calls to state, from state to measures, from measures to a score and a band."""
