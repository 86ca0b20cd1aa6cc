"""What `neuronsim demo`, the benchmarks and the examples run: public network shapes with seeded weights."""
