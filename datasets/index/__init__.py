"""Finding datasets: the registry, the MVTec folder layout, opening, verification."""
