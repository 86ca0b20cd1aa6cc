"""What neuron-monitor reports, of simulated instances: configuration, host counters, the report and its schedule."""
