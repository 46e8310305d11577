"""What ``bench_serve`` measures with: pictures, a network, the servers to compare, and a load that costs little."""
