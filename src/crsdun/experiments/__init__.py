"""What puts all of it together: tables of systems, evaluations, costs, benchmarks and the demonstration."""
