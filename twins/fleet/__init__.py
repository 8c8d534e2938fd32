"""A fleet of simulated prepayment meters: arithmetic over arrays, without I/O."""
